#include "block/sparse/sparse_node.h"

#include <algorithm>
#include <limits>

namespace doppel::block {

namespace {

constexpr std::uint64_t kCopyBytes = 256 * 1024;
/// So many table entries are looked at for one answer.
constexpr unsigned kMaxEntries = 4096;
/// File offsets are signed.
constexpr std::uint64_t kMaxHost = std::numeric_limits<std::int64_t>::max();

}  // namespace

SparseNode::SparseNode(Context& context, NodePtr file, SparseGeometry geometry)
    : context_(context), file_(std::move(file)), geometry_(geometry), tables_(*file_) {}

std::uint64_t SparseNode::blocks() const {
  return geometry_.size / geometry_.block_size + (geometry_.size % geometry_.block_size != 0 ? 1 : 0);
}

Result<> SparseNode::check_range(std::uint64_t offset, std::uint64_t length) const {
  if (offset <= size() && length <= size() - offset) return {};
  return fail(ErrorKind::kOutOfRange, "{} bytes at offset {} go beyond the end of the disk of {} bytes", length, offset,
              size());
}

Task<Result<>> SparseNode::read_packed(std::uint64_t /*host*/, std::uint64_t /*in_block*/, IoView /*to*/) {
  co_return fail(ErrorKind::kInternal, "the format has no compressed blocks");
}

Task<Result<>> SparseNode::begin_writing() {
  co_return Result<>{};
}

Task<Result<>> SparseNode::end_writing() {
  co_return Result<>{};
}

Task<Result<>> SparseNode::resize(std::uint64_t /*size*/, Preallocation /*preallocation*/) {
  co_return fail(ErrorKind::kUnsupported, "images of format {} cannot be resized", info().format);
}

/// As far as it is the same, at most LENGTH. Takes the tables' lock.
Task<Result<SparseNode::Mapped>> SparseNode::map(std::uint64_t offset, std::uint64_t length) {
  const auto guard = co_await tables_lock_.lock();
  Mapped mapped;
  for (unsigned n = 0; n < kMaxEntries && mapped.length < length; ++n) {
    const std::uint64_t at = offset + mapped.length;
    const std::uint64_t inside = at % geometry_.block_size;
    DOPPEL_CO_ASSIGN(const BlockEntry found, co_await entry(at / geometry_.block_size));
    const std::uint64_t left = length - mapped.length;
    const std::uint64_t most = left / geometry_.block_size + 2;  // blocks that matter
    const std::uint64_t bytes = std::min(left, std::min(found.run, most) * geometry_.block_size - inside);
    const bool placed = found.kind == BlockKind::kData;
    if (placed && found.host > kMaxHost - geometry_.block_size)
      co_return fail(ErrorKind::kCorrupt, "the block at {} of the disk is said to be at {:#x} of the file", at,
                     found.host);
    if (n == 0)
      mapped = {.kind = found.kind, .length = bytes, .host = found.host + (placed ? inside : 0)};
    else if (found.kind == mapped.kind && found.kind != BlockKind::kCompressed &&
             (!placed || found.host == mapped.host + mapped.length))
      mapped.length += bytes;
    else
      break;
  }
  co_return mapped;
}

Task<Result<>> SparseNode::read(std::uint64_t offset, IoView to) {
  DOPPEL_CO_TRY(check_range(offset, to.size()));
  const auto gate = co_await gate_.lock_shared();
  for (std::size_t done = 0; done < to.size();) {
    DOPPEL_CO_ASSIGN(const Mapped mapped, co_await map(offset + done, to.size() - done));
    const auto length = static_cast<std::size_t>(mapped.length);
    DOPPEL_CO_TRY(co_await read_mapped(mapped, offset + done, to.slice(done, length)));
    done += length;
  }
  co_return Result<>{};
}

Task<Result<>> SparseNode::read_mapped(const Mapped& mapped, std::uint64_t offset, IoView to) {
  switch (mapped.kind) {
    case BlockKind::kData: co_return co_await file_->read(mapped.host, to);
    case BlockKind::kCompressed: co_return co_await read_packed(mapped.host, offset % geometry_.block_size, to);
    case BlockKind::kUnallocated: co_return co_await read_through(offset, to);
    case BlockKind::kZero: to.clear();
  }
  co_return Result<>{};
}

bool SparseNode::shows_through(std::uint64_t offset) const {
  return shown_ != nullptr && shown_offset_ + offset < shown_->size();
}

/// The backing node may be shorter than this one.
Task<Result<>> SparseNode::read_through(std::uint64_t offset, IoView to) {
  std::size_t inside = 0;
  if (shows_through(offset))
    inside = static_cast<std::size_t>(std::min<std::uint64_t>(to.size(), shown_->size() - (shown_offset_ + offset)));
  to.slice(inside, to.size() - inside).clear();
  if (inside == 0) co_return Result<>{};
  co_return co_await shown_->read(shown_offset_ + offset, to.slice(0, inside));
}

Task<Result<BlockStatus>> SparseNode::block_status(std::uint64_t offset, std::uint64_t length) {
  DOPPEL_CO_TRY(check_range(offset, length));
  const auto gate = co_await gate_.lock_shared();
  DOPPEL_CO_ASSIGN(const Mapped mapped, co_await map(offset, length));
  BlockStatus status{.bytes = mapped.length, .allocated = mapped.kind != BlockKind::kUnallocated};
  status.data = mapped.kind == BlockKind::kData || mapped.kind == BlockKind::kCompressed;
  status.compressed = mapped.kind == BlockKind::kCompressed;
  status.zero = mapped.kind == BlockKind::kZero;
  if (mapped.kind == BlockKind::kData) status.offset = mapped.host;
  if (mapped.kind == BlockKind::kData && geometry_.preallocated) {
    DOPPEL_CO_ASSIGN(const BlockStatus below, co_await file_->block_status(mapped.host, mapped.length));
    status.zero = below.zero;
    status.bytes = std::min(status.bytes, below.bytes);
  }
  if (status.allocated) co_return status;
  status.allocated = !geometry_.may_have_backing;
  status.zero = !shows_through(offset);
  if (!status.zero) status.bytes = std::min(status.bytes, shown_->size() - (shown_offset_ + offset));
  co_return status;
}

Task<Result<>> SparseNode::prepare_writing() {
  if (read_only()) co_return fail(ErrorKind::kPermissionDenied, "the image is open for reading alone");
  if (writing_) co_return Result<>{};
  const auto gate = co_await gate_.lock();
  if (writing_) co_return Result<>{};
  DOPPEL_CO_TRY(co_await begin_writing());
  writing_ = true;
  co_return Result<>{};
}

Task<Result<>> SparseNode::write(std::uint64_t offset, IoView from) {
  DOPPEL_CO_TRY(check_range(offset, from.size()));
  DOPPEL_CO_TRY(co_await prepare_writing());
  for (std::size_t done = 0; done < from.size();) {
    DOPPEL_CO_ASSIGN(const std::uint64_t step,
                     co_await write_step(offset + done, from.slice(done, from.size() - done)));
    done += static_cast<std::size_t>(step);
  }
  co_return Result<>{};
}

/// How much of FROM is written.
Task<Result<std::uint64_t>> SparseNode::write_step(std::uint64_t offset, IoView from) {
  {
    const auto gate = co_await gate_.lock_shared();
    DOPPEL_CO_ASSIGN(const Mapped mapped, co_await map(offset, from.size()));
    if (mapped.kind == BlockKind::kData) {
      const auto length = static_cast<std::size_t>(mapped.length);
      DOPPEL_CO_TRY(co_await file_->write(mapped.host, from.slice(0, length)));
      co_return mapped.length;
    }
  }
  const auto gate = co_await gate_.lock();
  const std::uint64_t rest = geometry_.block_size - offset % geometry_.block_size;
  const auto length = static_cast<std::size_t>(std::min<std::uint64_t>(from.size(), rest));
  DOPPEL_CO_ASSIGN(const Mapped mapped, co_await map(offset, length));  // somebody may have been faster
  if (mapped.kind == BlockKind::kCompressed)
    co_return fail(ErrorKind::kUnsupported, "a compressed block cannot be written again");
  if (mapped.kind == BlockKind::kData) {
    DOPPEL_CO_TRY(co_await file_->write(mapped.host, from.slice(0, length)));
  } else {
    DOPPEL_CO_TRY(co_await allocate(offset, from.slice(0, length), mapped.kind));
  }
  co_return std::uint64_t{length};
}

Task<Result<>> SparseNode::allocate(std::uint64_t offset, IoView data, BlockKind old) {
  const std::uint64_t block = offset / geometry_.block_size;
  const std::uint64_t begin = block * geometry_.block_size;
  const std::uint64_t end = begin + std::min(geometry_.block_size, size() - begin);
  DOPPEL_CO_ASSIGN(const std::uint64_t host, co_await new_place());
  if (old == BlockKind::kUnallocated) {
    DOPPEL_CO_TRY(co_await copy_through(begin, offset, host));
    DOPPEL_CO_TRY(co_await copy_through(offset + data.size(), end, host + (offset + data.size() - begin)));
  }
  DOPPEL_CO_TRY(co_await file_->write(host + (offset - begin), data));
  const auto guard = co_await tables_lock_.lock();
  DOPPEL_CO_TRY(co_await enter(block, host));
  if (tables_.crowded()) DOPPEL_CO_TRY(co_await tables_.commit());
  co_return Result<>{};
}

/// [BEGIN, END) of the backing node to HOST, as far as there is any.
Task<Result<>> SparseNode::copy_through(std::uint64_t begin, std::uint64_t end, std::uint64_t host) {
  while (begin < end && shows_through(begin)) {
    std::vector<std::byte> bytes(static_cast<std::size_t>(std::min(kCopyBytes, end - begin)));
    const std::span<std::byte> all(bytes);
    DOPPEL_CO_TRY(co_await read_through(begin, all));
    DOPPEL_CO_TRY(co_await file_->write(host, all));
    begin += bytes.size();
    host += bytes.size();
  }
  co_return Result<>{};
}

Task<Result<>> SparseNode::write_zeroes(std::uint64_t offset, std::uint64_t length, Unmap unmap) {
  DOPPEL_CO_TRY(check_range(offset, length));
  DOPPEL_CO_TRY(co_await prepare_writing());
  for (std::uint64_t done = 0; done < length;) {
    DOPPEL_CO_ASSIGN(const std::uint64_t step, co_await zero_step(offset + done, length - done, unmap));
    done += step;
  }
  co_return Result<>{};
}

Task<Result<std::uint64_t>> SparseNode::zero_step(std::uint64_t offset, std::uint64_t length, Unmap unmap) {
  {
    const auto gate = co_await gate_.lock_shared();
    DOPPEL_CO_ASSIGN(const Mapped mapped, co_await map(offset, length));
    if (mapped.kind == BlockKind::kZero) co_return mapped.length;
    if (mapped.kind == BlockKind::kUnallocated && !shows_through(offset)) co_return mapped.length;
    if (mapped.kind == BlockKind::kData) {
      DOPPEL_CO_TRY(co_await file_->write_zeroes(mapped.host, mapped.length, unmap));
      co_return mapped.length;
    }
    length = std::min(mapped.length, kCopyBytes);
  }
  const std::vector<std::byte> zeroes(static_cast<std::size_t>(length));
  const std::span<const std::byte> all(zeroes);
  co_return co_await write_step(offset, all);
}

/// Data keeps its place; the file may give up what it holds there.
Task<Result<>> SparseNode::discard(std::uint64_t offset, std::uint64_t length) {
  DOPPEL_CO_TRY(check_range(offset, length));
  DOPPEL_CO_TRY(co_await prepare_writing());
  const auto gate = co_await gate_.lock_shared();
  for (std::uint64_t done = 0; done < length;) {
    DOPPEL_CO_ASSIGN(const Mapped mapped, co_await map(offset + done, length - done));
    if (mapped.kind == BlockKind::kData) DOPPEL_CO_TRY(co_await file_->discard(mapped.host, mapped.length));
    done += mapped.length;
  }
  co_return Result<>{};
}

Task<Result<>> SparseNode::flush() {
  if (read_only()) co_return Result<>{};
  const auto guard = co_await tables_lock_.lock();
  co_return co_await tables_.commit();
}

Task<Result<>> SparseNode::close() {
  Result<> result;
  if (writing_) {
    result = co_await flush();
    if (result) result = co_await end_writing();
  }
  const Result<> closed = co_await file_->close();
  co_return result ? closed : result;
}

}  // namespace doppel::block
