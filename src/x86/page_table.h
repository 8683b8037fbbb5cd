// Page-table entries of all paging modes (SDM 3A chapter 4) and the page-fault error code (4.7).
#pragma once

#include <cstdint>

namespace doppel::x86 {

inline constexpr std::uint64_t kPageSize = 4096;
inline constexpr unsigned kPageShift = 12;

/// Bits common to 32-bit, PAE, 4-level and 5-level entries, where the entry has them.
namespace pte {
inline constexpr std::uint64_t kPresent = 1U << 0;
inline constexpr std::uint64_t kWritable = 1U << 1;
inline constexpr std::uint64_t kUser = 1U << 2;
inline constexpr std::uint64_t kWriteThrough = 1U << 3;
inline constexpr std::uint64_t kCacheDisable = 1U << 4;
inline constexpr std::uint64_t kAccessed = 1U << 5;
inline constexpr std::uint64_t kDirty = 1U << 6;        // leaf entries
inline constexpr std::uint64_t kPageSizeBit = 1U << 7;  // leaf of a large page; in a 4 KiB entry it is PAT
inline constexpr std::uint64_t kPat4K = 1U << 7;
inline constexpr std::uint64_t kGlobal = 1U << 8;
inline constexpr std::uint64_t kPatLarge = 1U << 12;
inline constexpr std::uint64_t kNoExecute = 1ULL << 63;
inline constexpr unsigned kProtectionKeyShift = 59;  // 4 bits, with CR4.PKE or PKS

/// The address field of a 64-bit entry that points to a 4 KiB frame; MAXPHYADDR may make it shorter.
inline constexpr std::uint64_t kAddressMask = 0x000f'ffff'ffff'f000;
inline constexpr std::uint64_t kAddressMask2M = 0x000f'ffff'ffe0'0000;
inline constexpr std::uint64_t kAddressMask1G = 0x000f'ffff'c000'0000;
/// The same of a 32-bit entry.
inline constexpr std::uint32_t kAddressMask32 = 0xffff'f000;
inline constexpr std::uint32_t kAddressMask4M = 0xffc0'0000;
/// PSE-36: bits 20:13 of a 4 MiB entry are bits 39:32 of the address.
inline constexpr unsigned kPse36Shift = 13;
}  // namespace pte

namespace page_fault {
inline constexpr std::uint32_t kPresent = 1U << 0;  // a protection violation rather than a missing page
inline constexpr std::uint32_t kWrite = 1U << 1;
inline constexpr std::uint32_t kUser = 1U << 2;
inline constexpr std::uint32_t kReserved = 1U << 3;
inline constexpr std::uint32_t kFetch = 1U << 4;
inline constexpr std::uint32_t kProtectionKey = 1U << 5;
inline constexpr std::uint32_t kShadowStack = 1U << 6;
}  // namespace page_fault

/// Whether LINEAR is canonical with BITS (48 or 57) of linear address (SDM 1 3.3.7.1).
constexpr bool is_canonical(std::uint64_t linear, unsigned bits = 48) {
  const unsigned shift = 64 - bits;
  return static_cast<std::uint64_t>(static_cast<std::int64_t>(linear << shift) >> shift) == linear;
}

}  // namespace doppel::x86
