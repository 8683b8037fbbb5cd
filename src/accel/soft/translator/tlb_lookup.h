// How generated code finds the TLB's entry of a linear address.
#pragma once

#include <cstdint>

#include "accel/soft/mmu/tlb.h"

namespace doppel::accel::soft {

// An entry is TlbEntry's 32 bytes: the index times that is cut out of the address by a rotation to the right and a
// mask. The entry's tag is the page's address, so that the difference is the offset in the page on a hit, and one
// comparison sees to the page's end as well.
static_assert(sizeof(TlbEntry) == 32);
inline constexpr unsigned kTlbIndexShift = 12 - 5;
inline constexpr std::uint32_t kTlbIndexMask = (Tlb::kEntries - 1) * sizeof(TlbEntry);

enum class TlbAccess : std::uint8_t { kRead, kWrite };
inline constexpr unsigned kTlbAccesses = 2;
inline constexpr unsigned kTlbResults = 2;  // TlbSites::Result

/// Of FIRST, a view's first entry.
inline const std::uint64_t& tlb_tag(const TlbEntry& first, TlbAccess access) {
  return access == TlbAccess::kRead ? first.read_tag : first.write_tag;
}
inline const std::uintptr_t& tlb_result(const TlbEntry& first, TlbSites::Result result) {
  return result == TlbSites::Result::kHost ? first.host : first.addend;
}

}  // namespace doppel::accel::soft
