#include "accel/soft/interpreter/system_calls.h"

#include "accel/soft/interpreter/cpu.h"
#include "accel/soft/interpreter/segments.h"
#include "base/bits.h"
#include "x86/page_table.h"

namespace doppel::accel::soft {

namespace rflags = x86::rflags;

namespace {

// IA32_STAR's fields: what CS and SS come from.
std::uint16_t star_syscall(const Cpu& cpu) {
  return static_cast<std::uint16_t>(bits(cpu.msrs.star, 47, 32));
}
std::uint16_t star_sysret(const Cpu& cpu) {
  return static_cast<std::uint16_t>(bits(cpu.msrs.star, 63, 48));
}

/// Flat segments that no table is asked for.
void set_flat_segments(Cpu& cpu, unsigned code, unsigned stack, std::uint8_t level, bool wide) {
  x86::Segment& cs = cpu.segment[x86::kCs];
  cs = x86::flat_segment(static_cast<std::uint16_t>((code & 0xfffcU) | level), true, wide);
  cs.dpl = level;
  x86::Segment& ss = cpu.segment[x86::kSs];
  ss = x86::flat_segment(static_cast<std::uint16_t>((stack & 0xfffcU) | level), false);
  ss.dpl = level;
}

void finish(Cpu& cpu) {
  cpu.rflags |= rflags::kFixed;
  cpu.update_mode();
  cpu.leave_block = true;
}

/// AMD's SYSCALL without long mode: EIP from STAR, ECX takes the return address.
void syscall_legacy(Cpu& cpu) {
  const std::uint16_t code = star_syscall(cpu);
  cpu.gpr[x86::kRcx] = cpu.rip & 0xffff'ffffU;
  cpu.rip = cpu.msrs.star & 0xffff'ffffU;
  cpu.rflags &= ~(rflags::kVm | rflags::kIf | rflags::kRf);
  set_flat_segments(cpu, code, code + 8U, 0, false);
  finish(cpu);
}

void syscall(Cpu& cpu, const Instruction&) {
  if ((cpu.efer & x86::efer::kSce) == 0) raise_ud();
  const bool in_64_bit = cpu.code_mode == CodeMode::kLong64;
  if (!in_64_bit && !is_amd(cpu)) raise_ud();
  if (!cpu.long_mode) {
    if (!cpu.protected_mode) raise_ud();
    return syscall_legacy(cpu);
  }
  cpu.gpr[x86::kRcx] = cpu.rip;
  cpu.gpr[x86::kR11] = cpu.rflags & ~rflags::kRf;
  cpu.rip = in_64_bit ? cpu.msrs.lstar : cpu.msrs.cstar;
  cpu.rflags &= ~(cpu.msrs.sfmask | rflags::kRf);
  const std::uint16_t code = star_syscall(cpu);
  set_flat_segments(cpu, code, (code & 0xfffcU) + 8U, 0, true);
  finish(cpu);
}

/// SS after SYSRET: AMD's change the selector and the privilege alone.
void sysret_segments(Cpu& cpu, unsigned code, unsigned stack, bool wide) {
  const x86::Segment before = cpu.segment[x86::kSs];
  set_flat_segments(cpu, code, stack, 3, wide);
  if (!is_amd(cpu)) return;
  x86::Segment& ss = cpu.segment[x86::kSs];
  const std::uint16_t selector = ss.selector;
  ss = before;
  ss.selector = selector;
  ss.dpl = 3;
}

/// What R11 may bring back (SDM 2B SYSRET): not RF and VM.
constexpr std::uint64_t kSysretFlags = 0x3c'7fd7;

template <bool wide>
void sysret(Cpu& cpu, const Instruction&) {
  const bool amd = is_amd(cpu);
  if ((cpu.efer & x86::efer::kSce) == 0) raise_ud();
  if (cpu.code_mode != CodeMode::kLong64 && !(amd && cpu.protected_mode && !cpu.vm86)) raise_ud();
  if (cpu.cpl != 0) raise_gp();
  const std::uint16_t base = star_sysret(cpu);
  if (cpu.code_mode == CodeMode::kLong64) {
    const std::uint64_t target = wide ? cpu.gpr[x86::kRcx] : cpu.gpr[x86::kRcx] & 0xffff'ffffU;
    // AMD's find out in user mode.
    if (wide && !amd && !x86::is_canonical(target, cpu.linear_bits())) raise_gp();
    cpu.rip = target;
    cpu.rflags = cpu.gpr[x86::kR11] & kSysretFlags;
  } else {
    cpu.rip = cpu.gpr[x86::kRcx] & 0xffff'ffffU;
    cpu.rflags |= rflags::kIf;
  }
  sysret_segments(cpu, wide ? base + 16U : base, base + 8U, wide);
  finish(cpu);
}

/// IA32_SYSENTER_CS if there is anything to enter.
unsigned sysenter_code(const Cpu& cpu) {
  const auto selector = static_cast<std::uint16_t>(cpu.msrs.sysenter_cs);
  if (!cpu.protected_mode || is_null_selector(selector)) raise_gp();
  return selector & 0xfffcU;
}

void sysenter(Cpu& cpu, const Instruction&) {
  if (cpu.long_mode && is_amd(cpu)) raise_ud();
  const unsigned code = sysenter_code(cpu);
  const std::uint64_t mask = cpu.long_mode ? ~std::uint64_t{0} : 0xffff'ffffU;
  cpu.rflags &= ~(rflags::kVm | rflags::kIf | rflags::kRf);
  cpu.gpr[x86::kRsp] = cpu.msrs.sysenter_esp & mask;
  cpu.rip = cpu.msrs.sysenter_eip & mask;
  set_flat_segments(cpu, code, code + 8, 0, cpu.long_mode);
  finish(cpu);
}

template <bool wide>
void sysexit(Cpu& cpu, const Instruction&) {
  if (cpu.long_mode && is_amd(cpu)) raise_ud();
  const unsigned code = sysenter_code(cpu);
  if (cpu.cpl != 0) raise_gp();
  const std::uint64_t mask = wide ? ~std::uint64_t{0} : 0xffff'ffffU;
  const std::uint64_t target = cpu.gpr[x86::kRdx] & mask;
  const std::uint64_t pointer = cpu.gpr[x86::kRcx] & mask;
  if (wide) {
    const unsigned width = cpu.linear_bits();
    if (!x86::is_canonical(target, width) || !x86::is_canonical(pointer, width)) raise_gp();
  }
  cpu.rip = target;
  cpu.gpr[x86::kRsp] = pointer;
  set_flat_segments(cpu, code + (wide ? 32U : 16U), code + (wide ? 40U : 24U), 3, wide);
  finish(cpu);
}

}  // namespace

Handler select_syscall(const Decoded&, Instruction&) {
  return syscall;
}
Handler select_sysret(const Decoded& decoded, Instruction&) {
  return decoded.zydis.operand_width == 64 ? sysret<true> : sysret<false>;
}
Handler select_sysenter(const Decoded&, Instruction&) {
  return sysenter;
}
Handler select_sysexit(const Decoded& decoded, Instruction&) {
  return decoded.zydis.operand_width == 64 ? sysexit<true> : sysexit<false>;
}

}  // namespace doppel::accel::soft
