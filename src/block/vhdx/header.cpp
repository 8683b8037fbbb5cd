#include "block/vhdx/header.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <optional>

#include "block/vhdx/crc32c.h"

namespace doppel::block::vhdx {
namespace {

std::unexpected<Error> bad(std::string message) {
  return std::unexpected(Error(ErrorKind::kCorrupt, std::move(message)));
}

template <class T>
T load(std::span<const std::byte> from) {
  T structure;
  std::memcpy(&structure, from.data(), sizeof structure);
  return structure;
}

/// Nothing, if it is not whole.
Task<Result<std::optional<RawHeader>>> read_one_header(Node& file, std::uint64_t offset) {
  RawHeader raw;
  const std::span<std::byte> bytes = std::as_writable_bytes(std::span(&raw, 1));
  DOPPEL_CO_TRY(co_await file.read(offset, bytes));
  std::optional<RawHeader> header;
  if (raw.signature == RawHeader::kSignature && raw.checksum == checksum(bytes)) header = raw;
  co_return header;
}

struct Regions {
  std::optional<Region> bat;
  std::optional<Region> metadata;
};

Result<Regions> parse_regions(std::span<const std::byte> table, std::uint64_t file_size) {
  const auto head = load<RawRegionTable>(table);
  if (head.entries > kMaxTableEntries)
    return bad(fmt::format("{} regions are more than an image can have", std::uint32_t{head.entries}));
  Regions regions;
  for (std::size_t i = 0; i < head.entries; ++i) {
    const auto raw = load<RawRegion>(table.subspan(sizeof head + i * sizeof(RawRegion)));
    const Region region{raw.offset, raw.length};
    const bool bat = raw.id == kBatRegion;
    if (!bat && raw.id != kMetadataRegion) {
      if ((raw.flags & 1U) != 0) return fail(ErrorKind::kUnsupported, "it needs a kind of region that is not known");
      continue;
    }
    DOPPEL_TRY(check_region(bat ? "block table" : "metadata region", region, file_size));
    auto& slot = bat ? regions.bat : regions.metadata;
    if (slot) return bad("it has two regions of one kind");
    slot = region;
  }
  if (!regions.bat || !regions.metadata) return bad("it has no block table or no metadata");
  if (regions.bat->offset < regions.metadata->offset + regions.metadata->length &&
      regions.metadata->offset < regions.bat->offset + regions.bat->length)
    return bad("block table and metadata overlap");
  return regions;
}

Task<Result<Regions>> read_regions(Node& file) {
  std::vector<std::byte> table(kTableSize);
  const std::span<std::byte> bytes(table);
  for (const std::uint64_t offset : kRegionTableOffsets) {
    DOPPEL_CO_TRY(co_await file.read(offset, bytes));
    const auto head = load<RawRegionTable>(bytes);
    if (head.signature == RawRegionTable::kSignature && head.checksum == checksum(bytes))
      co_return parse_regions(bytes, file.size());
  }
  co_return bad("both region tables are damaged");
}

struct Item {
  Guid id;
  std::size_t size;
  std::string_view what;
  std::array<std::byte, 8> bytes{};
  bool found = false;
};

/// The items that are asked for; each must be there.
Task<Result<>> read_items(Node& file, const Region& region, std::span<Item> items) {
  std::vector<std::byte> table(kTableSize);
  const std::span<std::byte> bytes(table);
  DOPPEL_CO_TRY(co_await file.read(region.offset, bytes));
  const auto head = load<RawMetadataTable>(bytes);
  if (std::string_view(head.signature, sizeof head.signature) != RawMetadataTable::kSignature)
    co_return bad("the metadata region has no table");
  if (head.entries > kMaxTableEntries)
    co_return bad(fmt::format("{} metadata items are more than an image can have", std::uint16_t{head.entries}));
  for (std::size_t i = 0; i < head.entries; ++i) {
    const auto entry = load<RawMetadataEntry>(bytes.subspan(sizeof head + i * sizeof(RawMetadataEntry)));
    const auto item = std::ranges::find(items, entry.id, &Item::id);
    if (item == items.end()) {
      const bool known = entry.id == kVirtualDiskId || entry.id == kParentLocator;
      if (!known && (entry.flags & RawMetadataEntry::kRequired) != 0)
        co_return fail(ErrorKind::kUnsupported, "it needs a metadata item that is not known");
      continue;
    }
    if (item->found) co_return bad(fmt::format("it has the {} twice", item->what));
    if (entry.length != item->size || entry.offset < kTableSize || entry.offset > region.length - item->size)
      co_return bad(fmt::format("the {} is not where it can be", item->what));
    const std::span<std::byte> value = std::span(item->bytes).first(item->size);
    DOPPEL_CO_TRY(co_await file.read(region.offset + entry.offset, value));
    item->found = true;
  }
  for (const Item& item : items)
    if (!item.found) co_return bad(fmt::format("the {} is missing", item.what));
  co_return Result<>{};
}

Result<> check_metadata(const Metadata& metadata, std::uint32_t physical) {
  const auto is_sector = [](std::uint64_t size) { return size == 512 || size == 4096; };
  if (!is_sector(metadata.sector_size) || !is_sector(physical))
    return bad(fmt::format("sectors of {} and {} bytes are not possible, only of 512 and 4096", metadata.sector_size,
                           physical));
  if (!std::has_single_bit(metadata.block_size) || metadata.block_size < kMinBlockSize ||
      metadata.block_size > kMaxBlockSize)
    return bad(fmt::format("blocks of {} bytes are not possible", metadata.block_size));
  if (metadata.disk_size > kMaxDiskSize || metadata.disk_size % metadata.sector_size != 0)
    return bad(fmt::format("a disk of {} bytes is not possible", metadata.disk_size));
  const std::uint64_t entries = metadata.disk_size == 0 ? 0 : metadata.bat_index(metadata.blocks() - 1) + 1;
  if (entries * 8 > metadata.bat.length)
    return bad(fmt::format("a block table of {} bytes is too small for a disk of {}", metadata.bat.length,
                           metadata.disk_size));
  return {};
}

}  // namespace

std::uint32_t checksum(std::span<const std::byte> structure) {
  constexpr std::array<std::byte, 4> kNothing{};
  const std::uint32_t first = crc32c(structure.first(4));
  return crc32c(structure.subspan(8), crc32c(kNothing, first));
}

Result<> check_region(std::string_view what, const Region& region, std::uint64_t file_size) {
  if (!is_aligned(region.offset, kMiB) || region.offset < kMiB || !is_aligned(region.length, kMiB) ||
      region.length == 0 || region.offset > file_size || region.length > file_size - region.offset)
    return bad(
        fmt::format("the {} of {} bytes at offset {:#x} is not where it can be", what, region.length, region.offset));
  return {};
}

Task<Result<Header>> read_header(Node& file) {
  std::array<char, 8> mark;
  const std::span<std::byte> bytes = std::as_writable_bytes(std::span(mark));
  DOPPEL_CO_TRY(co_await file.read(0, bytes));
  if (std::string_view(mark.data(), mark.size()) != kFileMark) co_return bad("it does not begin with VHDX's mark");
  std::optional<Header> newest;
  for (std::size_t i = 0; i < kHeaderOffsets.size(); ++i) {
    DOPPEL_CO_ASSIGN(const auto raw, co_await read_one_header(file, kHeaderOffsets[i]));
    if (raw && (!newest || raw->sequence > newest->raw.sequence)) newest = Header{i, *raw};
  }
  if (!newest) co_return bad("both headers are damaged");
  if (newest->raw.version != 1)
    co_return fail(ErrorKind::kUnsupported, "VHDX version {} is not known, only 1", std::uint16_t{newest->raw.version});
  co_return *newest;
}

Task<Result<>> write_next_header(Node& file, Header& header) {
  header.raw.sequence = header.raw.sequence + 1;
  header.raw.checksum = 0;
  header.raw.checksum = checksum(std::as_bytes(std::span(&header.raw, 1)));
  header.index = 1 - header.index;
  const std::span<const std::byte> bytes = std::as_bytes(std::span(&header.raw, 1));
  DOPPEL_CO_TRY(co_await file.write(kHeaderOffsets[header.index], bytes));
  co_return co_await file.flush();
}

Task<Result<Metadata>> read_metadata(Node& file) {
  DOPPEL_CO_ASSIGN(const Regions regions, co_await read_regions(file));
  std::array<Item, 4> items{Item{kFileParameters, 8, "block size"}, Item{kVirtualDiskSize, 8, "disk size"},
                            Item{kLogicalSectorSize, 4, "logical sector size"},
                            Item{kPhysicalSectorSize, 4, "physical sector size"}};
  DOPPEL_CO_TRY(co_await read_items(file, *regions.metadata, items));
  const auto parameters = load<RawFileParameters>(items[0].bytes);
  if ((parameters.flags & RawFileParameters::kHasParent) != 0)
    co_return fail(ErrorKind::kUnsupported,
                   "it is a differencing VHDX image, which is not supported; merge it into its parent first");
  Metadata metadata{.block_size = parameters.block_size,
                    .disk_size = load_le<std::uint64_t>(items[1].bytes.data()),
                    .sector_size = load_le<std::uint32_t>(items[2].bytes.data()),
                    .bat = *regions.bat};
  DOPPEL_CO_TRY(check_metadata(metadata, load_le<std::uint32_t>(items[3].bytes.data())));
  co_return metadata;
}

}  // namespace doppel::block::vhdx
