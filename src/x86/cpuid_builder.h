// The CPUID table of one vCPU: what a CpuModel says of itself at one place of a topology.
#pragma once

#include <cstdint>

#include "x86/cpu_model.h"
#include "x86/cpuid.h"
#include "x86/topology.h"

namespace doppel::x86 {

/// All leaves from 0 to the model's level, KVM's own, and 80000000 to its xlevel (SDM 2A CPUID; AMD APM 3 appendix E).
/// INDEX counts processors, threads first. SUPPORTED is the accelerator's table: the layout of XSAVE areas, performance
/// counters, processor trace and, with host_cache_info, the caches come from it. Indexed leaves have an empty row at
/// their end where guests count on one.
CpuidTable build_cpuid(const CpuModel& model, const CpuTopology& topology, unsigned index, const CpuidTable& supported);

/// Bytes of a standard-format XSAVE area for XCR0, by the layout that TABLE's leaf D shows, else by Intel's.
std::uint32_t xsave_area_size(const CpuidTable& table, std::uint64_t xcr0);

}  // namespace doppel::x86
