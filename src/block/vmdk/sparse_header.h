// The header of VMDK's hosted sparse extents, version 1 to 3.
#pragma once

#include <cstdint>

#include "base/endian.h"
#include "block/node.h"

namespace doppel::block::vmdk {

inline constexpr std::uint64_t kSector = 512;

struct RawSparseHeader {
  static constexpr std::uint32_t kMagic = 0x564d444b;  // "KDMV"
  static constexpr std::uint32_t kValidNewline = 1U << 0;
  static constexpr std::uint32_t kRedundantTable = 1U << 1;
  static constexpr std::uint32_t kZeroGrains = 1U << 2;
  static constexpr std::uint32_t kCompressed = 1U << 16;
  static constexpr std::uint32_t kMarkers = 1U << 17;
  static constexpr std::uint64_t kDirectoryAtEnd = ~std::uint64_t{0};

  Le32 magic;
  Le32 version;
  Le32 flags;
  Le64 capacity;  // this and all others in sectors
  Le64 grain;
  Le64 descriptor_offset;
  Le64 descriptor_size;
  Le32 entries_per_table;
  Le64 redundant_directory;
  Le64 directory;
  Le64 overhead;
  std::uint8_t unclean;
  char newlines[4];
  Le16 compression;
  char padding[433];
};
static_assert(sizeof(RawSparseHeader) == kSector);
inline constexpr char kNewlines[4] = {'\n', ' ', '\r', '\n'};

/// What precedes a compressed grain.
struct RawGrainMarker {
  Le64 sector;  // of the disk
  Le32 size;    // of the compressed data that follows
};
static_assert(sizeof(RawGrainMarker) == 12);

struct SparseHeader {
  std::uint32_t version = 1;
  std::uint64_t size = 0;  // of the disk, in bytes, as everything below
  std::uint64_t grain_size = 0;
  std::uint64_t entries_per_table = 512;
  std::uint64_t directory = 0;            // where in the file
  std::uint64_t redundant_directory = 0;  // 0: there is none
  std::uint64_t descriptor_offset = 0;    // 0: it is not in this file
  std::uint64_t descriptor_size = 0;
  bool zero_grains = false;
  bool compressed = false;
  bool markers = false;

  [[nodiscard]] std::uint64_t table_coverage() const { return grain_size * entries_per_table; }
  [[nodiscard]] std::uint64_t tables() const { return (size + table_coverage() - 1) / table_coverage(); }
};

/// Reads and checks every field; of a stream whose directory is at the end, the header there.
Task<Result<SparseHeader>> read_sparse_header(Node& file);

}  // namespace doppel::block::vmdk
