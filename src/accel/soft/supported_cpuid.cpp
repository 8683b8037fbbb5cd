#include "accel/soft/supported_cpuid.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "accel/soft/interpreter/native_stub.h"
#include "base/bits.h"
#include "x86/cpu_reset.h"
#include "x86/cpuid_builder.h"
#include "x86/cpuid_table.h"

namespace doppel::accel::soft {

namespace {

/// What needs nothing of the host.
constexpr auto kInterpreted = std::to_array<std::string_view>({
    // CPUID.1
    "vme",
    "de",
    "pse",
    "tsc",
    "msr",
    "pae",
    "mce",
    "cx8",
    "apic",
    "sep",
    "mtrr",
    "pge",
    "mca",
    "cmov",
    "pat",
    "pse36",
    "clflush",
    "fxsr",
    "ss",
    "ht",
    "cx16",
    "pcid",
    "x2apic",
    "tsc-deadline",
    "xsave",
    "hypervisor",
    // CPUID.7
    "fsgsbase",
    "tsc-adjust",
    "smep",
    "erms",
    "invpcid",
    "smap",
    "clflushopt",
    "clwb",
    "umip",
    "pku",
    "la57",
    "rdpid",
    "cldemote",
    "fsrm",
    "md-clear",
    "serialize",
    "spec-ctrl",
    "stibp",
    "flush-l1d",
    "arch-capabilities",
    "ssbd",
    "fzrm",
    "fsrs",
    "fsrc",
    // CPUID.6 and D
    "arat",
    "xsaveopt",
    "xsavec",
    "xgetbv1",
    "xsaves",
    // CPUID.80000001 and on
    "syscall",
    "nx",
    "pdpe1gb",
    "rdtscp",
    "lm",
    "lahf-lm",
    "cmp-legacy",

    "3dnowprefetch",
    "osvw",
    "topoext",
    "wbnoinvd",
    "ibpb",
    "ibrs",
    "amd-stibp",
    "amd-ssbd",
    // CPUID.40000001
    "kvmclock",
    "kvm-nopiodelay",
    "kvmclock-stable-bit",
});

/// Leaves that are the host's to tell; all others tell of features or are left out.
constexpr auto kHostLeaves = std::to_array<std::uint32_t>({
    0,
    1,
    2,
    4,
    0xb,
    0x1f,
    0x8000'0000,
    0x8000'0001,
    0x8000'0002,
    0x8000'0003,
    0x8000'0004,
    0x8000'0005,
    0x8000'0006,
    0x8000'0008,
    0x8000'001d,
    0x8000'001e,
});

constexpr std::uint32_t kExtendedBase = 0x8000'0000;

std::uint32_t& register_of(x86::CpuidEntry& entry, x86::CpuidRegister reg) {
  switch (reg) {
    case x86::CpuidRegister::kEax: return entry.eax;
    case x86::CpuidRegister::kEbx: return entry.ebx;
    case x86::CpuidRegister::kEcx: return entry.ecx;
    default: return entry.edx;
  }
}

/// The row for LEAF and SUBLEAF, made if there is none.
x86::CpuidEntry& row(x86::CpuidTable& table, std::uint32_t leaf, std::optional<std::uint32_t> subleaf) {
  if (x86::CpuidEntry* found = x86::find_cpuid(table, leaf, subleaf.value_or(0))) return *found;
  return table.emplace_back(x86::CpuidEntry{.leaf = leaf, .subleaf = subleaf});
}

void write_features(x86::CpuidTable& table, const x86::FeatureSet& features) {
  for (const x86::FeatureWordInfo& info : x86::feature_words()) {
    const std::uint32_t word = features.word(info.word);
    if (info.msr != 0 || (word == 0 && x86::find_cpuid(table, info.leaf, info.subleaf.value_or(0)) == nullptr))
      continue;
    register_of(row(table, info.leaf, info.subleaf), info.reg) = word;
  }
  std::uint32_t last_subleaf = 0;
  for (const x86::CpuidEntry& entry : table)
    if (entry.leaf == 7) last_subleaf = std::max(last_subleaf, entry.subleaf.value_or(0));
  row(table, 7, 0).eax = last_subleaf;
}

/// Leaf D with the components where Intel's processors have them.
void write_xsave_layout(x86::CpuidTable& table, const x86::FeatureSet& features) {
  const std::uint64_t xcr0 = x86::xcr0_of(features);
  const std::uint64_t xss = x86::xss_of(features);
  for (const x86::XsaveComponent& component : x86::xsave_components()) {
    if (!test_bit(component.supervisor ? xss : xcr0, component.index)) continue;
    x86::CpuidEntry& entry = row(table, 0xd, component.index);
    entry.eax = component.size;
    entry.ebx = component.offset;
    entry.ecx = component.flags;
  }
  const std::uint32_t largest = x86::xsave_area_size(table, xcr0);
  x86::CpuidEntry& user = row(table, 0xd, 0);
  user.eax = static_cast<std::uint32_t>(xcr0);
  user.edx = static_cast<std::uint32_t>(xcr0 >> 32U);
  user.ebx = x86::kXsaveMinimumSize;
  user.ecx = largest;
  x86::CpuidEntry& supervisor = row(table, 0xd, 1);
  supervisor.ebx = x86::kXsaveMinimumSize;
  supervisor.ecx = static_cast<std::uint32_t>(xss);
  supervisor.edx = static_cast<std::uint32_t>(xss >> 32U);
}

void write_address_sizes(x86::CpuidTable& table, const x86::FeatureSet& features) {
  constexpr std::uint32_t kUsualPhysBits = 40;
  constexpr std::uint32_t kMostPhysBits = 52;
  x86::CpuidEntry& sizes = row(table, 0x8000'0008, {});
  const std::uint32_t host = sizes.eax & 0xff;
  const std::uint32_t phys_bits = host < 32 || host > kMostPhysBits ? kUsualPhysBits : host;
  sizes.eax = phys_bits | (features.has(x86::feature::kLa57) ? 57U : 48U) << 8U;
}

void write_limits(x86::CpuidTable& table) {
  std::uint32_t basic = 0;
  std::uint32_t extended = kExtendedBase;
  for (const x86::CpuidEntry& entry : table) {
    if (entry.leaf >= kExtendedBase) extended = std::max(extended, entry.leaf);
    if (entry.leaf < x86::kKvmSignatureLeaf) basic = std::max(basic, entry.leaf);
  }
  row(table, 0, {}).eax = basic;
  row(table, kExtendedBase, {}).eax = extended;
  // "KVMKVMKVM", for the paravirtual clock.
  x86::CpuidEntry& signature = row(table, x86::kKvmSignatureLeaf, {});
  signature.eax = x86::kKvmSignatureLeaf + 1;
  signature.ebx = 0x4b4d'564b;
  signature.ecx = 0x564b'4d56;
  signature.edx = 0x4d;
}

}  // namespace

x86::FeatureSet supported_features() {
  x86::FeatureSet features = host_native_features();
  for (const std::string_view name : kInterpreted) features.set(x86::find_feature(name)->bit);
  // Whether the counter runs at one rate is the host's to say.
  const x86::FeatureSet host = x86::features_of(x86::host_cpuid_table());
  features.set(x86::feature::kInvtsc, host.has(x86::feature::kInvtsc));
  x86::drop_unfounded(features);
  return features;
}

x86::CpuidTable supported_cpuid() {
  const x86::FeatureSet features = supported_features();
  x86::CpuidTable table;
  for (const x86::CpuidEntry& entry : x86::host_cpuid_table())
    if (std::ranges::find(kHostLeaves, entry.leaf) != kHostLeaves.end()) table.push_back(entry);
  write_features(table, features);
  write_xsave_layout(table, features);
  write_address_sizes(table, features);
  write_limits(table);
  std::ranges::sort(table, {},
                    [](const x86::CpuidEntry& entry) { return std::pair(entry.leaf, entry.subleaf.value_or(0)); });
  return table;
}

}  // namespace doppel::accel::soft
