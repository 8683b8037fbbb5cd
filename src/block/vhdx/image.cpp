#include "block/vhdx/image.h"

#include <algorithm>

namespace doppel::block::vhdx {
namespace {

constexpr std::uint64_t kStateMask = 7;
constexpr std::uint64_t kOffsetMask = ~low_mask(20);
constexpr std::uint64_t kMaxPlace = std::uint64_t{1} << 62;

BatState state_of(std::uint64_t entry) {
  return static_cast<BatState>(entry & kStateMask);
}

bool has_data(std::uint64_t entry) {
  return state_of(entry) == BatState::kFullyPresent || state_of(entry) == BatState::kPartiallyPresent;
}

}  // namespace

Image::Image(Context& context, NodePtr file, const Header& header, const Metadata& metadata, bool replayed)
    : SparseNode(context, std::move(file), {.size = metadata.disk_size, .block_size = metadata.block_size}),
      header_(header),
      metadata_(metadata),
      replayed_(replayed) {}

Task<Result<std::unique_ptr<Image>>> Image::open(Context& context, NodePtr file) {
  DOPPEL_CO_ASSIGN(Header header, co_await read_header(*file));
  DOPPEL_CO_ASSIGN(LogContents log, co_await read_log(*file, header.raw));
  const bool replayed = !log.empty();
  if (replayed && file->read_only()) {
    file = std::make_unique<ReplayedFile>(std::move(file), std::move(log));
  } else if (replayed) {
    DOPPEL_CO_TRY(co_await log.write_to(*file));
    header.raw.log = Guid{};
    for (int i = 0; i < 2; ++i) DOPPEL_CO_TRY(co_await write_next_header(*file, header));
  }
  DOPPEL_CO_ASSIGN(const Metadata metadata, co_await read_metadata(*file));
  co_return std::unique_ptr<Image>(new Image(context, std::move(file), header, metadata, replayed));
}

Task<Result<BlockEntry>> Image::entry(std::uint64_t block) {
  DOPPEL_CO_ASSIGN(const auto found, co_await load_le_at<std::uint64_t>(tables(), entry_offset(block)));
  if (state_of(found) == BatState::kPartiallyPresent)
    co_return fail(ErrorKind::kCorrupt, "a block is partly in a parent that the image does not have");
  if (has_data(found)) {
    const std::uint64_t host = found & kOffsetMask;
    if (host < kMiB || host > kMaxPlace)
      co_return fail(ErrorKind::kCorrupt, "a block is said to be at offset {:#x}, where none can be", host);
    co_return BlockEntry{.kind = BlockKind::kData, .host = host};
  }
  const bool zero = state_of(found) == BatState::kZero || state_of(found) == BatState::kUnmapped ||
                    state_of(found) == BatState::kUnmappedOld;
  if (!zero && state_of(found) != BatState::kNotPresent && state_of(found) != BatState::kUndefined)
    co_return fail(ErrorKind::kCorrupt, "a block has the state {}, which there is not", found & kStateMask);
  BlockEntry empty{.kind = zero ? BlockKind::kZero : BlockKind::kUnallocated};
  while (block + empty.run < metadata_.blocks()) {
    const std::byte* next = tables().peek(entry_offset(block + empty.run), 8);
    if (next == nullptr || (load_le<std::uint64_t>(next) & kStateMask) != (found & kStateMask)) break;
    ++empty.run;
  }
  co_return empty;
}

/// Readers of the old header alone must notice that the file, and its data, are not what they were: section 2.2.2.1.
Task<Result<>> Image::begin_writing() {
  header_.raw.file_write = random_uuid(UuidOrder::kLittle);
  header_.raw.data_write = random_uuid(UuidOrder::kLittle);
  for (int i = 0; i < 2; ++i) DOPPEL_CO_TRY(co_await write_next_header(file(), header_));
  co_return Result<>{};
}

Task<Result<std::uint64_t>> Image::new_place() {
  const std::uint64_t place = align_up(file().size(), kMiB);
  DOPPEL_CO_TRY(co_await file().resize(place + metadata_.block_size, Preallocation::kOff));
  co_return place;
}

Task<Result<>> Image::enter(std::uint64_t block, std::uint64_t host) {
  const std::uint64_t value = host | static_cast<std::uint64_t>(BatState::kFullyPresent);
  co_return co_await store_le_at<std::uint64_t>(tables(), entry_offset(block), value, WriteOrder::kSecond);
}

NodeInfo Image::info() const {
  NodeInfo info = file().info();
  info.format = "vhdx";
  info.virtual_size = size();
  info.cluster_size = metadata_.block_size;
  return info;
}

/// Blocks must be within the file, outside of the block table, and none twice.
Task<Result<CheckResult>> Image::check(Repair repair) {
  const auto guard = co_await tables_lock_.lock();
  CheckResult result;
  if (replayed_ && file().read_only())
    result.corruption("ERROR: the log has changes that are not written yet; check -r all writes them");
  if (replayed_ && repair != Repair::kNone) ++result.corruptions_fixed;
  std::vector<std::uint64_t> places;
  const std::uint64_t end = file().size();
  for (std::uint64_t block = 0; block < metadata_.blocks(); ++block) {
    DOPPEL_CO_ASSIGN(const auto found, co_await load_le_at<std::uint64_t>(tables(), entry_offset(block)));
    if (!has_data(found)) continue;
    const std::uint64_t place = found & kOffsetMask;
    const bool in_table =
        place < metadata_.bat.offset + metadata_.bat.length && place + metadata_.block_size > metadata_.bat.offset;
    if (place < kMiB || place >= end || end - place < metadata_.block_size || in_table)
      result.corruption(fmt::format("ERROR: block {} is said to be at {:#x}, where none can be", block, place));
    else if (places.size() <= end / kMiB)  // more are doubles, of which there are enough then
      places.push_back(place);
  }
  std::ranges::sort(places);
  for (std::size_t i = 1; i < places.size(); ++i)
    if (places[i] - places[i - 1] < metadata_.block_size)
      result.corruption(fmt::format("ERROR: two blocks overlap at {:#x}", places[i]));
  replayed_ = replayed_ && file().read_only();
  co_return result;
}

}  // namespace doppel::block::vhdx
