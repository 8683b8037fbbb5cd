// SoftVcpu's state, part by part.
#include <algorithm>
#include <utility>

#include "accel/soft/interpreter/control_registers.h"
#include "accel/soft/interpreter/core_state.h"
#include "accel/soft/interpreter/extended_state.h"
#include "accel/soft/interpreter/msrs.h"
#include "accel/soft/interpreter/paging.h"
#include "accel/soft/vcpu.h"
#include "x86/cpu_reset.h"
#include "x86/cpuid_table.h"
#include "x86/msr.h"

namespace doppel::accel::soft {

using enum x86::StateParts;

/// As after power-on, but running: who waits for a start-up message is the local APIC's business.
void SoftVcpu::reset() {
  const Inside inside(vm_.machine.rendezvous);
  x86::ResetParameters parameters;
  parameters.apic_id = id();
  load_core_state(cpu_, x86::reset_state(parameters), kAll);
  cpu_.fpu.reset();
  cpu_.xcr0 = x86::xcr::kX87;
}

Result<> SoftVcpu::set_cpuid(const x86::CpuidTable& table) {
  constexpr std::uint32_t kAddressSizes = 0x8000'0008;
  constexpr unsigned kDefaultPhysBits = 36;
  constexpr unsigned kMostPhysBits = 52;
  constexpr std::size_t kMostEntries = 256;  // CPUID searches them
  if (table.size() > kMostEntries)
    return fail(ErrorKind::kInvalidArgument, "a CPUID table of {} entries; there can be {}", table.size(),
                kMostEntries);
  cpu_.cpuid = table;
  // What the table shows beyond what there is stays #UD.
  cpu_.features = x86::features_of(table) & vm_.supported;
  const x86::CpuidEntry* sizes = x86::find_cpuid(table, kAddressSizes);
  cpu_.phys_bits = sizes == nullptr ? kDefaultPhysBits : std::clamp(sizes->eax & 0xffU, 32U, kMostPhysBits);
  const Inside inside(vm_.machine.rendezvous);
  cpu_.tlb.flush_all();
  interpreter_.forget_code();
  return {};
}

Result<> SoftVcpu::get_state(x86::CpuState& state, x86::StateParts parts) {
  save_core_state(cpu_, state, parts);
  if (contains(parts, kFpu)) {
    state.xsave = save_xsave_image(cpu_);
    state.xcr0 = cpu_.xcr0;
  }
  if (contains(parts, kMsrs)) get_msrs(state.msrs);
  if (contains(parts, kLapic)) state.lapic.clear();
  if (contains(parts, kMpState)) state.mp_state = mp_state_;
  return {};
}

Result<> SoftVcpu::set_state(const x86::CpuState& state, x86::StateParts parts) {
  const Inside inside(vm_.machine.rendezvous);
  if (contains(parts, kSystem)) DOPPEL_TRY(check_system(state));
  if (contains(parts, kFpu)) DOPPEL_TRY(set_fpu(state));
  if (contains(parts, kSystem) || (contains(parts, kRegisters) && state.rip != cpu_.rip)) forget_access();
  load_core_state(cpu_, state, parts);
  if (contains(parts, kSystem)) {
    cpu_.stop = StopReason::kNone;
    reload_page_directory_pointers();
  }
  if (contains(parts, kDebug)) {
    cpu_.dr6 = dr6_with_fixed_bits(state.dr6);
    cpu_.dr7 = dr7_with_fixed_bits(state.dr7);
    breakpoints_changed(cpu_);
  }
  if (contains(parts, kRegisters)) mp_state_ = x86::MpState::kRunnable;
  if (contains(parts, kMpState)) mp_state_ = state.mp_state;
  if (contains(parts, kMsrs)) return set_msrs(state.msrs);
  return {};
}

Result<> SoftVcpu::check_system(const x86::CpuState& state) const {
  if (is_consistent(cpu_.features, cpu_.phys_bits, state.cr0, state.cr3, state.cr4, state.efer)) return {};
  return fail(ErrorKind::kInvalidArgument,
              "no processor of this model can have CR0 {:#x}, CR3 {:#x}, CR4 {:#x} and EFER {:#x}", state.cr0,
              state.cr3, state.cr4, state.efer);
}

/// PAE paging's registers are no part of the state: they are what memory has. A failure shows at the next access.
void SoftVcpu::reload_page_directory_pointers() {
  if (!cpu_.paging() || cpu_.long_mode || (cpu_.cr4 & x86::cr4::kPae) == 0) return;
  (void)load_pdptes(cpu_);
}

Result<> SoftVcpu::set_fpu(const x86::CpuState& state) {
  const std::uint64_t known = x86::xcr0_of(cpu_.features) | x86::xcr::kX87;
  if ((state.xcr0 & x86::xcr::kX87) == 0 || (state.xcr0 & ~known) != 0)
    return fail(ErrorKind::kUnsupported, "no processor of this model can have XCR0 {:#x}", state.xcr0);
  if (state.xsave.empty())
    DOPPEL_TRY(load_xsave_image(cpu_, x86::initial_xsave_area(x86::kXsaveMinimumSize)));
  else
    DOPPEL_TRY(load_xsave_image(cpu_, state.xsave));
  cpu_.xcr0 = state.xcr0;
  return {};
}

void SoftVcpu::get_msrs(std::vector<x86::Msr>& msrs) const {
  msrs.clear();
  for (const std::uint32_t index : vm_.saved_msrs) {
    std::uint64_t value = 0;
    if (read_msr(cpu_, index, value) == MsrStatus::kDone) msrs.push_back({index, value});
  }
}

/// A register that refuses its own present value is read-only, one that this model lacks held nothing if it is at its
/// reset value: nothing is lost. Any other refusal is reported once all others are written.
Result<> SoftVcpu::set_msrs(const std::vector<x86::Msr>& msrs) {
  const x86::Msr* refused = nullptr;
  for (const x86::Msr& msr : msrs) {
    const MsrStatus status = write_msr(cpu_, msr.index, msr.value, MsrWriter::kHost);
    if (status == MsrStatus::kDone) continue;
    if (status == MsrStatus::kUnknown && msr.value == x86::msr_reset_value(msr.index)) continue;
    std::uint64_t present = 0;
    if (read_msr(cpu_, msr.index, present) != MsrStatus::kDone || present != msr.value) refused = &msr;
  }
  if (refused == nullptr) return {};
  return fail(ErrorKind::kUnsupported, "no processor of this model can have the value {:#x} in MSR {:#x}",
              refused->value, refused->index);
}

}  // namespace doppel::accel::soft
