#include "x86/cpuid_builder.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "base/bits.h"
#include "x86/cpu_reset.h"
#include "x86/cpuid_table.h"

namespace doppel::x86 {
namespace {

constexpr std::uint32_t kExtendedBase = 0x80000000;
constexpr std::uint32_t kCentaurBase = 0xc0000000;
constexpr std::uint32_t kApicBusKhz = 1'000'000;
/// What leaf B and 1F call their levels (SDM 2A table 3-8).
constexpr std::uint32_t kLevelThread = 1U << 8;
constexpr std::uint32_t kLevelCore = 2U << 8;
constexpr std::uint32_t kLevelDie = 5U << 8;

/// Three or four registers out of text, as CPUID hands out names.
struct PackedText {
  std::array<std::uint32_t, 4> words{};
  explicit PackedText(std::string_view text, std::size_t offset = 0) {
    if (offset < text.size()) text.copy(reinterpret_cast<char*>(words.data()), sizeof words, offset);
  }
};

class Builder {
 public:
  Builder(const CpuModel& model, const CpuTopology& topology, unsigned index, const CpuidTable& supported)
      : model_(model),
        topology_(topology),
        shifts_(apic_id_shifts(topology)),
        apic_id_(apic_id_of(topology, index)),
        place_(place_of(topology, index)),
        supported_(supported),
        level_(model.level) {
    if (topology.dies > 1 && model.is_intel() && !model.level_is_fixed) level_ = std::max(level_, 0x1fU);
  }

  CpuidTable build() {
    for (std::uint32_t leaf = 0; leaf <= std::min(level_, kMostLeaf); ++leaf) basic(leaf);
    if (model_.kvm_signature) paravirtual();
    if (model_.xlevel >= kExtendedBase)
      for (std::uint32_t leaf = kExtendedBase; leaf <= std::min(model_.xlevel, kExtendedBase + kMostLeaf); ++leaf)
        extended(leaf);
    if (model_.xlevel2 >= kCentaurBase) centaur();
    return std::move(table_);
  }

 private:
  /// No leaf above this one of either range has contents here.
  static constexpr std::uint32_t kMostLeaf = 0x40;

  [[nodiscard]] std::uint32_t word(FeatureWord word) const { return model_.features.word(word); }
  [[nodiscard]] bool multi_threaded() const { return topology_.threads_per_socket() > 1; }

  void add(std::uint32_t leaf, std::uint32_t eax, std::uint32_t ebx, std::uint32_t ecx, std::uint32_t edx) {
    table_.push_back({leaf, {}, eax, ebx, ecx, edx});
  }
  void add_sub(std::uint32_t leaf, std::uint32_t subleaf, std::uint32_t eax, std::uint32_t ebx, std::uint32_t ecx,
               std::uint32_t edx) {
    table_.push_back({leaf, subleaf, eax, ebx, ecx, edx});
  }

  void basic(std::uint32_t leaf);
  void vendor(std::uint32_t leaf, std::uint32_t highest);
  void version_and_features();
  void cache_descriptors();
  void deterministic_caches(std::uint32_t leaf);
  void add_cache(std::uint32_t leaf, std::uint32_t subleaf, const CacheInfo& cache);
  void structured_features();
  void extended_topology(std::uint32_t leaf, bool with_dies);
  void xsave();
  void amx_tiles();
  void copy(std::uint32_t leaf);
  void paravirtual();
  void extended(std::uint32_t leaf);
  void l1_caches();
  void l2_l3_caches();
  void address_sizes();
  void amd_topology();
  void centaur();

