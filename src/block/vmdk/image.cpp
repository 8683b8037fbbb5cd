#include "block/vmdk/image.h"

#include <algorithm>
#include <array>

#include "block/raw_node.h"
#include "block/sparse/random_id.h"
#include "block/vmdk/zero_extent.h"

namespace doppel::block::vmdk {
namespace {

constexpr std::uint64_t kSesparseMagic = 0x00000000cafebabe;
constexpr std::uint32_t kCowdMagic = 0x44574f43;  // "COWD"
constexpr std::uint64_t kMaxSize = std::uint64_t{1} << 62;

std::unexpected<Error> bad(std::string message) {
  return std::unexpected(Error(ErrorKind::kCorrupt, std::move(message)));
}

/// What a file begins with: a sparse extent, else text; what is neither is refused by name.
Task<Result<bool>> is_sparse_extent(Node& file) {
  std::array<std::byte, 8> head;
  const std::span<std::byte> bytes(head);
  DOPPEL_CO_TRY(co_await file.read(0, bytes));
  if (load_le<std::uint32_t>(head.data()) == kCowdMagic)
    co_return fail(ErrorKind::kUnsupported, "ESX's copy-on-write extents (COWD) are not supported");
  if (load_le<std::uint64_t>(head.data()) == kSesparseMagic)
    co_return fail(ErrorKind::kUnsupported, "ESX's space-efficient sparse extents (SESPARSE) are not supported");
  co_return load_le<std::uint32_t>(head.data()) == RawSparseHeader::kMagic;
}

Task<Result<Descriptor>> read_descriptor(Node& file, std::uint64_t offset, std::uint64_t length) {
  if (length > kMaxDescriptorBytes) co_return bad(fmt::format("a descriptor of {} bytes is too large", length));
  std::string text(length, '\0');
  const std::span<std::byte> bytes = std::as_writable_bytes(std::span(text));
  DOPPEL_CO_TRY(co_await file.read(offset, bytes));
  co_return parse_descriptor(text);
}

}  // namespace

Task<Result<std::unique_ptr<Image>>> Image::open(Context& context, NodePtr file, OpenFile open_file) {
  std::unique_ptr<Image> image(new Image(context));
  DOPPEL_CO_ASSIGN(const bool single, co_await is_sparse_extent(*file));
  if (single) {
    DOPPEL_CO_TRY(co_await image->open_single(std::move(file)));
  } else {
    DOPPEL_CO_TRY(co_await image->open_extents(std::move(file), open_file));
  }
  co_return image;
}

Task<Result<>> Image::open_single(NodePtr file) {
  DOPPEL_CO_ASSIGN(std::unique_ptr<SparseExtent> extent, co_await SparseExtent::open(context_, std::move(file)));
  const SparseHeader& header = extent->header();
  descriptor_offset_ = header.descriptor_offset;
  if (descriptor_offset_ != 0) {
    DOPPEL_CO_ASSIGN(descriptor_, co_await read_descriptor(extent->file(), descriptor_offset_, header.descriptor_size));
  }
  SparseExtent* const sparse = extent.get();
  const std::uint64_t size = sparse->size();
  co_return add({.node = std::move(extent), .sparse = sparse, .size = size});
}

Task<Result<>> Image::open_extents(NodePtr file, const OpenFile& open_file) {
  DOPPEL_CO_ASSIGN(descriptor_, co_await read_descriptor(*file, 0, file->size()));
  descriptor_file_ = std::move(file);
  if (descriptor_.extents.empty()) co_return bad("it is neither a sparse extent nor a descriptor that names extents");
  for (const ExtentLine& line : descriptor_.extents) {
    auto extent = co_await open_extent(line, open_file);
    if (!extent) co_return std::unexpected(std::move(extent).error().wrap(fmt::format("extent '{}'", line.filename)));
    DOPPEL_CO_TRY(add(std::move(*extent)));
  }
  co_return Result<>{};
}

Task<Result<Image::Extent>> Image::open_extent(const ExtentLine& line, const OpenFile& open_file) {
  Extent extent{.type = line.type, .size = line.sectors * kSector};
  if (line.kind == ExtentKind::kZero) {
    extent.node = std::make_unique<ZeroExtent>(extent.size);
    co_return extent;
  }
  DOPPEL_CO_ASSIGN(NodePtr file, open_file(line.filename, line.access));
  if (line.kind == ExtentKind::kFlat) {
    DOPPEL_CO_ASSIGN(extent.node,
                     RawNode::create(std::move(file), {.offset = line.offset * kSector, .size = extent.size}));
    co_return extent;
  }
  DOPPEL_CO_ASSIGN(const bool sparse, co_await is_sparse_extent(*file));
  if (!sparse) co_return bad("it is no sparse extent");
  DOPPEL_CO_ASSIGN(std::unique_ptr<SparseExtent> opened, co_await SparseExtent::open(context_, std::move(file)));
  if (opened->size() < extent.size)
    co_return bad(
        fmt::format("it has {} bytes, fewer than the {} that the descriptor says", opened->size(), extent.size));
  extent.sparse = opened.get();
  extent.node = std::move(opened);
  co_return extent;
}

Result<> Image::add(Extent extent) {
  if (extent.size > kMaxSize - size_) return bad("the extents together are too large");
  extent.begin = size_;
  size_ += extent.size;
  extents_.push_back(std::move(extent));
  return {};
}

Result<> Image::set_backing(NodePtr backing) {
  const auto* parent = dynamic_cast<const Image*>(&without_filters(*backing));
  if (parent == nullptr) return bad("its parent is not a VMDK image");
  if (parent->descriptor_.cid != descriptor_.parent_cid)
    return bad(fmt::format("its parent has been changed since: its content id is {}, not {}",
                           format_cid(parent->descriptor_.cid), format_cid(descriptor_.parent_cid)));
  backing_ = std::move(backing);
  for (const Extent& extent : extents_)
    if (extent.sparse != nullptr) extent.sparse->show_through(backing_.get(), extent.begin);
  return {};
}

bool Image::read_only() const {
  return std::ranges::all_of(extents_, [](const Extent& extent) { return extent.node->read_only(); });
}

Result<> Image::check_range(std::uint64_t offset, std::uint64_t length) const {
  if (offset <= size() && length <= size() - offset) return {};
  return fail(ErrorKind::kOutOfRange, "{} bytes at offset {} go beyond the end of the disk of {} bytes", length, offset,
              size());
}

/// OFFSET lies within the disk.
Image::Part Image::part_at(std::uint64_t offset, std::uint64_t length) {
  const auto behind = std::ranges::upper_bound(extents_, offset, {}, &Extent::begin);
  Extent& extent = *std::prev(behind);
  return {&extent, offset - extent.begin, std::min(length, extent.begin + extent.size - offset)};
}

Task<Result<>> Image::read(std::uint64_t offset, IoView to) {
  DOPPEL_CO_TRY(check_range(offset, to.size()));
  for (std::size_t done = 0; done < to.size();) {
    const Part part = part_at(offset + done, to.size() - done);
    const auto length = static_cast<std::size_t>(part.length);
    DOPPEL_CO_TRY(co_await part.extent->node->read(part.offset, to.slice(done, length)));
    done += length;
  }
  co_return Result<>{};
}

/// Gives the disk a new content id, so that overlays made on what it was are known to be void.
Task<Result<>> Image::prepare_writing() {
  if (writing_) co_return Result<>{};
  const auto guard = co_await first_write_.lock();
  if (writing_) co_return Result<>{};
  if (read_only()) co_return fail(ErrorKind::kPermissionDenied, "the image is open for reading alone");
  if (descriptor_.cid_place) {
    descriptor_.cid = random_number() & 0x7fffffffU;  // never "no parent"
    Node& file = descriptor_file_ ? *descriptor_file_ : extents_[0].sparse->file();
    const std::string digits = format_cid(descriptor_.cid);
    const std::span<const std::byte> bytes = std::as_bytes(std::span(digits));
    DOPPEL_CO_TRY(co_await file.write(descriptor_offset_ + *descriptor_.cid_place, bytes));
  }
  writing_ = true;
  co_return Result<>{};
}

Task<Result<>> Image::write(std::uint64_t offset, IoView from) {
  DOPPEL_CO_TRY(check_range(offset, from.size()));
  DOPPEL_CO_TRY(co_await prepare_writing());
  for (std::size_t done = 0; done < from.size();) {
    const Part part = part_at(offset + done, from.size() - done);
    const auto length = static_cast<std::size_t>(part.length);
    DOPPEL_CO_TRY(co_await part.extent->node->write(part.offset, from.slice(done, length)));
    done += length;
  }
  co_return Result<>{};
}

Task<Result<>> Image::write_zeroes(std::uint64_t offset, std::uint64_t length, Unmap unmap) {
  DOPPEL_CO_TRY(check_range(offset, length));
  DOPPEL_CO_TRY(co_await prepare_writing());
  for (std::uint64_t done = 0; done < length;) {
    const Part part = part_at(offset + done, length - done);
    DOPPEL_CO_TRY(co_await part.extent->node->write_zeroes(part.offset, part.length, unmap));
    done += part.length;
  }
  co_return Result<>{};
}

Task<Result<>> Image::discard(std::uint64_t offset, std::uint64_t length) {
  DOPPEL_CO_TRY(check_range(offset, length));
  DOPPEL_CO_TRY(co_await prepare_writing());
  for (std::uint64_t done = 0; done < length;) {
    const Part part = part_at(offset + done, length - done);
    DOPPEL_CO_TRY(co_await part.extent->node->discard(part.offset, part.length));
    done += part.length;
  }
  co_return Result<>{};
}

Task<Result<>> Image::flush() {
  for (const Extent& extent : extents_) DOPPEL_CO_TRY(co_await extent.node->flush());
  if (descriptor_file_ && writing_) DOPPEL_CO_TRY(co_await descriptor_file_->flush());
  co_return Result<>{};
}

Task<Result<BlockStatus>> Image::block_status(std::uint64_t offset, std::uint64_t length) {
  DOPPEL_CO_TRY(check_range(offset, length));
  if (offset == size()) co_return BlockStatus{};
  const Part part = part_at(offset, length);
  DOPPEL_CO_ASSIGN(BlockStatus status, co_await part.extent->node->block_status(part.offset, part.length));
  status.holder = part.extent->node.get();
  if (part.extent->sparse != nullptr) co_return status;
  status.allocated = true;
  status.data = part.extent->type != "ZERO";
  co_return status;
}

Task<Result<>> Image::resize(std::uint64_t /*size*/, Preallocation /*preallocation*/) {
  co_return fail(ErrorKind::kUnsupported, "images of format vmdk cannot be resized");
}

Task<Result<>> Image::close() {
  Result<> result;
  for (const Extent& extent : extents_)
    if (auto closed = co_await extent.node->close(); !closed && result) result = std::move(closed);
  if (backing_) (void)co_await backing_->close();
  if (descriptor_file_)
    if (auto closed = co_await descriptor_file_->close(); !closed && result) result = std::move(closed);
  co_return result;
}

Task<Result<CompressedTarget::Packed>> Image::pack(IoView from) {
  if (!compressed_only())
    co_return fail(ErrorKind::kUnsupported, "only stream-optimized images take compressed grains");
  co_return co_await extents_[0].sparse->pack(from);
}

Task<Result<>> Image::write_packed(std::uint64_t offset, IoView from, Packed packed) {
  DOPPEL_CO_TRY(check_range(offset, from.size()));
  DOPPEL_CO_TRY(co_await prepare_writing());
  co_return co_await extents_[0].sparse->write_packed(offset, packed);
}

bool Image::compressed_only() const {
  return extents_.size() == 1 && extents_[0].sparse != nullptr && extents_[0].sparse->header().compressed;
}

Task<Result<CheckResult>> Image::check(Repair repair) {
  if (repair != Repair::kNone) co_return fail(ErrorKind::kUnsupported, "VMDK images can be checked, but not repaired");
  CheckResult result;
  for (const Extent& extent : extents_)
    if (extent.sparse != nullptr) DOPPEL_CO_TRY(co_await extent.sparse->check(result));
  co_return result;
}

/// Of the file that was opened, with what all files take up on the host.
NodeInfo Image::bottom_info() const {
  NodeInfo info = descriptor_file_ ? descriptor_file_->info() : extents_[0].node->info();
  if (!descriptor_file_) return info;
  for (const Extent& extent : extents_) info.disk_size += extent.node->info().disk_size;
  return info;
}

NodeInfo Image::info() const {
  NodeInfo info = bottom_info();
  info.format = "vmdk";
  info.virtual_size = size_;
  info.cluster_size = 0;
  info.backing_file = descriptor_.parent_cid == kNoParent ? "" : descriptor_.parent;
  if (!info.backing_file.empty()) info.backing_format = "vmdk";
  const bool all_sparse = std::ranges::all_of(extents_, [](const Extent& extent) { return extent.sparse != nullptr; });
  if (all_sparse) info.cluster_size = extents_[0].sparse->header().grain_size;
  std::vector<FormatDetails> extents;
  for (const Extent& extent : extents_) {
    FormatDetails details;
    if (extent.sparse != nullptr && extent.sparse->header().compressed) details.push_back({"compressed", true});
    details.push_back({"virtual size", extent.size});
    details.push_back({"filename", extent.node->info().filename});
    if (extent.sparse != nullptr) details.push_back({"cluster size", extent.sparse->header().grain_size});
    details.push_back({"format", extent.type});
    extents.push_back(std::move(details));
  }
  info.details.push_back({"cid", std::uint64_t{descriptor_.cid}});
  info.details.push_back({"parent cid", std::uint64_t{descriptor_.parent_cid}});
  info.details.push_back({"create type", descriptor_.create_type});
  info.details.push_back({"extents", std::move(extents)});
  return info;
}

}  // namespace doppel::block::vmdk
