// The geometry of a qcow2 image: sizes that all follow from a few fields of its header.
#pragma once

#include <cstdint>

#include "base/bits.h"

namespace doppel::block::qcow2 {

inline constexpr unsigned kMinClusterBits = 9;
inline constexpr unsigned kMaxClusterBits = 21;
// QEMU's limits: what lies beyond them, QEMU does not open.
inline constexpr std::uint64_t kMaxL1Bytes = 32 * kMiB;
inline constexpr std::uint64_t kMaxRefcountTableBytes = 8 * kMiB;
inline constexpr std::uint64_t kMaxSnapshots = 65536;
inline constexpr std::uint64_t kMaxSnapshotTableBytes = 64 * kMiB;
inline constexpr std::uint64_t kMaxSnapshotExtraBytes = 1024;
inline constexpr std::uint64_t kMaxBitmaps = 65535;
inline constexpr std::uint64_t kMaxBitmapDirectoryBytes = 1024 * kMaxBitmaps;
inline constexpr std::uint64_t kMaxBitmapBytes = 512 * kMiB;
inline constexpr std::uint64_t kMaxBitmapNameBytes = 1023;
inline constexpr unsigned kMinGranularityBits = 9;
inline constexpr unsigned kMaxGranularityBits = 31;
inline constexpr std::uint64_t kMaxLuksBytes = 16 * kMiB;
inline constexpr std::uint64_t kMaxBackingNameBytes = 1023;
/// Host offsets in table entries have 56 bits.
inline constexpr std::uint64_t kMaxHostOffset = std::uint64_t{1} << 56;

struct Layout {
  unsigned version = 3;
  unsigned cluster_bits = 16;
  unsigned refcount_order = 4;
  bool extended_l2 = false;    // entries of 16 bytes, for clusters of 32 subclusters
  bool external_data = false;  // guest data is in a file of its own

  [[nodiscard]] std::uint64_t cluster_size() const { return std::uint64_t{1} << cluster_bits; }
  [[nodiscard]] std::uint64_t in_cluster(std::uint64_t offset) const { return offset & (cluster_size() - 1); }
  [[nodiscard]] std::uint64_t clusters(std::uint64_t bytes) const {
    return (bytes + cluster_size() - 1) >> cluster_bits;
  }

  [[nodiscard]] unsigned subclusters() const { return extended_l2 ? 32 : 1; }
  [[nodiscard]] std::uint64_t subcluster_size() const { return cluster_size() / subclusters(); }
  [[nodiscard]] std::uint32_t all_subclusters() const { return static_cast<std::uint32_t>(low_mask(subclusters())); }

  [[nodiscard]] std::uint64_t l2_entry_size() const { return extended_l2 ? 16 : 8; }
  [[nodiscard]] std::uint64_t l2_entries() const { return cluster_size() / l2_entry_size(); }
  /// Guest bytes that one L2 table maps.
  [[nodiscard]] std::uint64_t l2_coverage() const { return l2_entries() << cluster_bits; }
  [[nodiscard]] std::uint64_t l1_entries(std::uint64_t disk_size) const {
    return disk_size / l2_coverage() + (disk_size % l2_coverage() != 0 ? 1 : 0);
  }

  [[nodiscard]] unsigned refcount_bits() const { return 1U << refcount_order; }
  [[nodiscard]] std::uint64_t max_refcount() const { return low_mask(refcount_bits()); }
  [[nodiscard]] std::uint64_t refcounts_per_block() const { return cluster_size() * 8 / refcount_bits(); }
};

}  // namespace doppel::block::qcow2
