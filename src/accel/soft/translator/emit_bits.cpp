// Bit strings: BT, BTS, BTR and BTC with a bit number in a register, which counts from the memory operand on.
#include <bit>

#include "accel/soft/translator/generator.h"

namespace doppel::accel::soft {

/// The element that has the bit is looked up. From there the host's address of the guest's operand is counted back, for
/// the host's own instruction to do the same with.
void Emitter::Generator::bit_string() {
  held_ = {};
  find_bit_element();
  lea(r14, ptr[r14 + r15]);
  mov(r15, qword[at(state_.slot)]);
  not_(r15);
  const SpilledUse& used = planned_->used;
  const unsigned base = used.r14 ? kR15 : kR14;
  const std::size_t size = planned_->memory_size;
  lea(Xbyak::Reg64(static_cast<int>(base)), ptr[r14 + r15 * static_cast<int>(size) + size]);
  if (used.r14) load_spilled(kR14);
  if (used.r15) load_spilled(kR15);
  raw(reencode(planned_->zydis, planned_->code(), {.base = static_cast<std::uint8_t>(base)}).span());
}

/// R14 becomes its offset in the page, R15 the page on the host, GateState::slot how many elements it is away from the
/// operand. Without flags.
void Emitter::Generator::find_bit_element() {
  const Instruction& i = *planned_->instruction;
  const unsigned size = planned_->memory_size;
  const auto scale = static_cast<int>(size);
  const unsigned reg = i.reg / 8;
  if (reg >= kR14) mov(r14, qword[at(cpu_.gpr[reg])]);
  const Xbyak::Reg64 number = reg >= kR14 ? r14 : Xbyak::Reg64(static_cast<int>(reg));
  if (size == 2) movsx(r14, number.cvt16());
  if (size == 4) movsxd(r14, number.cvt32());
  mov(r15d, static_cast<std::uint32_t>(std::countr_zero(8 * size)));
  sarx(r14, size == 8 ? number : r14, r15);
  mov(qword[at(state_.slot)], r14);
  effective_address(i.disp);
  mov(r15, qword[at(state_.slot)]);
  if (i.address_size == 4)
    lea(r14d, ptr[r14 + r15 * scale]);
  else
    lea(r14, ptr[r14 + r15 * scale]);
  add_segment_base();
  look_up(planned_->writes_memory ? TlbAccess::kWrite : TlbAccess::kRead, size, TlbResult::kHost);
}

}  // namespace doppel::accel::soft
