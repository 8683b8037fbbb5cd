// Instructions on the processor's own state that change nothing of what translated code is made for.
#include "accel/soft/translator/generator.h"

namespace doppel::accel::soft {

/// REG becomes REG & MASK, without flags.
void Emitter::Generator::keep_rflags(const std::uint64_t& mask, const Xbyak::Reg64& reg) {
  pext(reg, reg, qword[at(mask)]);
  pdep(reg, reg, qword[at(mask)]);
}

void Emitter::Generator::disable_interrupts() {
  mov(r14, qword[at(cpu_.rflags)]);
  keep_rflags(state_.all_but_if, r14);
  mov(qword[at(cpu_.rflags)], r14);
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
  mov(r14, qword[at(cpu_.rflags)]);
  keep_rflags(state_.all_but_if, r14);
  lea(r14, ptr[r14 + static_cast<int>(x86::rflags::kIf)]);
  mov(qword[at(cpu_.rflags)], r14);
}

/// CLD and STD.
void Emitter::Generator::set_direction(bool down) {
  mov(r14, qword[at(cpu_.rflags)]);
  keep_rflags(state_.all_but_df, r14);
  if (down) lea(r14, ptr[r14 + static_cast<int>(x86::rflags::kDf)]);
  mov(qword[at(cpu_.rflags)], r14);
}

/// MOV from a segment register to a general one, whose upper half a short one keeps.
void Emitter::Generator::read_selector() {
  const Instruction& i = *planned_->instruction;
  const auto selector = at(cpu_.segment[i.extra].selector);
  const unsigned reg = i.rm / 8;
  if (i.operand_size == 2 && reg < kR14) {
    mov(Xbyak::Reg16(static_cast<int>(reg)), CodeGenerator::word[selector]);
    return;
  }
  movzx(Xbyak::Reg32(reg < kR14 ? static_cast<int>(reg) : 14), CodeGenerator::word[selector]);
  if (reg < kR14) return;
  if (i.operand_size == 2)
    mov(CodeGenerator::word[at(cpu_.gpr[reg])], r14w);
  else
    mov(qword[at(cpu_.gpr[reg])], r14);
}

/// The code's kind says that it is the kernel's. No lookup is shared with one from before.
void Emitter::Generator::swap_gs() {
  mov(r14, qword[at(cpu_.segment[x86::kGs].base)]);
  mov(r15, qword[at(cpu_.msrs.kernel_gs_base)]);
  mov(qword[at(cpu_.msrs.kernel_gs_base)], r14);
  mov(qword[at(cpu_.segment[x86::kGs].base)], r15);
  mov(qword[at(cpu_.view[x86::kGs].base)], r15);
}

}  // namespace doppel::accel::soft
