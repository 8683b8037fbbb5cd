#include "x86/cache_info.h"

namespace doppel::x86 {
namespace {

using Type = CacheInfo::Type;

constexpr CacheInfo l1(Type type, unsigned ways, unsigned sets) {
  return {.type = type, .level = 1, .ways = ways, .sets = sets, .no_invalidate_below = true};
}
constexpr CacheInfo l2(unsigned ways, unsigned sets, bool no_invalidate_below = false) {
  return {.level = 2, .ways = ways, .sets = sets, .no_invalidate_below = no_invalidate_below};
}
constexpr CacheInfo l3(unsigned sets) {
  return {
      .level = 3, .ways = 16, .sets = sets, .sharing = CacheSharing::kDie, .inclusive = true, .complex_indexing = true};
}

constexpr CacheHierarchy kLegacyIntel = {l1(Type::kData, 8, 64), l1(Type::kInstruction, 8, 64), l2(16, 4096, true),
                                         l3(16384)};
constexpr CacheHierarchy kLegacyAmd = {l1(Type::kData, 2, 512), l1(Type::kInstruction, 2, 512), l2(16, 512, true),
                                       l3(16384)};
constexpr CacheHierarchy kEpyc = {l1(Type::kData, 8, 64), l1(Type::kInstruction, 4, 256), l2(8, 1024), l3(8192)};
constexpr CacheHierarchy kRome = {l1(Type::kData, 8, 64), l1(Type::kInstruction, 8, 64), l2(8, 1024), l3(16384)};
constexpr CacheHierarchy kMilan = {l1(Type::kData, 8, 64), l1(Type::kInstruction, 8, 64), l2(8, 1024), l3(32768)};
constexpr CacheHierarchy kGenoa = {l1(Type::kData, 8, 64), l1(Type::kInstruction, 8, 64), l2(8, 2048), l3(32768)};

}  // namespace

CacheHierarchy cache_hierarchy(CacheSet set, bool amd) {
  switch (set) {
    case CacheSet::kLegacy: return amd ? kLegacyAmd : kLegacyIntel;
    case CacheSet::kEpyc: return kEpyc;
    case CacheSet::kRome: return kRome;
    case CacheSet::kMilan: return kMilan;
    case CacheSet::kGenoa: return kGenoa;
  }
  return kLegacyIntel;
}

}  // namespace doppel::x86
