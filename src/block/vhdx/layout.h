// VHDX on disk: [MS-VHDX], sections 2.1 to 2.6. All numbers are little-endian.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "base/bits.h"
#include "base/endian.h"
#include "block/sparse/random_id.h"

namespace doppel::block::vhdx {

using Guid = Uuid;

inline constexpr std::string_view kFileMark = "vhdxfile";
inline constexpr std::array<std::uint64_t, 2> kHeaderOffsets{64 * kKiB, 128 * kKiB};
inline constexpr std::array<std::uint64_t, 2> kRegionTableOffsets{192 * kKiB, 256 * kKiB};
inline constexpr std::uint64_t kHeaderSize = 4096;
inline constexpr std::uint64_t kTableSize = 64 * kKiB;  // of region and metadata tables
inline constexpr std::uint32_t kMaxTableEntries = 2047;
inline constexpr std::uint64_t kMaxDiskSize = 64 * kTiB;
inline constexpr std::uint64_t kMinBlockSize = kMiB;
inline constexpr std::uint64_t kMaxBlockSize = 256 * kMiB;

/// From the form that documents print, 8-4-4-4-12 hexadecimal digits.
consteval Guid guid(std::string_view text) {
  constexpr std::array<std::size_t, 16> kPlaces{6, 4, 2, 0, 11, 9, 16, 14, 19, 21, 24, 26, 28, 30, 32, 34};
  const auto digit = [](char c) { return static_cast<unsigned>(c <= '9' ? c - '0' : c - 'A' + 10); };
  Guid result{};
  for (std::size_t i = 0; i < result.size(); ++i)
    result[i] = static_cast<std::byte>(digit(text[kPlaces[i]]) * 16 + digit(text[kPlaces[i] + 1]));
  return result;
}

inline constexpr Guid kBatRegion = guid("2DC27766-F623-4200-9D64-115E9BFD4A08");
inline constexpr Guid kMetadataRegion = guid("8B7CA206-4790-4B9A-B8FE-575F050F886E");
inline constexpr Guid kFileParameters = guid("CAA16737-FA36-4D43-B3B6-33F0AA44E76B");
inline constexpr Guid kVirtualDiskSize = guid("2FA54224-CD1B-4876-B211-5DBED83BF4B8");
inline constexpr Guid kVirtualDiskId = guid("BECA12AB-B2E6-4523-93EF-C309E000C746");
inline constexpr Guid kLogicalSectorSize = guid("8141BF1D-A96F-4709-BA47-F233A8FAAB5F");
inline constexpr Guid kPhysicalSectorSize = guid("CDA348C7-445D-4471-9CC9-E9885251C556");
inline constexpr Guid kParentLocator = guid("A8D35F2D-B30B-454D-ABF7-D3D84834AB0C");

/// Section 2.2.2.
struct RawHeader {
  static constexpr std::uint32_t kSignature = 0x64616568;  // "head"
  Le32 signature;
  Le32 checksum;  // over 4 KiB, with this field zero
  Le64 sequence;
  Guid file_write;
  Guid data_write;
  Guid log;
  Le16 log_version;
  Le16 version;
  Le32 log_length;
  Le64 log_offset;
  std::array<std::byte, 4016> reserved;
};
static_assert(sizeof(RawHeader) == kHeaderSize);

/// Section 2.2.3; entries follow, 32 bytes each.
struct RawRegionTable {
  static constexpr std::uint32_t kSignature = 0x69676572;  // "regi"
  Le32 signature;
  Le32 checksum;  // over 64 KiB
  Le32 entries;
  Le32 reserved;
};
struct RawRegion {
  Guid id;
  Le64 offset;
  Le32 length;
  Le32 flags;  // bit 0: who does not know it must not open the image
};
static_assert(sizeof(RawRegionTable) == 16 && sizeof(RawRegion) == 32);

/// Section 2.6.1; entries follow, 32 bytes each.
struct RawMetadataTable {
  static constexpr std::string_view kSignature = "metadata";
  char signature[8];
  Le16 reserved;
  Le16 entries;
  std::array<std::byte, 20> reserved2;
};
struct RawMetadataEntry {
  static constexpr std::uint32_t kVirtualDisk = 1U << 1;
  static constexpr std::uint32_t kRequired = 1U << 2;
  Guid id;
  Le32 offset;  // from the region's beginning
  Le32 length;
  Le32 flags;
  Le32 reserved;
};
static_assert(sizeof(RawMetadataTable) == 32 && sizeof(RawMetadataEntry) == 32);

/// Section 2.6.2.1.
struct RawFileParameters {
  static constexpr std::uint32_t kLeaveAllocated = 1U << 0;
  static constexpr std::uint32_t kHasParent = 1U << 1;
  Le32 block_size;
  Le32 flags;
};

/// States of a block: bits 2..0 of its entry, section 2.5.1.1; bits 63..20 are its offset in MiB.
enum class BatState : std::uint8_t {
  kNotPresent = 0,
  kUndefined = 1,
  kZero = 2,
  kUnmapped = 3,
  kUnmappedOld = 5,  // of a draft of the specification
  kFullyPresent = 6,
  kPartiallyPresent = 7,
};

/// Section 2.3: log entries of whole sectors of 4 KiB.
inline constexpr std::uint64_t kLogSector = 4096;
struct RawLogEntry {
  static constexpr std::uint32_t kSignature = 0x65676f6c;  // "loge"
  Le32 signature;
  Le32 checksum;  // over the whole entry
  Le32 length;
  Le32 tail;  // where in the log the sequence begins
  Le64 sequence;
  Le32 descriptors;
  Le32 reserved;
  Guid log;
  Le64 flushed_file_size;
  Le64 last_file_size;
};
struct RawLogDescriptor {
  static constexpr std::uint32_t kZeroSignature = 0x6f72657a;  // "zero"
  static constexpr std::uint32_t kDataSignature = 0x63736564;  // "desc"
  Le32 signature;
  Le32 trailing;  // of data: the sector's last 4 bytes
  Le64 leading;   // of data: its first 8 bytes; of zeroes: their length
  Le64 file_offset;
  Le64 sequence;
};
struct RawLogData {
  static constexpr std::uint32_t kSignature = 0x61746164;  // "data"
  Le32 signature;
  Le32 sequence_high;
  std::array<std::byte, 4084> bytes;
  Le32 sequence_low;
};
static_assert(sizeof(RawLogEntry) == 64 && sizeof(RawLogDescriptor) == 32 && sizeof(RawLogData) == kLogSector);

}  // namespace doppel::block::vhdx
