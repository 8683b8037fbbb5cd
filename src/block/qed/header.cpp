#include "block/qed/header.h"

#include <bit>
#include <cstring>
#include <span>

#include "base/endian.h"

namespace doppel::block::qed {
namespace {

constexpr std::uint32_t kMagic = 0x00444551;  // "QED\0"
constexpr std::uint64_t kKnownFeatures = Header::kBackingFile | Header::kNeedCheck | Header::kBackingIsRaw;

/// As it lies in the file; QEMU's docs/interop/qed_spec.txt.
struct RawHeader {
  Le32 magic;
  Le32 cluster_size;
  Le32 table_clusters;
  Le32 header_clusters;
  Le64 features;
  Le64 compatible;
  Le64 autoclear;
  Le64 l1_offset;
  Le64 size;
  Le32 backing_offset;
  Le32 backing_size;
};
static_assert(sizeof(RawHeader) == 64);

std::unexpected<Error> bad(std::string message) {
  return std::unexpected(Error(ErrorKind::kCorrupt, std::move(message)));
}

Result<Header> parse(const RawHeader& raw, std::uint64_t file_size) {
  if (raw.magic != kMagic) return bad("it does not begin with QED's mark");
  Header header{.cluster_size = raw.cluster_size,
                .table_clusters = raw.table_clusters,
                .header_clusters = raw.header_clusters,
                .features = raw.features,
                .compatible = raw.compatible,
                .autoclear = raw.autoclear,
                .l1_offset = raw.l1_offset,
                .size = raw.size};
  if ((header.features & ~kKnownFeatures) != 0)
    return fail(ErrorKind::kUnsupported, "the image needs features that Doppel does not have: {:#x}",
                header.features & ~kKnownFeatures);
  if (!std::has_single_bit(header.cluster_size) || header.cluster_size < kMinClusterSize ||
      header.cluster_size > kMaxClusterSize)
    return bad(fmt::format("clusters of {} bytes are not possible", header.cluster_size));
  if (!std::has_single_bit(header.table_clusters) || header.table_clusters > kMaxTableClusters)
    return bad(fmt::format("tables of {} clusters are not possible", header.table_clusters));
  if (header.header_clusters == 0 || header.header_bytes() > file_size + header.cluster_size)
    return bad(fmt::format("a header of {} clusters is not possible", header.header_clusters));
  if (header.size > max_size(header)) return bad(fmt::format("the disk size {} is too large", header.size));
  if (!is_aligned(header.size, 512)) return bad(fmt::format("the disk size {} is not whole sectors", header.size));
  if (!is_aligned(header.l1_offset, header.cluster_size) || header.l1_offset < header.header_bytes() ||
      header.l1_offset > file_size || header.table_bytes() > file_size - header.l1_offset)
    return bad(
        fmt::format("the L1 table at offset {:#x} is not within the file of {} bytes", header.l1_offset, file_size));
  return header;
}

Result<> check_backing_name(const Header& header, std::uint64_t offset, std::uint64_t size) {
  if (size > kMaxBackingName) return bad(fmt::format("the backing file's name has {} bytes, more than 1023", size));
  if (offset + size > header.header_bytes()) return bad("the backing file's name is not within the header");
  return {};
}

}  // namespace

std::uint64_t max_size(const Header& header) {
  const auto bits =
      static_cast<unsigned>(std::countr_zero(header.table_entries()) * 2 + std::countr_zero(header.cluster_size));
  return std::uint64_t{1} << std::min(bits, 62U);
}

Task<Result<Header>> read_header(Node& file) {
  RawHeader raw;
  const std::span<std::byte> bytes = std::as_writable_bytes(std::span(&raw, 1));
  DOPPEL_CO_TRY(co_await file.read(0, bytes));
  DOPPEL_CO_ASSIGN(Header header, parse(raw, file.size()));
  if ((header.features & Header::kBackingFile) == 0) co_return header;
  DOPPEL_CO_TRY(check_backing_name(header, raw.backing_offset, raw.backing_size));
  header.backing_file.resize(raw.backing_size);
  const std::span<std::byte> name = std::as_writable_bytes(std::span(header.backing_file));
  DOPPEL_CO_TRY(co_await file.read(raw.backing_offset, name));
  header.backing_file.resize(std::min(header.backing_file.size(), header.backing_file.find('\0')));
  co_return header;
}

/// The backing file's name goes right behind the fixed fields.
Task<Result<>> write_header(Node& file, const Header& header) {
  RawHeader raw{};
  raw.magic = kMagic;
  raw.cluster_size = header.cluster_size;
  raw.table_clusters = header.table_clusters;
  raw.header_clusters = header.header_clusters;
  raw.features = header.features;
  raw.compatible = header.compatible;
  raw.autoclear = header.autoclear;
  raw.l1_offset = header.l1_offset;
  raw.size = header.size;
  raw.backing_offset = header.backing_file.empty() ? 0 : sizeof(RawHeader);
  raw.backing_size = static_cast<std::uint32_t>(header.backing_file.size());
  std::vector<std::byte> bytes(sizeof raw + header.backing_file.size());
  std::memcpy(bytes.data(), &raw, sizeof raw);
  std::memcpy(bytes.data() + sizeof raw, header.backing_file.data(), header.backing_file.size());
  const std::span<const std::byte> all(bytes);
  co_return co_await file.write(0, all);
}

}  // namespace doppel::block::qed
