#include "block/vpc/image.h"

#include <algorithm>

#include "base/bits.h"
#include "block/raw_node.h"

namespace doppel::block::vpc {
namespace {

constexpr std::uint32_t kUnallocated = 0xffffffff;

}  // namespace

Task<Result<NodePtr>> open(Context& context, NodePtr file) {
  DOPPEL_CO_ASSIGN(const Header header, co_await read_header(*file));
  if (header.type == DiskType::kDynamic)
    co_return NodePtr(std::make_unique<DynamicImage>(context, std::move(file), header));
  DOPPEL_CO_ASSIGN(NodePtr data, RawNode::create(std::move(file), {.offset = 0, .size = header.disk_size}));
  co_return NodePtr(std::make_unique<FixedImage>(std::move(data), header.disk_size));
}

Task<Result<BlockStatus>> FixedImage::block_status(std::uint64_t offset, std::uint64_t length) {
  DOPPEL_CO_ASSIGN(BlockStatus status, co_await data_->block_status(offset, length));
  status.allocated = true;
  status.data = true;
  status.offset = offset;
  co_return status;
}

Task<Result<>> FixedImage::resize(std::uint64_t /*size*/, Preallocation /*preallocation*/) {
  co_return fail(ErrorKind::kUnsupported, "images of format vpc cannot be resized");
}

NodeInfo FixedImage::info() const {
  NodeInfo info = data_->info();
  info.format = "vpc";
  return info;
}

DynamicImage::DynamicImage(Context& context, NodePtr file, const Header& header)
    : SparseNode(context, std::move(file), {.size = header.disk_size, .block_size = header.block_size}),
      header_(header) {}

/// A bit for each sector, in whole sectors.
std::uint64_t DynamicImage::bitmap_size() const {
  return align_up((header_.block_size + 4095) / 4096, 512);
}

Task<Result<BlockEntry>> DynamicImage::entry(std::uint64_t block) {
  DOPPEL_CO_ASSIGN(const auto stored, co_await load_le_at<std::uint32_t>(tables(), entry_offset(block)));
  const std::uint32_t sector = byte_swap(stored);
  if (sector != kUnallocated)
    co_return BlockEntry{.kind = BlockKind::kData, .host = std::uint64_t{sector} * 512 + bitmap_size()};
  BlockEntry found;
  while (block + found.run < header_.entries) {
    const std::byte* next = tables().peek(entry_offset(block + found.run), 4);
    if (next == nullptr || load_be<std::uint32_t>(next) != kUnallocated) break;
    ++found.run;
  }
  co_return found;
}

/// Finds the end of what is in use: behind the headers, the table, and every block that it names.
Task<Result<>> DynamicImage::begin_writing() {
  if (!is_aligned(header_.table_offset, 512))
    co_return fail(ErrorKind::kUnsupported, "the block table is not aligned to sectors, so it cannot be written");
  const std::uint64_t table_end = header_.table_offset + align_up(std::uint64_t{header_.entries} * 4, 512);
  end_ = std::max(table_end, align_up(header_.footer.data_offset + sizeof(RawDynamicHeader), 512));
  const auto guard = co_await tables_lock_.lock();
  for (std::uint64_t block = 0; block < header_.entries; ++block) {
    DOPPEL_CO_ASSIGN(const auto stored, co_await load_le_at<std::uint32_t>(tables(), entry_offset(block)));
    if (stored == kUnallocated) continue;
    end_ = std::max(end_, std::uint64_t{byte_swap(stored)} * 512 + bitmap_size() + header_.block_size);
  }
  if (end_ > file().size())
    co_return fail(ErrorKind::kCorrupt, "the file has been cut off: its blocks end at {:#x}, behind its end", end_);
  co_return Result<>{};
}

/// The block goes where the footer is. First there is a footer behind it, then the old one is written over by the
/// bitmap, which is at least as long.
Task<Result<std::uint64_t>> DynamicImage::new_place() {
  const std::uint64_t place = end_;
  const std::uint64_t next = place + bitmap_size() + header_.block_size;
  if (place / 512 >= kUnallocated) co_return fail(ErrorKind::kNoSpace, "the image has no room for another block");
  const std::span<const std::byte> footer = std::as_bytes(std::span(&header_.footer, 1));
  DOPPEL_CO_TRY(co_await file().resize(place, Preallocation::kOff));
  DOPPEL_CO_TRY(co_await file().write(next, footer));
  const std::vector<std::byte> bitmap(bitmap_size(), std::byte{0xff});
  const std::span<const std::byte> all(bitmap);
  DOPPEL_CO_TRY(co_await file().write(place, all));
  end_ = next;
  co_return place + bitmap_size();
}

Task<Result<>> DynamicImage::enter(std::uint64_t block, std::uint64_t host) {
  const auto sector = static_cast<std::uint32_t>((host - bitmap_size()) / 512);
  co_return co_await store_le_at<std::uint32_t>(tables(), entry_offset(block), byte_swap(sector), WriteOrder::kSecond);
}

NodeInfo DynamicImage::info() const {
  NodeInfo info = file().info();
  info.format = "vpc";
  info.virtual_size = size();
  info.cluster_size = header_.block_size;
  return info;
}

}  // namespace doppel::block::vpc
