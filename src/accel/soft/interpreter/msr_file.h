// The model-specific registers that hold a value and nothing else; those with a meaning of their own (EFER, APIC base,
// TSC, FS and GS base) are kept where they act.
#pragma once

#include <array>
#include <cstdint>

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
  std::uint64_t debug_ctl = 0;
  std::uint64_t mcg_status = 0;
  std::uint64_t mcg_ctl = 0;
  std::array<std::uint64_t, std::size_t{4} * x86::msr::kMcBankCount> machine_check{};
  std::uint64_t kvm_system_time = 0;
  std::uint64_t kvm_wall_clock = 0;
};

}  // namespace doppel::accel::soft
