#include "block/qed/image.h"

#include <algorithm>
#include <bit>

#include "base/text.h"

namespace doppel::block::qed {
namespace {

constexpr std::uint64_t kUnallocated = 0;
constexpr std::uint64_t kZero = 1;

}  // namespace

Image::Image(Context& context, NodePtr file, Header header)
    : SparseNode(context, std::move(file),
                 {.size = header.size, .block_size = header.cluster_size, .may_have_backing = true}),
      header_(std::move(header)) {}

Task<Result<std::unique_ptr<Image>>> Image::open(Context& context, NodePtr file) {
  DOPPEL_CO_ASSIGN(Header header, co_await read_header(*file));
  co_return std::unique_ptr<Image>(new Image(context, std::move(file), std::move(header)));
}

/// May a table or cluster be there?
bool Image::is_place(std::uint64_t offset, std::uint64_t bytes) const {
  return is_aligned(offset, header_.cluster_size) && offset >= header_.header_bytes() && offset <= file().size() &&
         bytes <= align_up(file().size(), header_.cluster_size) - offset;
}

Task<Result<BlockEntry>> Image::entry(std::uint64_t block) {
  const std::uint64_t entries = header_.table_entries();
  const std::uint64_t index = block % entries;
  DOPPEL_CO_ASSIGN(const auto l2,
                   co_await load_le_at<std::uint64_t>(tables(), header_.l1_offset + block / entries * 8));
  if (l2 == kUnallocated) co_return BlockEntry{.run = entries - index};
  if (!is_place(l2, header_.table_bytes()))
    co_return fail(ErrorKind::kCorrupt, "an L2 table is said to be at offset {:#x}, where none can be", l2);
  DOPPEL_CO_ASSIGN(const auto place, co_await load_le_at<std::uint64_t>(tables(), l2 + index * 8));
  if (place > kZero) {
    if (!is_place(place, header_.cluster_size))
      co_return fail(ErrorKind::kCorrupt, "a cluster is said to be at offset {:#x}, where none can be", place);
    co_return BlockEntry{.kind = BlockKind::kData, .host = place};
  }
  BlockEntry found{.kind = place == kZero ? BlockKind::kZero : BlockKind::kUnallocated};
  while (index + found.run < entries) {
    const std::byte* next = tables().peek(l2 + (index + found.run) * 8, 8);
    if (next == nullptr || load_le<std::uint64_t>(next) != place) break;
    ++found.run;
  }
  co_return found;
}

/// BYTES of zeroes at the end of the file.
Task<Result<std::uint64_t>> Image::append(std::uint64_t bytes) {
  const std::uint64_t place = align_up(file().size(), header_.cluster_size);
  DOPPEL_CO_TRY(co_await file().resize(place + bytes, Preallocation::kOff));
  co_return place;
}

Task<Result<std::uint64_t>> Image::new_place() {
  return append(header_.cluster_size);
}

Task<Result<>> Image::enter(std::uint64_t block, std::uint64_t host) {
  const std::uint64_t entries = header_.table_entries();
  const std::uint64_t l1_entry = header_.l1_offset + block / entries * 8;
  DOPPEL_CO_ASSIGN(auto l2, co_await load_le_at<std::uint64_t>(tables(), l1_entry));
  if (l2 == kUnallocated) {
    DOPPEL_CO_ASSIGN(l2, co_await append(header_.table_bytes()));
    DOPPEL_CO_TRY(co_await store_le_at<std::uint64_t>(tables(), l1_entry, l2, WriteOrder::kSecond));
  }
  co_return co_await store_le_at<std::uint64_t>(tables(), l2 + block % entries * 8, host, WriteOrder::kFirst);
}

Task<Result<>> Image::begin_writing() {
  if ((header_.features & Header::kNeedCheck) != 0) {
    DOPPEL_CO_ASSIGN(const CheckResult found, co_await check(Repair::kNone));
    if (found.corruptions > 0)
      co_return fail(ErrorKind::kCorrupt, "the image was not closed and its tables are damaged; convert what is left");
  }
  const std::uint64_t features = header_.features & ~Header::kNeedCheck;
  if (features == header_.features && header_.autoclear == 0) co_return Result<>{};
  header_.features = features;
  header_.autoclear = 0;
  DOPPEL_CO_TRY(co_await write_header(file(), header_));
  co_return co_await file().flush();
}

Task<Result<>> Image::resize(std::uint64_t size, Preallocation preallocation) {
  if (preallocation != Preallocation::kOff)
    co_return fail(ErrorKind::kUnsupported, "images of format qed have no preallocation");
  if (size < header_.size) co_return fail(ErrorKind::kUnsupported, "images of format qed cannot be shrunk");
  if (size > max_size(header_))
    co_return fail(ErrorKind::kInvalidArgument, "the image's tables have no room for {}", format_size(size));
  DOPPEL_CO_TRY(co_await prepare_writing());
  header_.size = align_up(size, 512);
  DOPPEL_CO_TRY(co_await write_header(file(), header_));
  set_size(header_.size);
  co_return co_await file().flush();
}

Task<Result<>> Image::close() {
  if (backing_) (void)co_await backing_->close();
  co_return co_await SparseNode::close();
}

NodeInfo Image::info() const {
  NodeInfo info = file().info();
  info.format = "qed";
  info.virtual_size = header_.size;
  info.cluster_size = header_.cluster_size;
  info.dirty = (header_.features & Header::kNeedCheck) != 0;
  info.backing_file = header_.backing_file;
  if ((header_.features & Header::kBackingIsRaw) != 0) info.backing_format = "raw";
  return info;
}

Task<Result<>> Image::check_table(std::uint64_t l2, std::uint64_t first_block, CheckResult& result,
                                  std::vector<std::uint64_t>& places) {
  const std::uint64_t entries = std::min(header_.table_entries(), blocks() - first_block);
  std::uint64_t previous = 0;
  for (std::uint64_t i = 0; i < entries; ++i) {
    DOPPEL_CO_ASSIGN(const auto place, co_await load_le_at<std::uint64_t>(tables(), l2 + i * 8));
    if (place <= kZero) continue;
    ++result.allocated_clusters;
    if (previous != 0 && place != previous + header_.cluster_size) ++result.fragmented_clusters;
    previous = place;
    if (is_place(place, header_.cluster_size))
      places.push_back(place);
    else
      result.corruption(
          fmt::format("ERROR: cluster {} is said to be at {:#x}, where none can be", first_block + i, place));
  }
  co_return Result<>{};
}

/// Tables and clusters must be within the file, and none twice.
Task<Result<CheckResult>> Image::check(Repair repair) {
  if (repair != Repair::kNone) co_return fail(ErrorKind::kUnsupported, "QED images can be checked, but not repaired");
  const auto guard = co_await tables_lock_.lock();
  CheckResult result;
  const std::uint64_t cluster = header_.cluster_size;
  result.total_clusters = blocks();
  const std::uint64_t most = file().size() / cluster + 1;
  std::vector<std::uint64_t> places;  // of every cluster in use
  const auto add_table = [&](std::uint64_t offset) {
    for (std::uint32_t i = 0; i < header_.table_clusters; ++i) places.push_back(offset + i * cluster);
  };
  add_table(header_.l1_offset);
  for (std::uint64_t first = 0; first < blocks(); first += header_.table_entries()) {
    const std::uint64_t index = first / header_.table_entries();
    DOPPEL_CO_ASSIGN(const auto l2, co_await load_le_at<std::uint64_t>(tables(), header_.l1_offset + index * 8));
    if (l2 == kUnallocated) continue;
    if (!is_place(l2, header_.table_bytes())) {
      result.corruption(fmt::format("ERROR: L2 table {} is said to be at {:#x}, where none can be", index, l2));
      continue;
    }
    add_table(l2);
    DOPPEL_CO_TRY(co_await check_table(l2, first, result, places));
    if (places.size() > 2 * most + header_.table_entries()) {
      result.corruption("ERROR: tables name more clusters than the file has");
      co_return result;
    }
  }
  std::ranges::sort(places);
  for (std::size_t i = 1; i < places.size(); ++i)
    if (places[i] == places[i - 1] && (i < 2 || places[i - 2] != places[i]))
      result.corruption(fmt::format("ERROR: the cluster at {:#x} is in use more than once", places[i]));
  const auto used = static_cast<std::uint64_t>(std::ranges::unique(places).begin() - places.begin());
  const std::uint64_t in_file =
      (file().size() - std::min(file().size(), header_.header_bytes()) + cluster - 1) / cluster;
  result.leaks = in_file - std::min(in_file, used);
  co_return result;
}

Result<> check_options(const CreateOptions& options) {
  const auto wrong = [](std::string text) {
    return std::unexpected(Error(ErrorKind::kInvalidArgument, std::move(text)));
  };
  if (!std::has_single_bit(options.cluster_size) || options.cluster_size < kMinClusterSize ||
      options.cluster_size > kMaxClusterSize)
    return wrong("cluster_size must be a power of two between 4k and 64M");
  if (!std::has_single_bit(options.table_size) || options.table_size > kMaxTableClusters)
    return wrong("table_size must be a power of two and at most 16");
  if (options.backing_file.size() > kMaxBackingName) return wrong("the backing file's name has more than 1023 bytes");
  const Header header{.cluster_size = static_cast<std::uint32_t>(options.cluster_size),
                      .table_clusters = static_cast<std::uint32_t>(options.table_size)};
  if (options.size > max_size(header))
    return wrong(fmt::format("{} are too large for clusters of {} bytes and tables of {}", format_size(options.size),
                             options.cluster_size, options.table_size));
  return {};
}

Task<Result<>> create(Node& file, const CreateOptions& options) {
  DOPPEL_CO_TRY(check_options(options));
  Header header{.cluster_size = static_cast<std::uint32_t>(options.cluster_size),
                .table_clusters = static_cast<std::uint32_t>(options.table_size),
                .l1_offset = options.cluster_size,
                .size = options.size,
                .backing_file = options.backing_file};
  if (!options.backing_file.empty()) header.features |= Header::kBackingFile;
  if (options.backing_is_raw) header.features |= Header::kBackingIsRaw;
  DOPPEL_CO_TRY(co_await file.resize(0, Preallocation::kOff));
  DOPPEL_CO_TRY(co_await file.resize(header.header_bytes() + header.table_bytes(), Preallocation::kOff));
  DOPPEL_CO_TRY(co_await write_header(file, header));
  co_return co_await file.flush();
}

}  // namespace doppel::block::qed