  const CpuModel& model_;
  const CpuTopology& topology_;
  const ApicIdShifts shifts_;
  const std::uint32_t apic_id_;
  const CpuPlace place_;
  const CpuidTable& supported_;
  std::uint32_t level_;
  CpuidTable table_;
};

void Builder::basic(std::uint32_t leaf) {
  switch (leaf) {
    case 0: return vendor(0, level_);
    case 1: return version_and_features();
    case 2: return model_.host_cache_info ? copy(2) : cache_descriptors();
    case 4: return deterministic_caches(4);
    case 5: return add(5, 0, 0, model_.has(feature::kMonitor) ? 3 : 0, 0);
    case 6: return add(6, word(FeatureWord::k6Eax), 0, 0, 0);
    case 7: return structured_features();
    case 0xa: return model_.pmu ? copy(0xa) : add(0xa, 0, 0, 0, 0);
    case 0xb:
      if (model_.cpuid_0xb) extended_topology(0xb, false);
      return;
    case 0xd:
      if (model_.has(feature::kXsave)) xsave();
      return;
    case 0x12:
      if (model_.has(feature::kSgx)) copy(0x12);
      return;
    case 0x14:
      if (model_.has(feature::kIntelPt)) copy(0x14);
      return;
    case 0x1c:
      if (model_.has(feature::kArchLbr)) copy(0x1c);
      return;
    case 0x1d:
      if (model_.has(feature::kAmxTile)) amx_tiles();
      return;
    case 0x1f:
      if (topology_.dies > 1) extended_topology(0x1f, true);
      return;
    default: return;
  }
}

void Builder::vendor(std::uint32_t leaf, std::uint32_t highest) {
  const PackedText text(model_.vendor);
  add(leaf, highest, text.words[0], text.words[2], text.words[1]);
}

void Builder::version_and_features() {
  constexpr std::uint32_t kClflushQuadwords = 8;
  std::uint32_t ebx = (apic_id_ & 0xff) << 24 | kClflushQuadwords << 8;
  std::uint32_t edx = word(FeatureWord::k1Edx);
  if (multi_threaded()) {
    // Addressable ids rather than processors (SDM 2A, figure 3-7, note to EBX).
    ebx |= std::min(1U << shifts_.socket, 0xffU) << 16;
    edx |= feature::kHt.mask;
  }
  add(1, encode_signature(model_.signature), ebx, word(FeatureWord::k1Ecx), edx);
}

void Builder::cache_descriptors() {
  if (model_.is_amd()) return add(2, 0, 0, 0, 0);
  // SDM 2A table 3-12: 2c L1 data 32 KiB, 30 L1 instruction 32 KiB, 7d L2 2 MiB, 4d L3 16 MiB.
  constexpr std::uint32_t kL1AndL2 = 0x002c307d;
  constexpr std::uint32_t kL3 = 0x4d;
  add(2, 1, 0, model_.l3_cache ? kL3 : 0, kL1AndL2);
}

void Builder::deterministic_caches(std::uint32_t leaf) {
  if (model_.host_cache_info) return copy(leaf);
  if (leaf == 4 && model_.is_amd()) return add_sub(leaf, 0, 0, 0, 0, 0);
  add_cache(leaf, 0, model_.caches.l1d);
  add_cache(leaf, 1, model_.caches.l1i);
  add_cache(leaf, 2, model_.caches.l2);
  if (model_.l3_cache) add_cache(leaf, 3, model_.caches.l3);
  add_sub(leaf, model_.l3_cache ? 4 : 3, 0, 0, 0, 0);
}

void Builder::add_cache(std::uint32_t leaf, std::uint32_t subleaf, const CacheInfo& cache) {
  constexpr std::uint32_t kSelfInitializing = 1U << 8;
  const unsigned sharing_shift = cache.sharing == CacheSharing::kCore ? shifts_.core : shifts_.die;
  std::uint32_t eax = static_cast<std::uint32_t>(cache.type) | cache.level << 5 | kSelfInitializing |
                      std::min(static_cast<std::uint32_t>(low_mask(sharing_shift)), 0xfffU) << 14;
  if (leaf == 4) eax |= std::min(static_cast<std::uint32_t>(low_mask(shifts_.socket - shifts_.core)), 0x3fU) << 26;
  const std::uint32_t edx =
      (cache.no_invalidate_below ? 1U : 0U) | (cache.inclusive ? 2U : 0U) | (cache.complex_indexing ? 4U : 0U);
  add_sub(leaf, subleaf, eax, (cache.line - 1) | (cache.ways - 1) << 22, cache.sets - 1, edx);
}

void Builder::structured_features() {
  add_sub(7, 0, model_.level_func7, word(FeatureWord::k7Ebx), word(FeatureWord::k7Ecx), word(FeatureWord::k7Edx));
  if (model_.level_func7 >= 1) add_sub(7, 1, word(FeatureWord::k7s1Eax), 0, 0, word(FeatureWord::k7s1Edx));
  if (model_.level_func7 >= 2) add_sub(7, 2, 0, 0, 0, word(FeatureWord::k7s2Edx));
}

void Builder::extended_topology(std::uint32_t leaf, bool with_dies) {
  std::uint32_t subleaf = 0;
  add_sub(leaf, subleaf, shifts_.core, topology_.threads, subleaf | kLevelThread, apic_id_);
  ++subleaf;
  if (with_dies) {
    add_sub(leaf, subleaf, shifts_.die, topology_.threads_per_die(), subleaf | kLevelCore, apic_id_);
    ++subleaf;
  }
  add_sub(leaf, subleaf, shifts_.socket, topology_.threads_per_socket(), subleaf | (with_dies ? kLevelDie : kLevelCore),
          apic_id_);
  ++subleaf;
  add_sub(leaf, subleaf, 0, 0, subleaf, apic_id_);
}

void Builder::xsave() {
  const std::uint64_t xcr0 = model_.xcr0();
  const std::uint64_t xss = xss_of(model_.features);
  const std::uint32_t largest = xsave_area_size(supported_, xcr0);
  constexpr std::uint32_t kMinimum = kXsaveMinimumSize;
  // EBX of sub-leaves 0 and 1 follow the guest's XCR0; these are the values after reset.
  add_sub(0xd, 0, static_cast<std::uint32_t>(xcr0), kMinimum, largest, static_cast<std::uint32_t>(xcr0 >> 32));
  const std::uint32_t instructions = word(FeatureWord::kDs1Eax);
  add_sub(0xd, 1, instructions, instructions == 0 ? 0 : kMinimum, static_cast<std::uint32_t>(xss),
          static_cast<std::uint32_t>(xss >> 32));
  for (const XsaveComponent& component : xsave_components()) {
    if (!test_bit(component.supervisor ? xss : xcr0, component.index)) continue;
    const CpuidEntry* host = find_cpuid(supported_, 0xd, component.index);
    if (host != nullptr && host->eax != 0)
      add_sub(0xd, component.index, host->eax, host->ebx, host->ecx, 0);
    else
      add_sub(0xd, component.index, component.size, component.offset, component.flags, 0);
  }
}

void Builder::amx_tiles() {
  // Palette 1 (SDM 2A CPUID, leaves 1D and 1E): 8 tiles of 16 rows of 64 bytes; multiplier 16 by 64.
  add_sub(0x1d, 0, 1, 0, 0, 0);
  add_sub(0x1d, 1, 1024U << 16 | 8192U, 8U << 16 | 64U, 16, 0);
  add_sub(0x1e, 0, 0, 64U << 8 | 16U, 0, 0);
}

void Builder::copy(std::uint32_t leaf) {
  for (const CpuidEntry& entry : supported_)
    if (entry.leaf == leaf) table_.push_back(entry);
}

void Builder::paravirtual() {
  constexpr std::string_view kSignature{"KVMKVMKVM\0\0\0", 12};
  constexpr std::uint32_t kFrequencyLeaf = kKvmSignatureLeaf + 0x10;
  const bool frequency = model_.vmware_cpuid_freq && model_.tsc_frequency != 0;
  const PackedText text(kSignature);
  add(kKvmSignatureLeaf, frequency ? kFrequencyLeaf : kKvmSignatureLeaf + 1, text.words[0], text.words[1],
      text.words[2]);
  add(kKvmSignatureLeaf + 1, word(FeatureWord::kKvmEax), 0, 0, word(FeatureWord::kKvmEdx));
  if (frequency) add(kFrequencyLeaf, static_cast<std::uint32_t>(model_.tsc_frequency / 1000), kApicBusKhz, 0, 0);
}

void Builder::extended(std::uint32_t leaf) {
  switch (leaf - kExtendedBase) {
    case 0: return vendor(leaf, model_.xlevel);
    case 1: {
      // AMD repeats these bits of leaf 1 here (APM 3 E.4.1).
      constexpr std::uint32_t kRepeated = 0x0183f3ff;
      std::uint32_t edx = word(FeatureWord::k80000001Edx);
      if (model_.is_amd()) edx = (edx & ~kRepeated) | (word(FeatureWord::k1Edx) & kRepeated);
      std::uint32_t ecx = word(FeatureWord::k80000001Ecx);
      if (multi_threaded() && !model_.is_intel()) ecx |= feature::kCmpLegacy.mask;
      return add(leaf, encode_signature(model_.signature), 0, ecx, edx);
    }
    case 2:
    case 3:
    case 4: {
      const PackedText text(model_.model_id, (leaf - kExtendedBase - 2) * 16);
      return add(leaf, text.words[0], text.words[1], text.words[2], text.words[3]);
    }
    case 5: return model_.host_cache_info ? copy(leaf) : l1_caches();
    case 6: return model_.host_cache_info ? copy(leaf) : l2_l3_caches();
    case 7: return add(leaf, 0, word(FeatureWord::k80000007Ebx), 0, word(FeatureWord::k80000007Edx));
    case 8: return address_sizes();
    case 0xa:
      // Revision 1, 16 address-space ids.
      if (model_.has(feature::kSvm)) return add(leaf, 1, 16, 0, word(FeatureWord::k8000000aEdx));
      return add(leaf, 0, 0, 0, 0);
    case 0x1d:
      if (model_.has(feature::kTopoext)) deterministic_caches(leaf);
      return;
    case 0x1e:
      if (model_.has(feature::kTopoext)) amd_topology();
      return;
    case 0x21: return add(leaf, word(FeatureWord::k80000021Eax), 0, 0, 0);
    default: return;
  }
}

void Builder::l1_caches() {
  if (model_.is_intel()) return add(kExtendedBase + 5, 0, 0, 0, 0);
  // Translation buffers: 255 entries, directly mapped, for large and small pages alike.
  constexpr std::uint32_t kTlb = 0x01ff01ff;
  const auto describe = [](const CacheInfo& cache) {
    return static_cast<std::uint32_t>(cache.size() / kKiB) << 24 | cache.ways << 16 | 1U << 8 | cache.line;
  };
  add(kExtendedBase + 5, kTlb, kTlb, describe(model_.caches.l1d), describe(model_.caches.l1i));
}

/// APM 3 table E-4: the code of an associativity.
std::uint32_t associativity_code(unsigned ways) {
  constexpr std::array<std::array<unsigned, 2>, 9> kCodes = {
      {{1, 1}, {2, 2}, {4, 4}, {8, 6}, {16, 8}, {32, 0xa}, {48, 0xb}, {64, 0xc}, {128, 0xe}}};
  for (const auto& [known, code] : kCodes)
    if (known == ways) return code;
  return 0xf;
}

void Builder::l2_l3_caches() {
  constexpr std::uint32_t kTlb4K = 0x42004200;  // 4 ways, 512 entries
  const CacheInfo& l2 = model_.caches.l2;
  const CacheInfo& l3 = model_.caches.l3;
  const std::uint32_t ecx =
      static_cast<std::uint32_t>(l2.size() / kKiB) << 16 | associativity_code(l2.ways) << 12 | 1U << 8 | l2.line;
  if (model_.is_intel()) return add(kExtendedBase + 6, 0, 0, ecx, 0);
  const std::uint32_t edx = static_cast<std::uint32_t>(l3.size() / (512 * kKiB)) << 18 |
                            associativity_code(l3.ways) << 12 | 1U << 8 | l3.line;
  add(kExtendedBase + 6, 0, kTlb4K, ecx, model_.l3_cache ? edx : 0);
}

void Builder::address_sizes() {
  std::uint32_t eax = model_.phys_bits;
  if (model_.has(feature::kLm))
    eax |= (model_.has(feature::kLa57) ? 57U : 48U) << 8;
  else
    eax |= 32U << 8;
  const std::uint32_t ecx =
      multi_threaded() ? shifts_.socket << 12 | std::min(topology_.threads_per_socket() - 1, 0xffU) : 0;
  add(kExtendedBase + 8, eax, word(FeatureWord::k80000008Ebx), ecx, 0);
}

void Builder::amd_topology() {
  const std::uint32_t core_id = (place_.die << (shifts_.die - shifts_.core) | place_.core) & 0xff;
  const std::uint32_t node_id = place_.socket * topology_.dies + place_.die;
  add(kExtendedBase + 0x1e, apic_id_, (topology_.threads - 1) << 8 | core_id,
      std::min(topology_.dies - 1, 7U) << 8 | (node_id & 0xff), 0);
}

void Builder::centaur() {
  add(kCentaurBase, model_.xlevel2, 0, 0, 0);
  add(kCentaurBase + 1, 0, 0, 0, word(FeatureWord::kC0000001Edx));
}

}  // namespace

std::uint32_t xsave_area_size(const CpuidTable& table, std::uint64_t xcr0) {
  std::uint32_t size = kXsaveMinimumSize;
  for (const XsaveComponent& component : xsave_components()) {
    if (component.supervisor || !test_bit(xcr0, component.index)) continue;
    const CpuidEntry* entry = find_cpuid(table, 0xd, component.index);
    const bool known = entry != nullptr && entry->eax != 0;
    size = std::max(size, known ? entry->eax + entry->ebx : component.size + component.offset);
  }
  return size;
}

CpuidTable build_cpuid(const CpuModel& model, const CpuTopology& topology, unsigned index,
                       const CpuidTable& supported) {
  return Builder(model, topology, index, supported).build();
}

}  // namespace doppel::x86
