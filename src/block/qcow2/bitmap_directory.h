// The directory of persistent dirty bitmaps, and the table of each. qcow2's specification, "Bitmaps".
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "block/node.h"
#include "block/qcow2/header.h"

namespace doppel::block::qcow2 {

/// A bitmap as the directory has it.
struct BitmapEntry {
  static constexpr std::uint32_t kInUse = 1U << 0;  // was not stored by who had it last
  static constexpr std::uint32_t kAuto = 1U << 1;   // records what is written
  static constexpr std::uint32_t kExtraCompatible = 1U << 2;

  std::string name;
  std::uint64_t table_offset = 0;
  std::uint32_t table_entries = 0;
  std::uint32_t flags = 0;
  unsigned granularity_bits = 16;  // log2 of the bytes that one bit stands for
  std::vector<std::byte> extra{};  // kept as it is

  [[nodiscard]] bool has(std::uint32_t flag) const { return (flags & flag) != 0; }
};

/// Where the 32 bits of an entry's flags are, behind its beginning; it begins at a multiple of 8, so that they never
/// stand across two sectors.
inline constexpr std::uint64_t kBitmapFlagsOffset = 12;
/// A table entry that is no offset: all bits of this cluster are set.
inline constexpr std::uint64_t kAllOnes = 1;

/// Bytes of one entry, padding among them.
std::uint64_t directory_entry_bytes(const BitmapEntry& entry);
/// Of a bitmap for a disk of SIZE bytes: its bits, its table's entries.
std::uint64_t bitmap_bits(std::uint64_t size, unsigned granularity_bits);
std::uint64_t bitmap_clusters(const Layout& layout, std::uint64_t size, unsigned granularity_bits);

/// All entries that HEADER announces, each field checked; none if it announces none.
Task<Result<std::vector<BitmapEntry>>> read_bitmap_directory(Node& file, const Header& header);
std::vector<std::byte> encode_bitmap_directory(const std::vector<BitmapEntry>& entries);

/// The bitmap's table with each entry checked: 0, kAllOnes, or the offset of a cluster.
Task<Result<std::vector<std::uint64_t>>> read_bitmap_table(Node& file, const Layout& layout, const BitmapEntry& entry);

}  // namespace doppel::block::qcow2
