#include "block/raw_node.h"

#include <array>

#include "base/bits.h"
#include "block/probe.h"

namespace doppel::block {

namespace {

constexpr std::uint64_t kSector = 512;

}  // namespace

Result<NodePtr> RawNode::create(NodePtr file, RawOptions options) {
  const std::uint64_t available = file->size();
  if (options.offset > available)
    return fail(ErrorKind::kInvalidArgument, "offset {} lies behind the end of the file, which has {} bytes",
                options.offset, available);
  if (options.size && *options.size > available - options.offset)
    return fail(ErrorKind::kInvalidArgument, "offset {} and size {} go beyond the end of the file, which has {} bytes",
                options.offset, *options.size, available);
  if (options.size && !is_aligned(*options.size, kSector))
    return fail(ErrorKind::kInvalidArgument, "size {} is not a multiple of {}", *options.size, kSector);
  return NodePtr(new RawNode(std::move(file), options));
}

std::uint64_t RawNode::size() const {
  return options_.size ? *options_.size : align_up(file_->size() - options_.offset, kSector);
}

Result<> RawNode::check_range(std::uint64_t offset, std::uint64_t length) const {
  if (offset <= size() && length <= size() - offset) return {};
  return fail(ErrorKind::kOutOfRange, "{} bytes at offset {} go beyond the end of the disk of {} bytes", length, offset,
              size());
}

Task<Result<>> RawNode::read(std::uint64_t offset, IoView to) {
  DOPPEL_CO_TRY(check_range(offset, to.size()));
  co_return co_await file_->read(options_.offset + offset, to);
}

Task<bool> RawNode::splice(std::uint64_t offset, std::size_t length, int pipe) {
  if (!check_range(offset, length)) co_return false;
  co_return co_await file_->splice(options_.offset + offset, length, pipe);
}

Task<Result<>> RawNode::write(std::uint64_t offset, IoView from) {
  DOPPEL_CO_TRY(check_range(offset, from.size()));
  if (options_.probed && offset < kProbeSize && from.size() > 0) co_return co_await write_head(offset, from);
  co_return co_await file_->write(options_.offset + offset, from);
}

Task<Result<>> RawNode::write_head(std::uint64_t offset, IoView from) {
  const auto guard = co_await head_.lock();
  std::array<std::byte, kProbeSize> head;
  DOPPEL_CO_TRY(co_await file_->read(options_.offset, std::span<std::byte>(head)));
  const auto start = static_cast<std::size_t>(offset);
  from.slice(0, std::min(from.size(), kProbeSize - start)).copy_to(head.data() + start);
  if (const auto format = probe_format(head); format != "raw")
    co_return fail(ErrorKind::kPermissionDenied,
                   "'{}' was taken for raw without being told so, and a write would make it look like {}; "
                   "say format=raw to allow that",
                   file_->info().filename, format);
  co_return co_await file_->write(options_.offset + offset, from);
}

Task<Result<>> RawNode::write_zeroes(std::uint64_t offset, std::uint64_t length, Unmap unmap) {
  DOPPEL_CO_TRY(check_range(offset, length));
  co_return co_await file_->write_zeroes(options_.offset + offset, length, unmap);
}

Task<Result<>> RawNode::discard(std::uint64_t offset, std::uint64_t length) {
  DOPPEL_CO_TRY(check_range(offset, length));
  co_return co_await file_->discard(options_.offset + offset, length);
}

Task<Result<BlockStatus>> RawNode::block_status(std::uint64_t offset, std::uint64_t length) {
  DOPPEL_CO_TRY(check_range(offset, length));
  co_return co_await file_->block_status(options_.offset + offset, length);
}

Task<Result<>> RawNode::resize(std::uint64_t size, Preallocation preallocation) {
  if (windowed()) co_return fail(ErrorKind::kUnsupported, "a raw image with an offset or size cannot be resized");
  co_return co_await file_->resize(size, preallocation);
}

NodeInfo RawNode::info() const {
  NodeInfo info = file_->info();
  info.format = "raw";
  info.virtual_size = size();
  return info;
}

}  // namespace doppel::block
