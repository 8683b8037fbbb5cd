#include "block/vdi/image.h"

#include <algorithm>
#include <cstddef>
#include <unordered_map>

namespace doppel::block::vdi {

Image::Image(Context& context, NodePtr file, const Header& header)
    : SparseNode(
          context, std::move(file),
          {.size = header.disk_size, .block_size = kBlockSize, .preallocated = header.type == ImageType::kStatic}),
      header_(header),
      next_(header.allocated_blocks) {}

Task<Result<std::unique_ptr<Image>>> Image::open(Context& context, NodePtr file) {
  DOPPEL_CO_ASSIGN(const Header header, co_await read_header(*file));
  co_return std::unique_ptr<Image>(new Image(context, std::move(file), header));
}

Task<Result<BlockEntry>> Image::entry(std::uint64_t block) {
  DOPPEL_CO_ASSIGN(const auto number, co_await load_le_at<std::uint32_t>(tables(), entry_offset(block)));
  if (number < kDiscarded)
    co_return BlockEntry{.kind = BlockKind::kData, .host = header_.data_offset + number * kBlockSize};
  BlockEntry found{.kind = number == kUnallocated ? BlockKind::kUnallocated : BlockKind::kZero};
  while (block + found.run < header_.blocks) {
    const std::byte* next = tables().peek(entry_offset(block + found.run), 4);
    if (next == nullptr || load_le<std::uint32_t>(next) != number) break;
    ++found.run;
  }
  co_return found;
}

/// Places are taken in order; what is at the file's end already is not taken again, whatever the header counts.
Task<Result<std::uint64_t>> Image::new_place() {
  const std::uint64_t end = file().size();
  const std::uint64_t taken =
      end <= header_.data_offset ? 0 : (end - header_.data_offset + kBlockSize - 1) / kBlockSize;
  const std::uint64_t place = std::max<std::uint64_t>(taken, next_);
  if (place >= kMaxBlocks) co_return fail(ErrorKind::kNoSpace, "the image has no room for another block");
  const std::uint64_t host = header_.data_offset + place * kBlockSize;
  DOPPEL_CO_TRY(co_await file().resize(host + kBlockSize, Preallocation::kOff));
  next_ = static_cast<std::uint32_t>(place + 1);
  co_return host;
}

Task<Result<>> Image::enter(std::uint64_t block, std::uint64_t host) {
  const auto place = static_cast<std::uint32_t>((host - header_.data_offset) / kBlockSize);
  DOPPEL_CO_TRY(co_await store_le_at<std::uint32_t>(tables(), entry_offset(block), place, WriteOrder::kSecond));
  ++header_.allocated_blocks;
  co_return co_await store_le_at<std::uint32_t>(tables(), offsetof(RawHeader, allocated_blocks),
                                                header_.allocated_blocks, WriteOrder::kSecond);
}

NodeInfo Image::info() const {
  NodeInfo info = file().info();
  info.format = "vdi";
  info.virtual_size = size();
  info.cluster_size = kBlockSize;
  return info;
}

Task<Result<CheckResult>> Image::check(Repair repair) {
  if (repair != Repair::kNone) co_return fail(ErrorKind::kUnsupported, "VDI images can be checked, but not repaired");
  CheckResult result;
  std::unordered_map<std::uint32_t, std::uint32_t> users;  // of each place, the first block
  std::uint32_t allocated = 0;
  const auto guard = co_await tables_lock_.lock();
  const std::uint64_t end = file().size();
  for (std::uint32_t block = 0; block < header_.blocks; ++block) {
    DOPPEL_CO_ASSIGN(const auto place, co_await load_le_at<std::uint32_t>(tables(), entry_offset(block)));
    if (place >= kDiscarded) continue;
    ++allocated;
    if (place >= header_.blocks || header_.data_offset + place * kBlockSize >= end) {
      result.corruption(fmt::format("ERROR: block {} is said to be at place {}, which does not exist", block, place));
      continue;
    }
    if (const auto [user, fresh] = users.emplace(place, block); !fresh)
      result.corruption(fmt::format("ERROR: blocks {} and {} have the same place {}", user->second, block, place));
  }
  if (allocated != header_.allocated_blocks)
    result.corruption(
        fmt::format("ERROR: {} blocks are allocated, the header says {}", allocated, header_.allocated_blocks));
  co_return result;
}

}  // namespace doppel::block::vdi
