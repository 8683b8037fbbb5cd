// What becomes of instructions that neither branch nor need more than a lookup.
#include "accel/soft/translator/generator.h"

namespace doppel::accel::soft {

void Emitter::Generator::interpret() {
  leaves_ = true;
  mov(r10d, interpret_id());
  Xbyak::CodeGenerator::jmp(gate_.exit(ExitKind::kInterpret, flags_));
}

void Emitter::Generator::verbatim() {
  if (planned_->used.r10) load_spilled(kR10);
  if (planned_->used.r11) load_spilled(kR11);
  // LEA's address is no operand that counts as used.
  const Instruction& i = *planned_->instruction;
  if (i.has_memory)
    for (const unsigned reg : {i.base / 8U, i.index / 8U})
      if (is_spilled(reg)) load_spilled(reg);
  raw(planned_->code());
  if (planned_->written.r10) store_spilled(kR10);
  if (planned_->written.r11) store_spilled(kR11);
  note_x87();
}

void Emitter::Generator::memory() {
  if (!is_simple_member() || planned_->member.leads) held_ = {};
  const HostOperand operand = find_operand();
  held_.guest_r11 = false;
  if (planned_->used.r11) held_.guest_r10 = false;
  if (planned_->used.r10) load_spilled(kR10);
  if (planned_->used.r11) load_spilled(kR11);
  on_host(operand);
  if (planned_->written.r10) store_spilled(kR10);
  if (planned_->written.r11) store_spilled(kR11);
  note_x87();
}

/// The guest's instruction with OPERAND for its own. AH to BH cannot be named beside registers that need REX, as those
/// of OPERAND do: the register is turned for that byte to be the lowest, and back. Without flags.
void Emitter::Generator::on_host(const HostOperand& operand) {
  constexpr std::uint8_t kByte = 8;  // bits
  const bool turns = planned_->uses_high_byte;
  const unsigned number = turns ? high_byte_register() : planned_->zydis.raw.modrm.reg;
  const Xbyak::Reg64 reg(static_cast<int>(number));
  if (turns) rorx(reg, reg, kByte);
  raw(reencode(planned_->zydis, planned_->code(), operand, number).span());
  if (turns) rorx(reg, reg, 64 - kByte);
}

/// That the instruction was x87's last, now that it has not faulted. With an operand R10 is lost, and R11 where that is
/// an index.
void Emitter::Generator::note_x87() {
  if (planned_->clears_x87_pointers) {
    mov(dword[at(state_.x87.last)], X87Notes::kCleared);
    mov(dword[at(state_.x87.last_with_operand)], X87Notes::kCleared);
  }
  if (!planned_->sets_x87_pointers) return;
  mov(dword[at(state_.x87.last)], interpret_id());
  if (planned_->action != Action::kMemory) return;
  mov(dword[at(state_.x87.last_with_operand)], interpret_id());
  effective_address(planned_->instruction->disp);
  mov(qword[at(state_.x87.operand)], r10);
}

void Emitter::Generator::push_operand() {
  Xbyak::RegExp place = find_stack();
  const Instruction& i = *planned_->instruction;
  const unsigned reg = i.rm / 8;
  if (i.rm == kZeroRegister) {
    store_word(place, i.imm, r10);
  } else if (is_spilled(reg)) {
    const Xbyak::Reg64 value = take_temporary(place);
    mov(value, qword[at(cpu_.gpr[reg])]);
    store_word(place, value);
  } else {
    store_word(place, Xbyak::Reg64(static_cast<int>(reg)));
  }
  add_to_stack_pointer(-word());
}

void Emitter::Generator::push_memory() {
  load_target();
  mov(qword[at(state_.target)], r10);
  load_address(r10, Xbyak::RegExp(rsp) - word());
  look_up(TlbAccess::kWrite, word(), TlbResult::kHost);
  lea(r10, ptr[r10 + r11]);
  mov(r11, qword[at(state_.target)]);
  store_word(Xbyak::RegExp(r10), r11);
  add_to_stack_pointer(-word());
}

/// RFLAGS in memory with the arithmetic flags of the host's. Only PUSHF shows them all.
void Emitter::Generator::push_flags() {
  mov(r10, rsp);
  mov(esp, static_cast<std::uint32_t>(reinterpret_cast<std::size_t>(&state_.host_stack.back())));
  pushfq();
  pop(r11);
  mov(rsp, r10);
  mov(r10, qword[at(cpu_.rflags)]);
  keep_rflags(state_.other_flags, r10);
  keep_rflags(state_.arithmetic_flags, r11);
  lea(r10, ptr[r10 + r11]);
  mov(qword[at(state_.target)], r10);
  held_ = {};
  Xbyak::RegExp place = find_stack();
  const Xbyak::Reg64 value = take_temporary(place);
  mov(value, qword[at(state_.target)]);
  store_word(place, value);
  add_to_stack_pointer(-word());
}

void Emitter::Generator::pop_register() {
  const Xbyak::RegExp place = find_stack();
  const unsigned reg = planned_->instruction->rm / 8;
  if (is_spilled(reg)) {
    mov(r10, qword[place]);
    mov(qword[at(cpu_.gpr[reg])], r10);
    add_to_stack_pointer(word());
    return;
  }
  load_word(Xbyak::Reg64(static_cast<int>(reg)), place);
  if (reg != x86::kRsp) add_to_stack_pointer(word());
}

void Emitter::Generator::leave() {
  load_word(r10, find_stack());
  load_address(rsp, Xbyak::RegExp(rbp) + word());
  mov(rbp, r10);
}

void Emitter::Generator::store_word(const Xbyak::RegExp& place, const Xbyak::Reg64& value) {
  if (is_long())
    mov(qword[place], value);
  else
    mov(dword[place], value.cvt32());
}

/// REG becomes the word at PLACE, on the host.
void Emitter::Generator::load_word(const Xbyak::Reg64& reg, const Xbyak::RegExp& place) {
  if (is_long())
    mov(reg, qword[place]);
  else
    mov(reg.cvt32(), dword[place]);
}

/// REG becomes a guest's address.
void Emitter::Generator::load_address(const Xbyak::Reg64& reg, const Xbyak::RegExp& sum) {
  if (is_long())
    lea(reg, ptr[sum]);
  else
    lea(reg.cvt32(), ptr[sum]);
}

/// Without flags.
void Emitter::Generator::add_to_stack_pointer(std::int64_t bytes) {
  load_address(rsp, Xbyak::RegExp(rsp) + static_cast<std::size_t>(bytes));
}

/// EDX:EAX become the host's counter with the guest's offset. RDTSCP has ECX become TSC_AUX, and reads only when all
/// instructions before it are done (SDM 2B).
void Emitter::Generator::read_tsc() {
  constexpr std::uint8_t kHalf = 32;  // bits
  if (needs_flags()) return interpret();
  if (!plan_->kind.privileged) {
    test(dword[at(cpu_.cr4)], static_cast<std::uint32_t>(x86::cr4::kTsd));
    interpret_if(kNotEqual);
  }
  const bool with_aux = planned_->zydis.mnemonic == ZYDIS_MNEMONIC_RDTSCP;
  if (with_aux) lfence();
  rdtsc();
  shl(rdx, kHalf);
  lea(rax, ptr[rax + rdx]);
  add(rax, qword[at(cpu_.msrs.tsc_offset)]);
  mov(rdx, rax);
  shr(rdx, kHalf);
  mov(eax, eax);
  if (with_aux) mov(ecx, dword[at(cpu_.msrs.tsc_aux)]);
}

}  // namespace doppel::accel::soft
