// What describes a VHDX image: its two headers, its regions, its metadata.
#pragma once

#include <cstdint>

#include "block/node.h"
#include "block/vhdx/layout.h"

namespace doppel::block::vhdx {

/// The newer of the two headers that is whole.
struct Header {
  std::size_t index = 0;  // which of the two
  RawHeader raw{};
};

struct Region {
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
};

struct Metadata {
  std::uint64_t block_size = 0;
  std::uint64_t disk_size = 0;
  std::uint64_t sector_size = 512;  // logical
  Region bat{};

  /// Blocks for which the table has one entry more, of their sector bitmap.
  [[nodiscard]] std::uint64_t chunk_ratio() const { return (sector_size << 23) / block_size; }
  [[nodiscard]] std::uint64_t blocks() const { return (disk_size + block_size - 1) / block_size; }
  [[nodiscard]] std::uint64_t bat_index(std::uint64_t block) const { return block + block / chunk_ratio(); }
};

Task<Result<Header>> read_header(Node& file);
/// Writes the other of the two headers, with the next sequence number, and flushes: HEADER is then that one.
Task<Result<>> write_next_header(Node& file, Header& header);
/// Regions and metadata; the log must have been replayed.
Task<Result<Metadata>> read_metadata(Node& file);

/// The checksum over STRUCTURE, whose own field, at byte 4, counts as zero.
std::uint32_t checksum(std::span<const std::byte> structure);

/// Offset and length, as regions and the log have them: whole MiB, behind the first, within the file.
Result<> check_region(std::string_view what, const Region& region, std::uint64_t file_size);

}  // namespace doppel::block::vhdx
