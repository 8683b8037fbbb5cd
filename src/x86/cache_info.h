// Caches as CPUID describes them (SDM 2A, CPUID leaves 2 and 4; AMD APM 3 E.4.2).
#pragma once

#include <cstdint>

namespace doppel::x86 {

/// The whole of which threads share one cache.
enum class CacheSharing : std::uint8_t { kCore, kDie };

struct CacheInfo {
  enum class Type : std::uint8_t { kData = 1, kInstruction = 2, kUnified = 3 };
  Type type = Type::kUnified;
  unsigned level = 1;
  unsigned line = 64;  // bytes
  unsigned ways = 8;
  unsigned sets = 64;
  CacheSharing sharing = CacheSharing::kCore;
  bool no_invalidate_below = false;  // WBINVD here does not reach the caches of lower levels
  bool inclusive = false;
  bool complex_indexing = false;
  [[nodiscard]] constexpr unsigned size() const { return line * ways * sets; }
};

struct CacheHierarchy {
  CacheInfo l1d, l1i, l2, l3;
};

/// The hierarchies that models name.
enum class CacheSet : std::uint8_t { kLegacy, kEpyc, kRome, kMilan, kGenoa };

/// AMD matters for kLegacy: QEMU's old models show AMD processors other L1 and L2 caches than Intel's.
CacheHierarchy cache_hierarchy(CacheSet set, bool amd);

}  // namespace doppel::x86
