// The model-specific registers that hold a value and nothing else; those with a meaning of their own (EFER, APIC base,
// TSC, FS and GS base) are kept where they act.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

#include "x86/msr.h"

namespace doppel::accel::soft {

struct MsrFile {
  std::uint64_t star = 0;
  std::uint64_t lstar = 0;
  std::uint64_t cstar = 0;
  std::uint64_t sfmask = 0;
  std::uint64_t kernel_gs_base = 0;
  std::uint64_t sysenter_cs = 0;
  std::uint64_t sysenter_esp = 0;
  std::uint64_t sysenter_eip = 0;
  std::uint64_t tsc_offset = 0;  // guest TSC minus host TSC
  std::uint64_t tsc_adjust = 0;
  std::uint64_t tsc_aux = 0;
  std::uint64_t misc_enable = x86::msr::kMiscEnableFastStrings;
  std::uint64_t pat = x86::msr::kPatReset;
  std::uint64_t mtrr_def_type = 0;
  std::array<std::uint64_t, std::size_t{2} * x86::msr::kMtrrVariableCount> mtrr_variable{};
  std::array<std::uint64_t, 11> mtrr_fixed{};
  std::uint64_t spec_ctrl = 0;
  std::uint64_t xss = 0;
  std::uint64_t hwcr = 0;  // AMD
  std::uint64_t mcg_status = 0;
  std::uint64_t mcg_ctl = 0;
  std::array<std::uint64_t, std::size_t{4} * x86::msr::kMcBankCount> machine_check{};
  std::uint64_t kvm_system_time = 0;
  std::uint64_t kvm_wall_clock = 0;
  // What the processor is said to be: guests read these, the host alone sets them.
  std::uint64_t arch_capabilities = 0;
  std::uint64_t core_capabilities = 0;
  std::uint64_t perf_capabilities = 0;
};

/// The registers that the guest's RDMSR and WRMSR leave run() for. Changed in Rendezvous::exclusive() alone.
struct MsrExits {
  std::vector<std::uint32_t> indexes;  // sorted
  bool unknown = false;                // and those that nobody here knows
  [[nodiscard]] bool contains(std::uint32_t index) const { return std::ranges::binary_search(indexes, index); }
};

}  // namespace doppel::accel::soft
