#include "x86/features.h"

#include <algorithm>
#include <map>

#include "x86/cpuid_table.h"
#include "x86/msr.h"

namespace doppel::x86 {
namespace {

using enum FeatureWord;
using enum CpuidRegister;

constexpr auto kWords = std::to_array<FeatureWordInfo>({
    {k1Edx, 1, {}, kEdx},
    {k1Ecx, 1, {}, kEcx},
    {k7Ebx, 7, 0, kEbx},
    {k7Ecx, 7, 0, kEcx},
    {k7Edx, 7, 0, kEdx},
    {k7s1Eax, 7, 1, kEax},
    {k7s1Edx, 7, 1, kEdx},
    {k7s2Edx, 7, 2, kEdx},
    {k80000001Edx, 0x80000001, {}, kEdx},
    {k80000001Ecx, 0x80000001, {}, kEcx},
    {k80000007Ebx, 0x80000007, {}, kEbx},
    {k80000007Edx, 0x80000007, {}, kEdx},
    {k80000008Ebx, 0x80000008, {}, kEbx},
    {k8000000aEdx, 0x8000000a, {}, kEdx},
    {k80000021Eax, 0x80000021, {}, kEax},
    {kC0000001Edx, 0xc0000001, {}, kEdx},
    {k6Eax, 6, {}, kEax},
    {kDs1Eax, 0xd, 1, kEax},
    {k12Eax, 0x12, 0, kEax},
    {k12Ebx, 0x12, 0, kEbx},
    {k12s1Eax, 0x12, 1, kEax},
    {k14Ecx, 0x14, 0, kEcx},
    {kKvmEax, kKvmSignatureLeaf + 1, {}, kEax},
    {kKvmEdx, kKvmSignatureLeaf + 1, {}, kEdx},
    {kArchCapabilities, 0, {}, kEax, msr::kArchCapabilities},
    {kCoreCapability, 0, {}, kEax, msr::kCoreCapabilities},
    {kPerfCapabilities, 0, {}, kEax, msr::kPerfCapabilities},
});
static_assert(kWords.size() == kFeatureWordCount);

constexpr auto kNeeds = std::to_array<FeatureNeed>({
    {"", kDs1Eax, "xsave"},
    {"avx", {}, "xsave"},
    {"pku", {}, "xsave"},
    {"mpx", {}, "xsave"},
    {"amx-tile", {}, "xsave"},
    {"f16c", {}, "avx"},
    {"fma", {}, "avx"},
    {"fma4", {}, "avx"},
    {"xop", {}, "avx"},
    {"avx2", {}, "avx"},
    {"vaes", {}, "avx"},
    {"vpclmulqdq", {}, "avx"},
    {"avx-vnni", {}, "avx2"},
    {"avx-ifma", {}, "avx2"},
    {"avx-vnni-int8", {}, "avx2"},
    {"avx-vnni-int16", {}, "avx2"},
    {"avx-ne-convert", {}, "avx2"},
    {"sha512", {}, "avx2"},
    {"sm3", {}, "avx"},
    {"sm4", {}, "avx"},
    {"avx512f", {}, "avx2"},
    {"avx512dq", {}, "avx512f"},
    {"avx512ifma", {}, "avx512f"},
    {"avx512pf", {}, "avx512f"},
    {"avx512er", {}, "avx512f"},
    {"avx512cd", {}, "avx512f"},
    {"avx512bw", {}, "avx512f"},
    {"avx512vl", {}, "avx512f"},
    {"avx512vbmi", {}, "avx512f"},
    {"avx512vbmi2", {}, "avx512f"},
    {"avx512vnni", {}, "avx512f"},
    {"avx512bitalg", {}, "avx512f"},
    {"avx512-vpopcntdq", {}, "avx512f"},
    {"avx512-4vnniw", {}, "avx512f"},
    {"avx512-4fmaps", {}, "avx512f"},
    {"avx512-vp2intersect", {}, "avx512f"},
    {"avx512-bf16", {}, "avx512f"},
    {"avx512-fp16", {}, "avx512bw"},
    {"avx10", {}, "avx512f"},
    {"amx-int8", {}, "amx-tile"},
    {"amx-bf16", {}, "amx-tile"},
    {"amx-fp16", {}, "amx-tile"},
    {"amx-complex", {}, "amx-tile"},
    {"arch-lbr", {}, "xsaves"},
    {"shstk", {}, "xsaves"},
    {"", kArchCapabilities, "arch-capabilities"},
    {"", kCoreCapability, "core-capability"},
    {"", kPerfCapabilities, "pdcm"},
    {"", k8000000aEdx, "svm"},
    {"", k12Eax, "sgx"},
    {"", k12Ebx, "sgx"},
    {"", k12s1Eax, "sgx"},
    {"", k14Ecx, "intel-pt"},
});

/// Sizes and offsets of the standard format; AMX's TILEDATA is 64-byte aligned and asks leave by XFD (bits 1 and 2).
constexpr auto kComponents = std::to_array<XsaveComponent>({
    {2, feature::kAvx, 256, 576},
    {3, feature::kMpx, 64, 960},
    {4, feature::kMpx, 64, 1024},
    {5, feature::kAvx512f, 64, 1088},
    {6, feature::kAvx512f, 512, 1152},
    {7, feature::kAvx512f, 1024, 1664},
    {9, feature::kPku, 8, 2688},
    {11, feature::kCetSs, 16, 0, true, 1},
    {12, feature::kCetSs, 24, 0, true, 1},
    {15, feature::kArchLbr, 808, 0, true, 1},
    {17, feature::kAmxTile, 64, 2752, false, 2},
    {18, feature::kAmxTile, 8192, 2816, false, 6},
});

/// Features by every normalised spelling.
const std::map<std::string, const Feature*, std::less<>>& index() {
  static const auto kIndex = [] {
    std::map<std::string, const Feature*, std::less<>> map;
    for (const Feature& feature : features()) map.emplace(normalize_feature_name(feature.name), &feature);
    for (const FeatureAlias& alias : feature_aliases())
      map.emplace(alias.alias, map.find(normalize_feature_name(alias.name))->second);
    return map;
  }();
  return kIndex;
}

struct ResolvedNeed {
  FeatureBit dependents;
  FeatureBit needs;
};

const std::vector<ResolvedNeed>& resolved_needs() {
  static const auto kResolved = [] {
    std::vector<ResolvedNeed> needs;
    for (const FeatureNeed& need : kNeeds) {
      const FeatureBit dependents =
          need.name.empty() ? FeatureBit{need.word, ~std::uint32_t{0}} : find_feature(need.name)->bit;
      needs.push_back({dependents, find_feature(need.needs)->bit});
    }
    return needs;
  }();
  return kResolved;
}

std::uint64_t components_of(const FeatureSet& set, bool supervisor) {
  std::uint64_t mask = 0;
  for (const XsaveComponent& component : kComponents)
    if (component.supervisor == supervisor && set.has(component.owner)) mask |= std::uint64_t{1} << component.index;
  return mask;
}

}  // namespace

std::span<const FeatureWordInfo> feature_words() {
  return kWords;
}
std::span<const FeatureNeed> feature_needs() {
  return kNeeds;
}
std::span<const XsaveComponent> xsave_components() {
  return kComponents;
}

std::string normalize_feature_name(std::string_view name) {
  std::string normalized(name);
  for (char& c : normalized)
    if (c == '_' || c == '.') c = '-';
  return normalized;
}

const Feature* find_feature(std::string_view name) {
  const auto found = index().find(normalize_feature_name(name));
  return found == index().end() ? nullptr : found->second;
}

bool is_vmx_control(std::string_view name) {
  return std::ranges::find(vmx_control_names(), normalize_feature_name(name)) != vmx_control_names().end();
}

FeatureSet& FeatureSet::operator|=(const FeatureSet& other) {
  for (std::size_t i = 0; i < words_.size(); ++i) words_[i] |= other.words_[i];
  return *this;
}

FeatureSet& FeatureSet::operator&=(const FeatureSet& other) {
  for (std::size_t i = 0; i < words_.size(); ++i) words_[i] &= other.words_[i];
  return *this;
}

FeatureSet& FeatureSet::operator-=(const FeatureSet& other) {
  for (std::size_t i = 0; i < words_.size(); ++i) words_[i] &= ~other.words_[i];
  return *this;
}

std::vector<std::string_view> FeatureSet::names() const {
  std::vector<std::string_view> result;
  for (const Feature& feature : features())
    if ((word(feature.bit.word) & feature.bit.mask) != 0) result.push_back(feature.name);
  return result;
}

FeatureSet named_features() {
  FeatureSet set;
  for (const Feature& feature : features()) set.set(feature.bit);
  return set;
}

FeatureSet features_of(const CpuidTable& table) {
  constexpr FeatureBit kOsxsave{k1Ecx, 1U << 27};
  constexpr FeatureBit kOspke{k7Ecx, 1U << 4};
  FeatureSet set;
  for (const FeatureWordInfo& info : kWords) {
    if (info.msr != 0) continue;
    if (const CpuidEntry* entry = find_cpuid(table, info.leaf, info.subleaf.value_or(0)))
      set.set_word(info.word, cpuid_register(*entry, info.reg));
  }
  set.set(kOsxsave, false);
  set.set(kOspke, false);
  return set;
}

void drop_unfounded(FeatureSet& set) {
  FeatureSet before;
  do {
    before = set;
    for (const ResolvedNeed& need : resolved_needs())
      if (!set.has(need.needs)) set.set(need.dependents, false);
  } while (set != before);
}

std::uint64_t xcr0_of(const FeatureSet& set) {
  return set.has(feature::kXsave) ? components_of(set, false) | 3 : 0;
}

std::uint64_t xss_of(const FeatureSet& set) {
  return set.has(feature::kXsave) && set.has(feature::kXsaves) ? components_of(set, true) : 0;
}

}  // namespace doppel::x86
