// From the text of -cpu to the processor a guest will see.
//
//   parse_cpu_option("Haswell,+avx2,-hle,level=13")  -> CpuConfig: what was asked for
//   resolve_cpu(config, support)                     -> CpuModel: what this host can give, and what was left out
//   build_cpuid(model, ...)  (cpuid_builder.h)       -> the table of one vCPU
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "x86/cache_info.h"
#include "x86/cpu_models.h"
#include "x86/cpuid.h"
#include "x86/features.h"

namespace doppel::x86 {

/// One "+name", "-name" or "name=on|off"; NAME is the feature table's spelling.
struct FeatureChange {
  std::string name;
  bool on = true;
  bool operator==(const FeatureChange&) const = default;
};

/// -cpu as plain data. What is empty follows the model. Members are named after QEMU's properties.
struct CpuConfig {
  std::string model = "qemu64";
  std::vector<FeatureChange> features;  // a later one wins

  std::optional<std::string> vendor;  // 12 characters
  std::optional<std::uint32_t> family;
  std::optional<std::uint32_t> model_number;
  std::optional<std::uint32_t> stepping;
  std::optional<std::string> model_id;  // up to 48 characters
  std::optional<std::uint32_t> level;
  std::optional<std::uint32_t> min_level;
  std::optional<std::uint32_t> xlevel;
  std::optional<std::uint32_t> min_xlevel;
  std::optional<std::uint32_t> xlevel2;
  std::optional<std::uint32_t> level_func7;
  std::optional<std::uint32_t> phys_bits;
  std::optional<std::uint32_t> host_phys_bits_limit;
  std::optional<bool> host_phys_bits;
  std::optional<bool> pmu;
  std::optional<bool> legacy_cache;
  std::optional<std::uint64_t> tsc_frequency;  // Hz

  bool check = true;     // name the features that the host lacks
  bool enforce = false;  // and refuse to start without them
  bool force_features = false;
  bool migratable = true;  // host and max: leave out what cannot move to another host
  bool kvm = true;         // show KVM's signature and paravirtual features
  bool l3_cache = true;
  bool host_cache_info = false;
  bool cpuid_0xb = true;
  bool vmware_cpuid_freq = true;
  bool full_cpuid_auto_level = true;

  std::vector<std::string> notes;  // one sentence for each option accepted without effect
  bool operator==(const CpuConfig&) const = default;
};

/// "MODEL[,+FEATURE|,-FEATURE|,NAME=VALUE]...". The error is one sentence, with the nearest spelling of a wrong name.
Result<CpuConfig> parse_cpu_option(std::string_view text);

/// What an accelerator offers on this host.
struct CpuSupport {
  CpuidTable cpuid;
  std::uint64_t arch_capabilities = 0;  // IA32_ARCH_CAPABILITIES, 0 if there is none
  std::uint64_t core_capabilities = 0;
  std::uint64_t perf_capabilities = 0;
  bool kvm = false;           // hardware virtualisation by KVM: its defaults and paravirtual features apply
  bool kernel_lapic = false;  // KVM with the local APIC in the kernel: x2apic and tsc-deadline are there
};

/// The features of SUPPORT, corrected for what accelerators leave unsaid (hypervisor, arat, APIC modes).
FeatureSet supported_features(const CpuSupport& support);

/// A processor, decided upon.
struct CpuModel {
  std::string name;
  std::string vendor;  // 12 characters
  Signature signature;
  std::uint32_t level = 0;    // highest basic leaf
  std::uint32_t xlevel = 0;   // highest extended leaf, or 0
  std::uint32_t xlevel2 = 0;  // highest leaf of Centaur's range, or 0
  std::uint32_t level_func7 = 0;
  bool level_is_fixed = false;  // the user's word: topology leaves do not raise it
  std::string model_id;
  FeatureSet features;
  CacheHierarchy caches;
  unsigned phys_bits = 40;
  bool kvm_signature = false;
  bool pmu = false;
  bool l3_cache = true;
  bool host_cache_info = false;
  bool cpuid_0xb = true;
  bool vmware_cpuid_freq = true;
  std::uint64_t tsc_frequency = 0;  // Hz, 0: the host's

  [[nodiscard]] bool has(FeatureBit bit) const { return features.has(bit); }
  [[nodiscard]] bool is_amd() const { return vendor == "AuthenticAMD" || vendor == "HygonGenuine"; }
  [[nodiscard]] bool is_intel() const { return vendor == "GenuineIntel"; }
  [[nodiscard]] std::uint64_t xcr0() const { return xcr0_of(features); }
  /// Values for the capability MSRs; to be set where the feature says that the MSR exists.
  [[nodiscard]] std::uint32_t arch_capabilities() const { return features.word(FeatureWord::kArchCapabilities); }
};

struct ResolvedCpu {
  CpuModel model;
  std::vector<std::string> missing;   // features wanted that the host lacks
  std::vector<std::string> warnings;  // for the user, one sentence each
};

/// kUnsupported with enforce=on if a feature is missing; kInvalidArgument if values contradict each other.
Result<ResolvedCpu> resolve_cpu(const CpuConfig& config, const CpuSupport& support);

/// Everything `-cpu help` prints: models, then feature names, in QEMU's form.
std::string cpu_help();

}  // namespace doppel::x86
