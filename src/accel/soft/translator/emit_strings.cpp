// String instructions: the host's own, on host addresses, for as many elements as lie in one page each of source and
// destination; then again for the next.
#include <bit>

#include "accel/soft/translator/generator.h"

namespace doppel::accel::soft {

namespace {

constexpr auto kPageSize = static_cast<std::uint32_t>(x86::kPageSize);

}  // namespace

/// Between two pages, registers are as if the instruction had been interrupted, which it may be. The flags are saved
/// while elements are looked for, since only a comparison of at least one element changes them.
void Emitter::Generator::string() {
  const StringUse& use = planned_->string;
  const bool repeated = planned_->instruction->repeat != Repeat::kNone;
  const bool saves = needs_flags();
  Xbyak::Label again;
  Xbyak::Label done;
  L(again);
  if (!is_long()) cut_string_registers();
  if (repeated) leave_if_no_elements(done);
  if (saves) keep_flags_in(FlagsHome::kMemory);
  test(dword[at(cpu_.rflags)], static_cast<std::uint32_t>(x86::rflags::kDf));
  interpret_if(kNotEqual);
  if (repeated) mov(qword[at(state_.rcx)], rcx);
  if (use.source) find_elements(rsi, TlbAccess::kRead);
  if (use.source && use.destination) mov(qword[at(state_.target)], r11);
  if (use.destination) find_elements(rdi, use.writes ? TlbAccess::kWrite : TlbAccess::kRead);
  if (repeated) sub(qword[at(state_.rcx)], rcx);
  if (saves) keep_flags_in(FlagsHome::kRegister);
  // What makes the source's host addresses: R10, or R11 if there is no destination.
  const Xbyak::Reg64& source = use.destination ? r10 : r11;
  if (use.source && use.destination) mov(r10, qword[at(state_.target)]);
  if (use.source) lea(rsi, ptr[rsi + source]);
  if (use.destination) lea(rdi, ptr[rdi + r11]);
  raw(planned_->code());
  if (use.source) subtract(rsi, source);
  if (use.destination) subtract(rdi, r11);
  if (repeated) go_on_with_elements(again, done);
  L(done);
}

/// In 32-bit code their upper halves are anything.
void Emitter::Generator::cut_string_registers() {
  for (const Xbyak::Reg32& reg : {ecx, esi, edi}) mov(reg, reg);
}

/// JRCXZ reaches no further than 127 bytes.
void Emitter::Generator::leave_if_no_elements(Xbyak::Label& done) {
  Xbyak::Label none;
  Xbyak::Label some;
  jrcxz(none);
  Xbyak::CodeGenerator::jmp(some, T_SHORT);
  L(none);
  Xbyak::CodeGenerator::jmp(done, T_NEAR);
  L(some);
}

/// R11 becomes what makes the host's address of ADDRESS. RCX becomes no more than the number of elements that lie in
/// the page; if that is none, the instruction is interpreted.
void Emitter::Generator::find_elements(const Xbyak::Reg64& address, TlbAccess access) {
  const Instruction& i = *planned_->instruction;
  const bool repeated = i.repeat != Repeat::kNone;
  const TlbEntry& first = entries();
  count_lookup();
  mov(r10, address);
  find_entry(reinterpret_cast<std::size_t>(&tlb_tag(first, access)));
  cmp(r10, kPageSize - i.operand_size);
  db(0x0f);
  db(kAbove);
  jump_to_stub(ExitKind::kInterpret, interpret_id(), flags_, repeated);
  mov(r11, qword[r11 + reinterpret_cast<std::size_t>(&first.addend)]);
  if (!repeated) return;
  neg(r10);
  add(r10, kPageSize);
  shr(r10, std::countr_zero(i.operand_size));
  cmp(rcx, r10);
  cmova(rcx, r10);
}

/// REG loses VALUE, which is lost; without flags.
void Emitter::Generator::subtract(const Xbyak::Reg64& reg, const Xbyak::Reg64& value) {
  not_(value);
  lea(reg, ptr[reg + value + 1]);
}

/// Unless they were the last, or a comparison ended it, does the same AGAIN.
void Emitter::Generator::go_on_with_elements(const Xbyak::Label& again, Xbyak::Label& done) {
  mov(r10, qword[at(state_.rcx)]);
  lea(rcx, ptr[rcx + r10]);
  if (planned_->string.compares()) {
    if (planned_->instruction->repeat == Repeat::kRep)
      jne(done);
    else
      je(done);
  }
  jrcxz(done);
  poll_without_flags();
  Xbyak::CodeGenerator::jmp(again, T_NEAR);
}

}  // namespace doppel::accel::soft
