#include "block/vpc/footer.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <span>
#include <string_view>

#include "base/bits.h"

namespace doppel::block::vpc {
namespace {

using namespace std::string_view_literals;

constexpr std::string_view kFooterCookie = "conectix";
constexpr std::string_view kDynamicCookie = "cxsparse";
constexpr std::uint32_t kMinBlockSize = 512;
constexpr std::uint64_t kNoOffset = ~std::uint64_t{0};
/// Creators whose images have the size that their footer says: QEMU with force_size, Hyper-V, Disk2vhd, XenServer,
/// XenConverter, Azure. The others go by geometry.
constexpr std::string_view kSizeFieldCreators[] = {"qem2"sv, "win "sv, "d2v "sv, "tap\0"sv, "CTXS"sv, "wa\0\0"sv};

std::unexpected<Error> bad(std::string message) {
  return std::unexpected(Error(ErrorKind::kCorrupt, std::move(message)));
}

template <class T>
std::uint32_t sum_of(T structure) {
  structure.checksum = 0;
  std::uint32_t sum = 0;
  for (const std::byte b : std::as_bytes(std::span(&structure, 1))) sum += std::to_integer<std::uint32_t>(b);
  return ~sum;
}

template <class T>
Task<Result<T>> read_structure(Node& file, std::uint64_t offset) {
  T structure;
  const std::span<std::byte> bytes = std::as_writable_bytes(std::span(&structure, 1));
  DOPPEL_CO_TRY(co_await file.read(offset, bytes));
  co_return structure;
}

bool has_cookie(const RawFooter& footer) {
  return std::string_view(footer.cookie, sizeof footer.cookie) == kFooterCookie;
}

/// The one at the beginning, or else the one at the end.
Task<Result<RawFooter>> read_footer(Node& file) {
  DOPPEL_CO_ASSIGN(const RawFooter first, co_await read_structure<RawFooter>(file, 0));
  if (has_cookie(first) && checksum(first) == first.checksum) co_return first;
  const std::uint64_t size = file.size();
  if (size < sizeof(RawFooter)) co_return bad("it is too short for a VHD image");
  DOPPEL_CO_ASSIGN(const RawFooter last, co_await read_structure<RawFooter>(file, size - sizeof(RawFooter)));
  if (has_cookie(last) && checksum(last) == last.checksum) co_return last;
  if (has_cookie(first) || has_cookie(last)) co_return bad("the footer's checksum is wrong");
  co_return bad("it has no VHD footer");
}

std::uint64_t disk_sectors(const RawFooter& footer) {
  const Geometry geometry{footer.cylinders, footer.heads, footer.sectors};
  const std::string_view creator(footer.creator, sizeof footer.creator);
  const bool by_field = std::ranges::find(kSizeFieldCreators, creator) != std::end(kSizeFieldCreators);
  if (by_field || geometry.total() == kLargestGeometry.total()) return footer.current_size / 512;
  return geometry.total();
}

Task<Result<>> read_dynamic(Node& file, Header& header) {
  const std::uint64_t offset = header.footer.data_offset;
  if (offset > file.size() || file.size() - offset < sizeof(RawDynamicHeader))
    co_return bad(fmt::format("the dynamic header at offset {:#x} is not within the file", offset));
  DOPPEL_CO_ASSIGN(const RawDynamicHeader raw, co_await read_structure<RawDynamicHeader>(file, offset));
  if (std::string_view(raw.cookie, sizeof raw.cookie) != kDynamicCookie) co_return bad("it has no dynamic header");
  if (checksum(raw) != raw.checksum) co_return bad("the dynamic header's checksum is wrong");
  header.table_offset = raw.table_offset;
  header.entries = raw.max_entries;
  header.block_size = raw.block_size;
  if (!std::has_single_bit(header.block_size) || header.block_size < kMinBlockSize)
    co_return bad(fmt::format("blocks of {} bytes are not possible", header.block_size));
  const std::uint64_t table_bytes = std::uint64_t{header.entries} * 4;
  if (!is_aligned(header.table_offset, 4) || header.table_offset > file.size() ||
      table_bytes > file.size() - header.table_offset)
    co_return bad(fmt::format("the block table of {} entries at offset {:#x} is not within the file", header.entries,
                              header.table_offset));
  if (std::uint64_t{header.entries} * header.block_size < header.disk_size)
    co_return bad(fmt::format("a block table of {} entries is too small for a disk of {} bytes", header.entries,
                              header.disk_size));
  co_return Result<>{};
}

}  // namespace

std::uint32_t checksum(const RawFooter& footer) {
  return sum_of(footer);
}

std::uint32_t checksum(const RawDynamicHeader& header) {
  return sum_of(header);
}

Task<Result<Header>> read_header(Node& file) {
  Header header;
  DOPPEL_CO_ASSIGN(header.footer, co_await read_footer(file));
  const std::uint32_t type = header.footer.type;
  if (type == static_cast<std::uint32_t>(DiskType::kDifferencing))
    co_return fail(ErrorKind::kUnsupported,
                   "it is a differencing VHD image, which is not supported; merge it into its parent first");
  if (type != static_cast<std::uint32_t>(DiskType::kFixed) && type != static_cast<std::uint32_t>(DiskType::kDynamic))
    co_return fail(ErrorKind::kUnsupported, "VHD images of type {} are not known", type);
  header.type = static_cast<DiskType>(type);
  const std::uint64_t sectors = disk_sectors(header.footer);
  if (sectors > std::uint64_t{1} << 53) co_return bad(fmt::format("a disk of {} sectors is too large", sectors));
  header.disk_size = sectors * 512;
  if (header.type == DiskType::kDynamic) {
    DOPPEL_CO_TRY(co_await read_dynamic(file, header));
    co_return header;
  }
  if (header.footer.data_offset != kNoOffset) co_return bad("a fixed image has no dynamic header, but names one");
  const std::uint64_t data = file.size() - sizeof(RawFooter);
  if (header.disk_size > data)
    co_return bad(fmt::format("the file has {} bytes of data, fewer than the disk's {}", data, header.disk_size));
  co_return header;
}

Geometry geometry_below(std::uint64_t sectors) {
  sectors = std::min(sectors, kLargestGeometry.total());
  std::uint64_t per_track = 255;
  std::uint64_t heads = 16;
  std::uint64_t tracks = sectors / per_track;
  if (sectors < std::uint64_t{65535} * 16 * 63) {
    per_track = 17;
    tracks = sectors / per_track;
    heads = std::max<std::uint64_t>((tracks + 1023) / 1024, 4);
    if (tracks >= heads * 1024 || heads > 16) {
      per_track = 31;
      heads = 16;
      tracks = sectors / per_track;
    }
    if (tracks >= heads * 1024) {
      per_track = 63;
      heads = 16;
      tracks = sectors / per_track;
    }
  }
  return {static_cast<std::uint16_t>(tracks / heads), static_cast<std::uint8_t>(heads),
          static_cast<std::uint8_t>(per_track)};
}

}  // namespace doppel::block::vpc
