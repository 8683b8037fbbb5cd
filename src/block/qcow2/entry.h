// L1 and L2 entries: where a guest cluster is. qcow2's specification, "Cluster mapping".
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "base/endian.h"
#include "base/error.h"
#include "block/qcow2/layout.h"

namespace doppel::block::qcow2 {

inline constexpr std::uint64_t kCopiedFlag = bit(63);  // the refcount is exactly one: may be written in place
inline constexpr std::uint64_t kCompressedFlag = bit(62);
inline constexpr std::uint64_t kOffsetMask = low_mask(56) & ~low_mask(9);
inline constexpr std::uint64_t kZeroFlag = bit(0);
inline constexpr std::uint64_t kSector = 512;

enum class Kind : std::uint8_t { kUnallocated, kZero, kData, kCompressed };

/// Where the bytes of a compressed cluster are: at any byte, in whole sectors from the one they begin in.
struct CompressedPlace {
  std::uint64_t offset = 0;
  std::uint64_t length = 0;  // at most this many bytes
};

/// One L2 entry. Without extended entries a cluster is its own only subcluster.
struct Entry {
  std::optional<std::uint64_t> host{};  // the cluster that holds what is allocated
  bool copied = false;
  std::optional<CompressedPlace> compressed{};  // then all else is unset
  std::uint32_t allocated = 0;                  // a bit for each subcluster, as is
  std::uint32_t zero = 0;

  [[nodiscard]] Kind kind(unsigned subcluster) const {
    if (compressed) return Kind::kCompressed;
    if (test_bit(zero, subcluster)) return Kind::kZero;
    return test_bit(allocated, subcluster) ? Kind::kData : Kind::kUnallocated;
  }
  [[nodiscard]] bool unused() const { return !host && !compressed && zero == 0; }
};

/// Bits that no entry of an intact image has give kCorrupt.
inline Result<Entry> decode_entry(const Layout& layout, const std::byte* bytes) {
  const auto word = load_be<std::uint64_t>(bytes);
  Entry entry{.copied = (word & kCopiedFlag) != 0};
  if ((word & kCompressedFlag) != 0) {
    const unsigned offset_bits = 62 - (layout.cluster_bits - 8);
    const std::uint64_t offset = word & low_mask(offset_bits);
    const std::uint64_t more_sectors = (word & low_mask(62)) >> offset_bits;
    entry.compressed = CompressedPlace{offset, (more_sectors + 1) * kSector - offset % kSector};
    if (offset >= kMaxHostOffset || layout.external_data)
      return fail(ErrorKind::kCorrupt, "a compressed cluster has the impossible offset {:#x}", offset);
    return entry;
  }
  const std::uint64_t offset = word & kOffsetMask;
  if (layout.in_cluster(offset) != 0)
    return fail(ErrorKind::kCorrupt, "a data cluster at offset {:#x} is not aligned", offset);
  // In an external file offset 0 is as good as any.
  if (offset != 0 || (layout.external_data && entry.copied)) entry.host = offset;
  if (layout.extended_l2) {
    const auto bitmap = load_be<std::uint64_t>(bytes + 8);
    entry.allocated = static_cast<std::uint32_t>(bitmap);
    entry.zero = static_cast<std::uint32_t>(bitmap >> 32);
    if ((entry.allocated & entry.zero) != 0 || (entry.allocated != 0 && !entry.host))
      return fail(ErrorKind::kCorrupt, "the subclusters {:#018x} contradict each other", bitmap);
  } else {
    entry.zero = layout.version >= 3 && (word & kZeroFlag) != 0 ? 1 : 0;
    entry.allocated = entry.host && entry.zero == 0 ? 1 : 0;
  }
  return entry;
}

inline void encode_entry(const Layout& layout, const Entry& entry, std::byte* bytes) {
  std::uint64_t word = entry.host.value_or(0) | (entry.copied ? kCopiedFlag : 0);
  if (entry.compressed) {
    const unsigned offset_bits = 62 - (layout.cluster_bits - 8);
    const std::uint64_t first = entry.compressed->offset / kSector;
    const std::uint64_t last = (entry.compressed->offset + entry.compressed->length - 1) / kSector;
    word = kCompressedFlag | ((last - first) << offset_bits) | entry.compressed->offset;
  } else if (!layout.extended_l2 && entry.zero != 0) {
    word |= kZeroFlag;
  }
  store_be<std::uint64_t>(bytes, word);
  if (layout.extended_l2) store_be<std::uint64_t>(bytes + 8, std::uint64_t{entry.zero} << 32 | entry.allocated);
}

}  // namespace doppel::block::qcow2
