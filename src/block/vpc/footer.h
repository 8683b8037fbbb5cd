// Footer and dynamic header of a VHD image (Virtual PC, Hyper-V), which QEMU calls `vpc`.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "base/endian.h"
#include "block/node.h"
#include "block/sparse/random_id.h"

namespace doppel::block::vpc {

enum class DiskType : std::uint32_t { kFixed = 2, kDynamic = 3, kDifferencing = 4 };

/// Cylinders, heads and sectors as BIOSes see them.
struct Geometry {
  std::uint16_t cylinders = 0;
  std::uint8_t heads = 0;
  std::uint8_t sectors = 0;

  [[nodiscard]] std::uint64_t total() const { return std::uint64_t{cylinders} * heads * sectors; }
};
/// The largest that there is: it says that the disk has at least so many sectors.
inline constexpr Geometry kLargestGeometry{65535, 16, 255};
/// 2040 GiB, in sectors.
inline constexpr std::uint64_t kMaxSectors = 0xff000000;

/// As it lies in the file: at its end, and of dynamic images also at its beginning.
struct RawFooter {
  char cookie[8];  // "conectix"
  Be32 features;
  Be32 version;
  Be64 data_offset;  // of the dynamic header; all ones: none
  Be32 timestamp;    // seconds since 2000
  char creator[4];
  Be32 creator_version;
  char creator_host[4];
  Be64 original_size;
  Be64 current_size;
  Be16 cylinders;
  std::uint8_t heads;
  std::uint8_t sectors;
  Be32 type;
  Be32 checksum;
  Uuid uuid;
  std::uint8_t saved_state;
  char padding[427];
};
static_assert(sizeof(RawFooter) == 512);

struct RawDynamicHeader {
  char cookie[8];  // "cxsparse"
  Be64 data_offset;
  Be64 table_offset;
  Be32 version;
  Be32 max_entries;
  Be32 block_size;
  Be32 checksum;
  char parent[984];
};
static_assert(sizeof(RawDynamicHeader) == 1024);

struct Header {
  DiskType type = DiskType::kFixed;
  std::uint64_t disk_size = 0;
  RawFooter footer{};  // as it was found
  // Of dynamic images.
  std::uint64_t table_offset = 0;
  std::uint32_t entries = 0;
  std::uint32_t block_size = 0;
};

/// Reads and checks both. The disk's size follows QEMU's rules: by geometry, unless that is the largest one or the
/// image's creator is known to mean its size field.
Task<Result<Header>> read_header(Node& file);

/// Sums up everything but the field itself, inverted.
std::uint32_t checksum(const RawFooter& footer);
std::uint32_t checksum(const RawDynamicHeader& header);

/// The specification's rule, appendix "CHS calculation"; covers at most SECTORS.
Geometry geometry_below(std::uint64_t sectors);

}  // namespace doppel::block::vpc
