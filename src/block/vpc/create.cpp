// Creating VHD images. Dynamic: footer, dynamic header, block table, footer. Fixed: the disk, footer.
#include <cstring>
#include <ctime>

#include "base/bits.h"
#include "base/text.h"
#include "block/vpc/image.h"

namespace doppel::block::vpc {
namespace {

constexpr std::uint32_t kBlockSize = 2 << 20;
constexpr std::uint32_t kFeatures = 2;  // a bit that is always set
constexpr std::uint32_t kVersion = 0x00010000;
constexpr std::uint32_t kCreatorVersion = 0x00050003;
constexpr std::time_t kYear2000 = 946684800;

/// The smallest geometry that has SECTORS; the largest there is, where none has.
Geometry geometry_above(std::uint64_t sectors) {
  Geometry geometry;
  for (std::uint64_t more = 0; geometry.total() < sectors; ++more) {
    geometry = geometry_below(sectors + more);
    if (geometry.total() == kLargestGeometry.total()) break;
  }
  return geometry;
}

RawFooter make_footer(const CreateOptions& options) {
  const std::uint64_t size = rounded_size(options);
  const Geometry geometry = options.force_size ? kLargestGeometry : geometry_above(options.size / 512);
  RawFooter footer{};
  std::memcpy(footer.cookie, "conectix", 8);
  footer.features = kFeatures;
  footer.version = kVersion;
  footer.data_offset = options.fixed ? ~std::uint64_t{0} : sizeof(RawFooter);
  footer.timestamp = static_cast<std::uint32_t>(std::time(nullptr) - kYear2000);
  // The names that tell every program, QEMU among them, whether to go by size or by geometry.
  std::memcpy(footer.creator, options.force_size ? "qem2" : "qemu", 4);
  footer.creator_version = kCreatorVersion;
  std::memcpy(footer.creator_host, "Wi2k", 4);
  footer.original_size = size;
  footer.current_size = size;
  footer.cylinders = geometry.cylinders;
  footer.heads = geometry.heads;
  footer.sectors = geometry.sectors;
  footer.type = static_cast<std::uint32_t>(options.fixed ? DiskType::kFixed : DiskType::kDynamic);
  footer.uuid = random_uuid();
  footer.checksum = checksum(footer);
  return footer;
}

Task<Result<>> write_dynamic(Node& file, const RawFooter& footer) {
  RawDynamicHeader header{};
  std::memcpy(header.cookie, "cxsparse", 8);
  header.data_offset = ~std::uint64_t{0};
  header.table_offset = sizeof(RawFooter) + sizeof(RawDynamicHeader);
  header.version = kVersion;
  header.max_entries = static_cast<std::uint32_t>((footer.current_size + kBlockSize - 1) / kBlockSize);
  header.block_size = kBlockSize;
  header.checksum = checksum(header);
  const std::span<const std::byte> footer_bytes = std::as_bytes(std::span(&footer, 1));
  const std::span<const std::byte> header_bytes = std::as_bytes(std::span(&header, 1));
  const std::vector<std::byte> table(align_up(header.max_entries * 4, 512), std::byte{0xff});
  const std::span<const std::byte> table_bytes(table);
  DOPPEL_CO_TRY(co_await file.write(0, footer_bytes));
  DOPPEL_CO_TRY(co_await file.write(sizeof(RawFooter), header_bytes));
  DOPPEL_CO_TRY(co_await file.write(header.table_offset, table_bytes));
  co_return co_await file.write(header.table_offset + table.size(), footer_bytes);
}

}  // namespace

std::uint64_t rounded_size(const CreateOptions& options) {
  const std::uint64_t sectors = options.size / 512;
  if (options.force_size) return sectors * 512;
  const Geometry geometry = geometry_above(sectors);
  return (geometry.total() == kLargestGeometry.total() ? sectors : geometry.total()) * 512;
}

Result<> check_options(const CreateOptions& options) {
  if (options.size > kMaxSectors * 512)
    return fail(ErrorKind::kInvalidArgument, "{} are more than the 2040 GiB that a VHD image can have",
                format_size(options.size));
  return {};
}

Task<Result<>> create(Node& file, const CreateOptions& options) {
  DOPPEL_CO_TRY(check_options(options));
  const RawFooter footer = make_footer(options);
  DOPPEL_CO_TRY(co_await file.resize(0, Preallocation::kOff));
  if (options.fixed) {
    const std::span<const std::byte> bytes = std::as_bytes(std::span(&footer, 1));
    DOPPEL_CO_TRY(co_await file.write(footer.current_size, bytes));
  } else {
    DOPPEL_CO_TRY(co_await write_dynamic(file, footer));
  }
  co_return co_await file.flush();
}

}  // namespace doppel::block::vpc
