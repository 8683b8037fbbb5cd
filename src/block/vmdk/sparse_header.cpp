#include "block/vmdk/sparse_header.h"

#include <bit>
#include <cstring>
#include <span>

#include "base/bits.h"

namespace doppel::block::vmdk {
namespace {

constexpr std::uint64_t kMaxSectors = std::uint64_t{1} << 53;
constexpr std::uint64_t kMaxGrain = 0x200000;             // sectors; QEMU's limit
constexpr std::uint64_t kMaxCompressedGrain = kMiB;       // bytes; they are unpacked in memory
constexpr std::uint64_t kMaxDirectoryBytes = 512 * kMiB;  // QEMU's limit
constexpr std::uint32_t kDeflate = 1;

std::unexpected<Error> bad(std::string message) {
  return std::unexpected(Error(ErrorKind::kCorrupt, std::move(message)));
}

Result<> check_fixed(const RawSparseHeader& raw) {
  if (raw.magic != RawSparseHeader::kMagic) return bad("it does not have a sparse extent's mark");
  if (raw.version < 1 || raw.version > 3)
    return fail(ErrorKind::kUnsupported, "VMDK version {} is not known, only 1 to 3", std::uint32_t{raw.version});
  if ((raw.flags & RawSparseHeader::kValidNewline) != 0 && std::memcmp(raw.newlines, kNewlines, sizeof kNewlines) != 0)
    return bad("the file was changed as if it were text, by a transfer that converts line ends");
  if ((raw.flags & RawSparseHeader::kCompressed) != 0 && raw.compression != kDeflate)
    return fail(ErrorKind::kUnsupported, "compression {} is not known, only deflate", std::uint16_t{raw.compression});
  if (raw.capacity == 0) return bad("the header says nothing of the disk's size");
  if (raw.capacity > kMaxSectors)
    return bad(fmt::format("a disk of {} sectors is too large", std::uint64_t{raw.capacity}));
  if (!std::has_single_bit(std::uint64_t{raw.grain}) || raw.grain > kMaxGrain)
    return bad(fmt::format("grains of {} sectors are not possible", std::uint64_t{raw.grain}));
  if (raw.entries_per_table == 0 || raw.entries_per_table > 512)
    return bad(fmt::format("grain tables of {} entries are not possible", std::uint32_t{raw.entries_per_table}));
  return {};
}

Result<> check_directory(std::uint64_t offset, std::uint64_t bytes, std::uint64_t file_size) {
  if (bytes > kMaxDirectoryBytes || offset == 0 || offset > file_size || bytes > file_size - offset)
    return bad(fmt::format("the grain directory of {} bytes at offset {:#x} is not within the file of {}", bytes,
                           offset, file_size));
  return {};
}

Result<std::uint64_t> to_bytes(std::uint64_t sectors) {
  if (sectors > kMaxSectors) return bad(fmt::format("sector {} lies too high", sectors));
  return sectors * kSector;
}

Result<SparseHeader> parse(const RawSparseHeader& raw, std::uint64_t file_size) {
  DOPPEL_TRY(check_fixed(raw));
  SparseHeader header{.version = raw.version,
                      .size = raw.capacity * kSector,
                      .grain_size = raw.grain * kSector,
                      .entries_per_table = raw.entries_per_table,
                      .zero_grains = (raw.flags & RawSparseHeader::kZeroGrains) != 0,
                      .compressed = (raw.flags & RawSparseHeader::kCompressed) != 0,
                      .markers = (raw.flags & RawSparseHeader::kMarkers) != 0};
  if (header.compressed && header.grain_size > kMaxCompressedGrain)
    return fail(ErrorKind::kUnsupported, "compressed grains of {} bytes are not supported, only up to 1 MiB",
                header.grain_size);
  const std::uint64_t bytes = header.tables() * 4;
  DOPPEL_ASSIGN(header.directory, to_bytes(raw.directory));
  DOPPEL_TRY(check_directory(header.directory, bytes, file_size));
  if ((raw.flags & RawSparseHeader::kRedundantTable) != 0 && raw.redundant_directory != 0) {
    DOPPEL_ASSIGN(header.redundant_directory, to_bytes(raw.redundant_directory));
    DOPPEL_TRY(check_directory(header.redundant_directory, bytes, file_size));
  }
  DOPPEL_ASSIGN(header.descriptor_offset, to_bytes(raw.descriptor_offset));
  DOPPEL_ASSIGN(header.descriptor_size, to_bytes(raw.descriptor_size));
  return header;
}

}  // namespace

Task<Result<SparseHeader>> read_sparse_header(Node& file) {
  RawSparseHeader raw;
  const std::span<std::byte> bytes = std::as_writable_bytes(std::span(&raw, 1));
  DOPPEL_CO_TRY(co_await file.read(0, bytes));
  if (raw.magic != RawSparseHeader::kMagic || raw.directory != RawSparseHeader::kDirectoryAtEnd)
    co_return parse(raw, file.size());
  // A stream that could not seek: a copy of the header, with the directory, stands before the end marker.
  const std::uint64_t descriptor_offset = raw.descriptor_offset;
  const std::uint64_t descriptor_size = raw.descriptor_size;
  if (file.size() < 4 * kSector) co_return bad("the stream has been cut off: its footer is missing");
  DOPPEL_CO_TRY(co_await file.read(align_down(file.size(), kSector) - 2 * kSector, bytes));
  if (raw.magic != RawSparseHeader::kMagic || raw.directory == RawSparseHeader::kDirectoryAtEnd)
    co_return bad("the stream has been cut off: its footer is missing");
  raw.descriptor_offset = descriptor_offset;
  raw.descriptor_size = descriptor_size;
  co_return parse(raw, file.size());
}

}  // namespace doppel::block::vmdk
