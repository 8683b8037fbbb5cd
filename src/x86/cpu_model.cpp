#include "x86/cpu_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/bits.h"
#include "x86/cpuid_table.h"

namespace doppel::x86 {
namespace {

constexpr unsigned kDefaultPhysBits = 40;
constexpr unsigned kLeastPhysBits = 32;
constexpr std::uint32_t kExtendedBase = 0x80000000;
constexpr std::uint32_t kCentaurBase = 0xc0000000;

/// What KVM changes in models that have a row, before the user's own changes.
struct DefaultChange {
  std::string_view feature;
  bool on;
};
constexpr auto kKvmDefaults = std::to_array<DefaultChange>({
    {"kvmclock", true},
    {"kvm-nopiodelay", true},
    {"kvm-asyncpf", true},
    {"kvm-steal-time", true},
    {"kvm-pv-eoi", true},
    {"kvmclock-stable-bit", true},
    {"x2apic", true},
    {"acpi", false},
    {"monitor", false},
    {"svm", false},
});

/// Without hardware virtualisation few can run virtual-8086 extensions, and nobody misses them.
constexpr auto kSoftDefaults = std::to_array<DefaultChange>({{"vme", false}});

bool follows_host(std::string_view name) {
  return name == "host" || name == "max";
}

std::uint32_t register_of(const CpuidTable& table, std::uint32_t leaf, CpuidRegister reg) {
  const CpuidEntry* entry = find_cpuid(table, leaf);
  return entry == nullptr ? 0 : cpuid_register(*entry, reg);
}

/// max and host: the accelerator's own words.
CpuModel model_of_host(const CpuConfig& config, const CpuSupport& support, FeatureSet all) {
  if (config.migratable) {
    all &= named_features();
    all.set(feature::kInvtsc, false);
  }
  CpuModel model;
  model.name = config.model;
  model.vendor = vendor_of(support.cpuid);
  model.signature = decode_signature(register_of(support.cpuid, 1, CpuidRegister::kEax));
  model.level = register_of(support.cpuid, 0, CpuidRegister::kEax);
  model.xlevel = register_of(support.cpuid, kExtendedBase, CpuidRegister::kEax);
  model.model_id = brand_of(support.cpuid);
  model.features = all;
  model.caches = cache_hierarchy(CacheSet::kLegacy, model.is_amd());
  model.pmu = support.kvm;
  return model;
}

template <std::size_t N>
void apply_defaults(FeatureSet& set, const std::array<DefaultChange, N>& changes) {
  for (const DefaultChange& change : changes) set.set(find_feature(change.feature)->bit, change.on);
}

CpuModel model_of_row(const CpuModelRow& row, const CpuSupport& support) {
  const CpuModelFacts facts = cpu_model_facts(row);
  CpuModel model;
  model.name = facts.name;
  model.vendor = facts.vendor;
  model.signature = facts.signature;
  model.level = facts.level;
  model.xlevel = facts.xlevel;
  model.model_id = facts.model_id;
  model.features = facts.features;
  model.features.set(feature::kHypervisor);
  if (support.kvm)
    apply_defaults(model.features, kKvmDefaults);
  else
    apply_defaults(model.features, kSoftDefaults);
  model.caches = cache_hierarchy(facts.caches, model.is_amd());
  return model;
}

CpuModel starting_model(const CpuConfig& config, const CpuSupport& support, const FeatureSet& supported) {
  if (follows_host(config.model)) return model_of_host(config, support, supported);
  if (const CpuModelRow* row = find_cpu_model(config.model)) return model_of_row(*row, support);
  CpuModel base;  // "base"
  base.name = config.model;
  base.vendor = vendor_of(support.cpuid);
  base.level = 1;
  base.caches = cache_hierarchy(CacheSet::kLegacy, base.is_amd());
  return base;
}

template <class T, class U>
void override_with(T& target, const std::optional<U>& value) {
  if (value) target = *value;
}

void apply_identity(CpuModel& model, const CpuConfig& config) {
  override_with(model.vendor, config.vendor);
  override_with(model.signature.family, config.family);
  override_with(model.signature.model, config.model_number);
  override_with(model.signature.stepping, config.stepping);
  override_with(model.model_id, config.model_id);
  override_with(model.pmu, config.pmu);
  override_with(model.tsc_frequency, config.tsc_frequency);
  if (config.legacy_cache.value_or(false)) model.caches = cache_hierarchy(CacheSet::kLegacy, model.is_amd());
  model.l3_cache = config.l3_cache;
  model.host_cache_info = config.host_cache_info;
  model.cpuid_0xb = config.cpuid_0xb;
  model.vmware_cpuid_freq = config.vmware_cpuid_freq;
}

void apply_features(CpuModel& model, const CpuConfig& config) {
  for (const FeatureChange& change : config.features)
    if (const Feature* feature = find_feature(change.name)) model.features.set(feature->bit, change.on);
  if (!config.kvm) {
    model.features.set_word(FeatureWord::kKvmEax, 0);
    model.features.set_word(FeatureWord::kKvmEdx, 0);
  }
}

/// Raises the highest leaves so that every feature there is can be seen.
void raise_levels(CpuModel& model) {
  std::uint32_t level = 1;
  std::uint32_t xlevel = 0;
  for (const FeatureWordInfo& info : feature_words()) {
    if (info.msr != 0 || model.features.word(info.word) == 0) continue;
    if (info.leaf < kKvmSignatureLeaf) level = std::max(level, info.leaf);
    if (info.leaf >= kExtendedBase && info.leaf < kCentaurBase) xlevel = std::max(xlevel, info.leaf);
    if (info.leaf >= kCentaurBase) model.xlevel2 = std::max(model.xlevel2, info.leaf);
    if (info.leaf == 7) model.level_func7 = std::max(model.level_func7, info.subleaf.value_or(0));
  }
  if (model.has(feature::kXsave)) level = std::max(level, 0xdU);
  if (model.has(feature::kAmxTile)) level = std::max(level, 0x1eU);
  if (model.has(feature::kLm)) xlevel = std::max(xlevel, kExtendedBase + 8);
  if (model.has(feature::kTopoext)) xlevel = std::max(xlevel, kExtendedBase + 0x1e);
  model.level = std::max(model.level, level);
  model.xlevel = std::max(model.xlevel, xlevel);
}

void apply_levels(CpuModel& model, const CpuConfig& config) {
  if (config.full_cpuid_auto_level) raise_levels(model);
  if (config.min_level) model.level = std::max(model.level, *config.min_level);
  if (config.min_xlevel) model.xlevel = std::max(model.xlevel, *config.min_xlevel);
  override_with(model.level, config.level);
  override_with(model.xlevel, config.xlevel);
  override_with(model.xlevel2, config.xlevel2);
  override_with(model.level_func7, config.level_func7);
  model.level_is_fixed = config.level.has_value();
}

Result<unsigned> decide_phys_bits(const CpuModel& model, const CpuConfig& config, const CpuSupport& support) {
  const std::uint32_t host = bits(register_of(support.cpuid, kExtendedBase + 8, CpuidRegister::kEax), 7, 0);
  if (config.phys_bits && *config.phys_bits != 0) {
    if (*config.phys_bits < kLeastPhysBits)
      return fail(ErrorKind::kOutOfRange,
                  "-cpu option 'phys-bits' is {}; it must be from 32 to 52, or 0 for the default", *config.phys_bits);
    return *config.phys_bits;
  }
  if (!model.has(feature::kLm)) return model.has(feature::kPse36) ? 36U : kLeastPhysBits;
  if (host < kLeastPhysBits) return kDefaultPhysBits;
  if (config.host_phys_bits.value_or(follows_host(config.model))) {
    const std::uint32_t limit = config.host_phys_bits_limit.value_or(0);
    return limit >= kLeastPhysBits ? std::min(host, limit) : host;
  }
  return std::min(host, kDefaultPhysBits);
}

/// Takes out of MODEL what the host lacks and returns its names.
std::vector<std::string> drop_unsupported(CpuModel& model, const FeatureSet& supported) {
  const FeatureSet missing = model.features - supported;
  std::vector<std::string> names;
  for (const std::string_view name : missing.names()) names.emplace_back(name);
  model.features &= supported;
  drop_unfounded(model.features);
  return names;
}

}  // namespace

FeatureSet supported_features(const CpuSupport& support) {
  FeatureSet set = features_of(support.cpuid);
  set.set_word(FeatureWord::kArchCapabilities, static_cast<std::uint32_t>(support.arch_capabilities));
  set.set_word(FeatureWord::kCoreCapability, static_cast<std::uint32_t>(support.core_capabilities));
  set.set_word(FeatureWord::kPerfCapabilities, static_cast<std::uint32_t>(support.perf_capabilities));
  set.set(feature::kHypervisor);
  // Decided by the topology, so never missing.
  set.set(feature::kHt);
  set.set(feature::kCmpLegacy);
  if (support.kvm) {
    set.set(feature::kArat);
    set.set(feature::kX2apic, support.kernel_lapic);
    set.set(feature::kTscDeadline, support.kernel_lapic);
    set.set_word(FeatureWord::kKvmEdx, set.word(FeatureWord::kKvmEdx) | 1U);
  }
  drop_unfounded(set);
  return set;
}

Result<ResolvedCpu> resolve_cpu(const CpuConfig& config, const CpuSupport& support) {
  FeatureSet supported = supported_features(support);
  ResolvedCpu resolved;
  CpuModel& model = resolved.model;
  model = starting_model(config, support, supported);
  if (follows_host(config.model)) {
    model.features.set(feature::kHt, false);
    model.features.set(feature::kCmpLegacy, false);
    model.features.set_word(FeatureWord::kKvmEdx, 0);
  }
  apply_identity(model, config);
  apply_features(model, config);
  drop_unfounded(model.features);
  if (!config.force_features) resolved.missing = drop_unsupported(model, supported);
  if (config.enforce && !resolved.missing.empty())
    return fail(ErrorKind::kUnsupported,
                "this host cannot give the CPU '{}' the features {}, and enforce=on was asked for", config.model,
                fmt::join(resolved.missing, ", "));
  if (config.check && !resolved.missing.empty())
    resolved.warnings.push_back(
        fmt::format("this host cannot give the CPU '{}' the features {}; the guest runs without them", config.model,
                    fmt::join(resolved.missing, ", ")));
  resolved.warnings.insert(resolved.warnings.end(), config.notes.begin(), config.notes.end());
  apply_levels(model, config);
  DOPPEL_ASSIGN(model.phys_bits, decide_phys_bits(model, config, support));
  model.kvm_signature = config.kvm && support.kvm && model.features.has(feature::kHypervisor);
  return resolved;
}

}  // namespace doppel::x86
