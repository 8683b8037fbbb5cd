// Instructions on the processor's own state that change nothing of what translated code is made for.
#include "accel/soft/translator/generator.h"

namespace doppel::accel::soft {

/// REG becomes REG & MASK, without flags.
void Emitter::Generator::keep_rflags(const std::uint64_t& mask, const Xbyak::Reg64& reg) {
  pext(reg, reg, qword[at(mask)]);
  pdep(reg, reg, qword[at(mask)]);
}

void Emitter::Generator::disable_interrupts() {
  mov(r10, qword[at(cpu_.rflags)]);
  keep_rflags(state_.all_but_if, r10);
  mov(qword[at(cpu_.rflags)], r10);
}

/// Interrupts that wait are the run loop's affair. Without one, the shadow behind STI makes no difference.
void Emitter::Generator::enable_interrupts() {
  Xbyak::Label none;
  mov(qword[at(state_.rcx)], rcx);
  movzx(ecx, byte[at(cpu_.irq_window_wanted)]);
  jrcxz(none);
  db(0xe9);
  jump_to_stub(ExitKind::kInterpret, interpret_id(), flags_, true);
  L(none);
  mov(rcx, qword[at(state_.rcx)]);
  mov(r10, qword[at(cpu_.rflags)]);
  keep_rflags(state_.all_but_if, r10);
  lea(r10, ptr[r10 + static_cast<int>(x86::rflags::kIf)]);
  mov(qword[at(cpu_.rflags)], r10);
}

/// CLD and STD.
void Emitter::Generator::set_direction(bool down) {
  mov(r10, qword[at(cpu_.rflags)]);
  keep_rflags(state_.all_but_df, r10);
  if (down) lea(r10, ptr[r10 + static_cast<int>(x86::rflags::kDf)]);
  mov(qword[at(cpu_.rflags)], r10);
}

/// MOV from a segment register to a general one, whose upper half a short one keeps.
void Emitter::Generator::read_selector() {
  const Instruction& i = *planned_->instruction;
  const auto selector = at(cpu_.segment[i.extra].selector);
  const unsigned reg = i.rm / 8;
  if (i.operand_size == 2 && !is_spilled(reg)) {
    mov(Xbyak::Reg16(static_cast<int>(reg)), CodeGenerator::word[selector]);
    return;
  }
  movzx(Xbyak::Reg32(static_cast<int>(is_spilled(reg) ? kR10 : reg)), CodeGenerator::word[selector]);
  if (!is_spilled(reg)) return;
  if (i.operand_size == 2)
    mov(CodeGenerator::word[at(cpu_.gpr[reg])], r10w);
  else
    mov(qword[at(cpu_.gpr[reg])], r10);
}

/// The code's kind says that it is the kernel's. No lookup is shared with one from before.
void Emitter::Generator::swap_gs() {
  mov(r10, qword[at(cpu_.segment[x86::kGs].base)]);
  mov(r11, qword[at(cpu_.msrs.kernel_gs_base)]);
  mov(qword[at(cpu_.msrs.kernel_gs_base)], r10);
  mov(qword[at(cpu_.segment[x86::kGs].base)], r11);
  mov(qword[at(cpu_.view[x86::kGs].base)], r11);
}

}  // namespace doppel::accel::soft
