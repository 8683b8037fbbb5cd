#include "block/qcow2/bitmap_directory.h"

#include <set>
#include <span>
#include <string_view>

#include "base/endian.h"
#include "block/qcow2/entry.h"
#include "block/qcow2/table_cache.h"

namespace doppel::block::qcow2 {
namespace {

constexpr std::uint8_t kDirtyTracking = 1;  // the only type of bitmap there is
constexpr std::uint32_t kKnownFlags = BitmapEntry::kInUse | BitmapEntry::kAuto | BitmapEntry::kExtraCompatible;

/// The fixed part of an entry; extra data and name follow.
struct RawEntry {
  Be64 table_offset;
  Be32 table_entries;
  Be32 flags;
  std::uint8_t type;
  std::uint8_t granularity_bits;
  Be16 name_size;
  Be32 extra_size;
};
static_assert(sizeof(RawEntry) == 24);

std::unexpected<Error> bad(std::string message) {
  return std::unexpected(Error(ErrorKind::kCorrupt, std::move(message)));
}

/// Names are for messages: what a terminal would not show goes.
std::string printable(std::string_view name) {
  std::string text(name.substr(0, 60));
  for (char& c : text)
    if (c < ' ' || c > '~') c = '?';
  return text;
}

Result<> check_place(const Header::BitmapsPlace& place, const Layout& layout, std::uint64_t file_size) {
  if (place.count == 0 || place.count > kMaxBitmaps)
    return bad(fmt::format("the image claims {} bitmaps, but 1 to {} are possible", place.count, kMaxBitmaps));
  if (place.reserved != 0) return bad("the bitmaps' header extension has a reserved field that is not zero");
  const std::uint64_t offset = place.directory_offset;
  if (place.directory_bytes > kMaxBitmapDirectoryBytes || place.directory_bytes < place.count * sizeof(RawEntry))
    return bad(fmt::format("a bitmap directory of {} bytes for {} bitmaps is not possible", place.directory_bytes,
                           place.count));
  if (offset == 0 || layout.in_cluster(offset) != 0)
    return bad(fmt::format("the bitmap directory at offset {:#x} is not aligned", offset));
  if (offset > file_size || place.directory_bytes > align_up(file_size, layout.cluster_size()) - offset)
    return bad(fmt::format("the bitmap directory at offset {:#x} goes beyond the end of the file", offset));
  return {};
}

Result<> check_entry(const BitmapEntry& entry, std::uint8_t type, const Header& header) {
  const Layout layout = header.layout();
  const auto wrong = [&](std::string_view what) {
    return bad(fmt::format("bitmap '{}' has {}", printable(entry.name), what));
  };
  if (type != kDirtyTracking) return wrong(fmt::format("the unknown type {}", type));
  if ((entry.flags & ~kKnownFlags) != 0) return wrong(fmt::format("the unknown flags {:#x}", entry.flags));
  if (entry.granularity_bits < kMinGranularityBits || entry.granularity_bits > kMaxGranularityBits)
    return wrong(fmt::format("a granularity of 2^{} bytes, but 2^{} to 2^{} are possible", entry.granularity_bits,
                             kMinGranularityBits, kMaxGranularityBits));
  if (entry.table_entries == 0 || std::uint64_t{entry.table_entries} << layout.cluster_bits > kMaxBitmapBytes)
    return wrong(fmt::format("a table of {} entries, which is not possible", entry.table_entries));
  if (entry.table_offset == 0 || layout.in_cluster(entry.table_offset) != 0 ||
      entry.table_offset > kMaxHostOffset - std::uint64_t{entry.table_entries} * 8)
    return wrong(fmt::format("a table at the impossible offset {:#x}", entry.table_offset));
  if (!entry.extra.empty() && !entry.has(BitmapEntry::kExtraCompatible))
    return wrong("extra data that Doppel does not know and must not ignore");
  // Of one that nobody stored the disk may have had another size since.
  if (!entry.has(BitmapEntry::kInUse) &&
      entry.table_entries != bitmap_clusters(layout, header.size, entry.granularity_bits))
    return wrong(
        fmt::format("a table of {} entries, which is not for a disk of {} bytes", entry.table_entries, header.size));
  return {};
}

}  // namespace

std::uint64_t directory_entry_bytes(const BitmapEntry& entry) {
  return align_up(sizeof(RawEntry) + entry.extra.size() + entry.name.size(), 8);
}

std::uint64_t bitmap_bits(std::uint64_t size, unsigned granularity_bits) {
  return (size >> granularity_bits) + ((size & low_mask(granularity_bits)) != 0 ? 1 : 0);
}

/// Also an empty disk's bitmap has a table.
std::uint64_t bitmap_clusters(const Layout& layout, std::uint64_t size, unsigned granularity_bits) {
  const std::uint64_t bytes = (bitmap_bits(size, granularity_bits) + 7) / 8;
  return std::max<std::uint64_t>(layout.clusters(bytes), 1);
}

Task<Result<std::vector<BitmapEntry>>> read_bitmap_directory(Node& file, const Header& header) {
  std::vector<BitmapEntry> entries;
  if (!header.bitmaps) co_return entries;
  const Layout layout = header.layout();
  DOPPEL_CO_TRY(check_place(*header.bitmaps, layout, file.size()));
  std::vector<std::byte> bytes(header.bitmaps->directory_bytes);
  DOPPEL_CO_TRY(co_await file.read(header.bitmaps->directory_offset, std::span<std::byte>(bytes)));
  std::span<const std::byte> rest(bytes);
  std::set<std::string, std::less<>> names;
  for (std::uint32_t i = 0; i < header.bitmaps->count; ++i) {
    RawEntry raw{};
    if (rest.size() < sizeof raw) co_return bad(fmt::format("the bitmap directory ends in its entry {}", i));
    std::memcpy(&raw, rest.data(), sizeof raw);
    const std::uint64_t extra_size = raw.extra_size;
    const std::uint64_t name_size = raw.name_size;
    if (name_size == 0 || name_size > kMaxBitmapNameBytes)
      co_return bad(
          fmt::format("bitmap {} has a name of {} bytes, but 1 to {} are possible", i, name_size, kMaxBitmapNameBytes));
    const std::uint64_t length = align_up(sizeof raw + extra_size + name_size, 8);
    if (length > rest.size()) co_return bad(fmt::format("the bitmap directory ends in its entry {}", i));
    BitmapEntry entry;
    entry.name.assign(reinterpret_cast<const char*>(rest.data()) + sizeof raw + extra_size, name_size);
    entry.table_offset = raw.table_offset;
    entry.table_entries = raw.table_entries;
    entry.flags = raw.flags;
    entry.granularity_bits = raw.granularity_bits;
    const auto extra = rest.subspan(sizeof raw, extra_size);
    entry.extra.assign(extra.begin(), extra.end());
    DOPPEL_CO_TRY(check_entry(entry, raw.type, header));
    if (!names.insert(entry.name).second)
      co_return bad(fmt::format("there are two bitmaps with the name '{}'", printable(entry.name)));
    entries.push_back(std::move(entry));
    rest = rest.subspan(length);
  }
  if (!rest.empty()) co_return bad(fmt::format("{} bytes follow the bitmap directory's last entry", rest.size()));
  co_return entries;
}

std::vector<std::byte> encode_bitmap_directory(const std::vector<BitmapEntry>& entries) {
  std::vector<std::byte> bytes;
  for (const BitmapEntry& entry : entries) {
    RawEntry raw{};
    raw.table_offset = entry.table_offset;
    raw.table_entries = entry.table_entries;
    raw.flags = entry.flags;
    raw.type = kDirtyTracking;
    raw.granularity_bits = static_cast<std::uint8_t>(entry.granularity_bits);
    raw.name_size = static_cast<std::uint16_t>(entry.name.size());
    raw.extra_size = static_cast<std::uint32_t>(entry.extra.size());
    const auto fixed = std::as_bytes(std::span<const RawEntry>(&raw, 1));
    const auto name = std::as_bytes(std::span(entry.name));
    bytes.insert(bytes.end(), fixed.begin(), fixed.end());
    bytes.insert(bytes.end(), entry.extra.begin(), entry.extra.end());
    bytes.insert(bytes.end(), name.begin(), name.end());
    bytes.resize(align_up(bytes.size(), 8));
  }
  return bytes;
}

Task<Result<std::vector<std::uint64_t>>> read_bitmap_table(Node& file, const Layout& layout, const BitmapEntry& entry) {
  const std::uint64_t bytes = std::uint64_t{entry.table_entries} * 8;
  const std::uint64_t file_end = align_up(file.size(), layout.cluster_size());
  if (entry.table_offset > file_end || bytes > file_end - entry.table_offset)
    co_return bad(fmt::format("the table of bitmap '{}' at offset {:#x} goes beyond the end of the file",
                              printable(entry.name), entry.table_offset));
  DOPPEL_CO_ASSIGN(auto table, co_await read_numbers(file, entry.table_offset, entry.table_entries));
  for (const std::uint64_t word : table) {
    const bool possible =
        word == kAllOnes || ((word & ~kOffsetMask) == 0 && layout.in_cluster(word) == 0 && word < file_end);
    if (!possible)
      co_return bad(
          fmt::format("the table of bitmap '{}' has the impossible entry {:#x}", printable(entry.name), word));
  }
  co_return table;
}

}  // namespace doppel::block::qcow2
