// Reading CPUID tables, and the host's own CPUID instruction.
#pragma once

#include <cstdint>
#include <string>

#include "x86/cpuid.h"
#include "x86/features.h"

namespace doppel::x86 {

/// Where KVM's paravirtual leaves begin (the kernel's Documentation/virt/kvm/x86/cpuid.rst).
inline constexpr std::uint32_t kKvmSignatureLeaf = 0x40000000;

/// The row for LEAF and SUBLEAF; rows without sub-leaves answer to any. Null if the table has none.
const CpuidEntry* find_cpuid(const CpuidTable& table, std::uint32_t leaf, std::uint32_t subleaf = 0);
CpuidEntry* find_cpuid(CpuidTable& table, std::uint32_t leaf, std::uint32_t subleaf = 0);

std::uint32_t cpuid_register(const CpuidEntry& entry, CpuidRegister reg);

/// Twelve characters out of leaf 0 or 80000000; empty if the table lacks it.
std::string vendor_of(const CpuidTable& table);
/// The brand string of leaves 80000002 to 80000004, without the NULs at its end.
std::string brand_of(const CpuidTable& table);

/// CPUID as this very host executes it, in user mode.
CpuidEntry host_cpuid(std::uint32_t leaf, std::uint32_t subleaf = 0);
/// All leaves and sub-leaves of the host that a guest table may be made from. Per-processor fields are those of the
/// processor that happens to run this.
CpuidTable host_cpuid_table();

}  // namespace doppel::x86
