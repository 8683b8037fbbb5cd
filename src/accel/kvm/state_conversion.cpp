#include "accel/kvm/state_conversion.h"

#include <algorithm>
#include <utility>

namespace doppel::accel::kvm {

namespace {

/// CpuState's register indexes (the encoding's order) beside the kernel's members.
constexpr std::pair<x86::Gpr, __u64 kvm_regs::*> kRegisters[] = {
    {x86::kRax, &kvm_regs::rax}, {x86::kRcx, &kvm_regs::rcx}, {x86::kRdx, &kvm_regs::rdx}, {x86::kRbx, &kvm_regs::rbx},
    {x86::kRsp, &kvm_regs::rsp}, {x86::kRbp, &kvm_regs::rbp}, {x86::kRsi, &kvm_regs::rsi}, {x86::kRdi, &kvm_regs::rdi},
    {x86::kR8, &kvm_regs::r8},   {x86::kR9, &kvm_regs::r9},   {x86::kR10, &kvm_regs::r10}, {x86::kR11, &kvm_regs::r11},
    {x86::kR12, &kvm_regs::r12}, {x86::kR13, &kvm_regs::r13}, {x86::kR14, &kvm_regs::r14}, {x86::kR15, &kvm_regs::r15},
};

constexpr std::pair<x86::SegmentName, kvm_segment kvm_sregs::*> kSegments[] = {
    {x86::kEs, &kvm_sregs::es}, {x86::kCs, &kvm_sregs::cs}, {x86::kSs, &kvm_sregs::ss},
    {x86::kDs, &kvm_sregs::ds}, {x86::kFs, &kvm_sregs::fs}, {x86::kGs, &kvm_sregs::gs},
};

x86::Segment from_kvm(const kvm_segment& segment) {
  return {
      .base = segment.base,
      .limit = segment.limit,
      .selector = segment.selector,
      .type = segment.type,
      .dpl = segment.dpl,
      .present = segment.present != 0,
      .code_or_data = segment.s != 0,
      .default_big = segment.db != 0,
      .long_mode = segment.l != 0,
      .granularity = segment.g != 0,
      .available = segment.avl != 0,
      .unusable = segment.unusable != 0,
  };
}

kvm_segment to_kvm(const x86::Segment& segment) {
  return {
      .base = segment.base,
      .limit = segment.limit,
      .selector = segment.selector,
      .type = segment.type,
      .present = segment.present,
      .dpl = segment.dpl,
      .db = segment.default_big,
      .s = segment.code_or_data,
      .l = segment.long_mode,
      .g = segment.granularity,
      .avl = segment.available,
      .unusable = segment.unusable,
      .padding = 0,
  };
}

x86::DescriptorTable from_kvm(const kvm_dtable& table) {
  return {.base = table.base, .limit = table.limit};
}
kvm_dtable to_kvm(const x86::DescriptorTable& table) {
  return {.base = table.base, .limit = table.limit, .padding = {}};
}

}  // namespace

void from_kvm(const kvm_regs& regs, x86::CpuState& state) {
  for (const auto& [index, member] : kRegisters) state.gpr[index] = regs.*member;
  state.rip = regs.rip;
  state.rflags = regs.rflags;
}

void to_kvm(const x86::CpuState& state, kvm_regs& regs) {
  for (const auto& [index, member] : kRegisters) regs.*member = state.gpr[index];
  regs.rip = state.rip;
  regs.rflags = state.rflags;
}

void from_kvm(const kvm_sregs& sregs, x86::CpuState& state) {
  for (const auto& [name, member] : kSegments) state.segment[name] = from_kvm(sregs.*member);
  state.tr = from_kvm(sregs.tr);
  state.ldt = from_kvm(sregs.ldt);
  state.gdt = from_kvm(sregs.gdt);
  state.idt = from_kvm(sregs.idt);
  state.cr0 = sregs.cr0;
  state.cr2 = sregs.cr2;
  state.cr3 = sregs.cr3;
  state.cr4 = sregs.cr4;
  state.cr8 = sregs.cr8;
  state.efer = sregs.efer;
  state.apic_base = sregs.apic_base;
}

void to_kvm(const x86::CpuState& state, kvm_sregs& sregs) {
  sregs = {};
  for (const auto& [name, member] : kSegments) sregs.*member = to_kvm(state.segment[name]);
  sregs.tr = to_kvm(state.tr);
  sregs.ldt = to_kvm(state.ldt);
  sregs.gdt = to_kvm(state.gdt);
  sregs.idt = to_kvm(state.idt);
  sregs.cr0 = state.cr0;
  sregs.cr2 = state.cr2;
  sregs.cr3 = state.cr3;
  sregs.cr4 = state.cr4;
  sregs.cr8 = state.cr8;
  sregs.efer = state.efer;
  sregs.apic_base = state.apic_base;
}

void from_kvm(const kvm_vcpu_events& events, x86::PendingEvents& state) {
  state.exception = {
      .injected = events.exception.injected != 0,
      .pending = (events.flags & KVM_VCPUEVENT_VALID_PAYLOAD) != 0 && events.exception.pending != 0,
      .vector = events.exception.nr,
      .has_error_code = events.exception.has_error_code != 0,
      .error_code = events.exception.error_code,
      .has_payload = (events.flags & KVM_VCPUEVENT_VALID_PAYLOAD) != 0 && events.exception_has_payload != 0,
      .payload = events.exception_payload,
  };
  state.interrupt = {
      .injected = events.interrupt.injected != 0, .vector = events.interrupt.nr, .soft = events.interrupt.soft != 0};
  state.nmi = {
      .injected = events.nmi.injected != 0, .pending = events.nmi.pending != 0, .masked = events.nmi.masked != 0};
  state.sti_shadow = (events.interrupt.shadow & KVM_X86_SHADOW_INT_STI) != 0;
  state.mov_ss_shadow = (events.interrupt.shadow & KVM_X86_SHADOW_INT_MOV_SS) != 0;
  state.smm = events.smi.smm != 0;
  state.smi_pending = events.smi.pending != 0;
  state.sipi_vector = events.sipi_vector;
}

void to_kvm(const x86::PendingEvents& state, std::uint32_t flags, kvm_vcpu_events& events) {
  events = {};
  events.flags = flags;
  const bool has_pending = (flags & KVM_VCPUEVENT_VALID_PAYLOAD) != 0;
  const auto& exception = state.exception;
  // Without payloads the kernel knows only injected exceptions. One that is both is refused.
  events.exception.injected = exception.injected || (exception.pending && !has_pending);
  events.exception.pending = has_pending && exception.pending && !exception.injected;
  events.exception.nr = exception.vector;
  events.exception.has_error_code = exception.has_error_code;
  events.exception.error_code = exception.error_code;
  events.exception_has_payload = has_pending && exception.has_payload;
  events.exception_payload = has_pending ? exception.payload : 0;
  events.interrupt.injected = state.interrupt.injected;
  events.interrupt.nr = state.interrupt.vector;
  events.interrupt.soft = state.interrupt.soft;
  events.interrupt.shadow = static_cast<__u8>((state.sti_shadow ? KVM_X86_SHADOW_INT_STI : 0) |
                                              (state.mov_ss_shadow ? KVM_X86_SHADOW_INT_MOV_SS : 0));
  events.nmi.injected = state.nmi.injected;
  events.nmi.pending = state.nmi.pending;
  events.nmi.masked = state.nmi.masked;
  events.smi.smm = state.smm;
  events.smi.pending = state.smi_pending;
  events.sipi_vector = state.sipi_vector;
}

bool leaves_room_for_interrupt(const kvm_vcpu_events& events) {
  return events.interrupt.shadow == 0 && events.interrupt.injected == 0 && events.nmi.injected == 0 &&
         events.exception.injected == 0 && events.exception.pending == 0;
}

void from_kvm(const kvm_debugregs& registers, x86::CpuState& state) {
  std::ranges::copy(registers.db, state.dr.begin());
  state.dr6 = registers.dr6;
  state.dr7 = registers.dr7;
}

void to_kvm(const x86::CpuState& state, kvm_debugregs& registers) {
  registers = {};
  std::ranges::copy(state.dr, registers.db);
  registers.dr6 = state.dr6;
  registers.dr7 = state.dr7;
}

x86::CpuidEntry from_kvm(const kvm_cpuid_entry2& entry) {
  x86::CpuidEntry result{
      .leaf = entry.function, .subleaf = {}, .eax = entry.eax, .ebx = entry.ebx, .ecx = entry.ecx, .edx = entry.edx};
  if ((entry.flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX) != 0) result.subleaf = entry.index;
  return result;
}

kvm_cpuid_entry2 to_kvm(const x86::CpuidEntry& entry) {
  kvm_cpuid_entry2 result{};
  result.function = entry.leaf;
  result.index = entry.subleaf.value_or(0);
  result.flags = entry.subleaf ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0;
  result.eax = entry.eax;
  result.ebx = entry.ebx;
  result.ecx = entry.ecx;
  result.edx = entry.edx;
  return result;
}

}  // namespace doppel::accel::kvm
