// x86::CpuState to and from the kernel's structures, part by part.
#pragma once

#include "accel/kvm/kvm_abi.h"
#include "x86/cpu_state.h"
#include "x86/cpuid.h"

namespace doppel::accel::kvm {

void from_kvm(const kvm_regs& regs, x86::CpuState& state);
void to_kvm(const x86::CpuState& state, kvm_regs& regs);

void from_kvm(const kvm_sregs& sregs, x86::CpuState& state);
/// The interrupt bitmap stays empty: pending interrupts travel with the events.
void to_kvm(const x86::CpuState& state, kvm_sregs& sregs);

void from_kvm(const kvm_vcpu_events& events, x86::PendingEvents& state);
/// FLAGS: which optional fields the kernel is to take (KVM_VCPUEVENT_VALID_*).
void to_kvm(const x86::PendingEvents& state, std::uint32_t flags, kvm_vcpu_events& events);

/// With RFLAGS.IF set: is nothing else in an external interrupt's way (SDM 3A 6.8.3)?
[[nodiscard]] bool leaves_room_for_interrupt(const kvm_vcpu_events& events);

void from_kvm(const kvm_debugregs& registers, x86::CpuState& state);
void to_kvm(const x86::CpuState& state, kvm_debugregs& registers);

[[nodiscard]] x86::CpuidEntry from_kvm(const kvm_cpuid_entry2& entry);
[[nodiscard]] kvm_cpuid_entry2 to_kvm(const x86::CpuidEntry& entry);

}  // namespace doppel::accel::kvm
