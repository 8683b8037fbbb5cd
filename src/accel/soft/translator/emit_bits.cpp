// Bit strings: BT, BTS, BTR and BTC with a bit number in a register, which counts from the memory operand on.
#include <bit>

#include "accel/soft/translator/generator.h"

namespace doppel::accel::soft {

/// The element that has the bit is looked up. From there the host's address of the guest's operand is counted back, for
/// the host's own instruction to do the same with.
void Emitter::Generator::bit_string() {
  held_ = {};
  find_bit_element();
  lea(r10, ptr[r10 + r11]);
  mov(r11, qword[at(state_.slot)]);
  not_(r11);
  const SpilledUse& used = planned_->used;
  const unsigned base = used.r10 ? kR11 : kR10;
  const std::size_t size = planned_->memory_size;
  lea(Xbyak::Reg64(static_cast<int>(base)), ptr[r10 + r11 * static_cast<int>(size) + size]);
  if (used.r10) load_spilled(kR10);
  if (used.r11) load_spilled(kR11);
  on_host({.base = static_cast<std::uint8_t>(base)});
}

/// R10 becomes its offset in the page, R11 the page on the host, GateState::slot how many elements it is away from the
/// operand. Without flags.
void Emitter::Generator::find_bit_element() {
  const Instruction& i = *planned_->instruction;
  const unsigned size = planned_->memory_size;
  const auto scale = static_cast<int>(size);
  const unsigned reg = i.reg / 8;
  if (is_spilled(reg)) mov(r10, qword[at(cpu_.gpr[reg])]);
  const Xbyak::Reg64 number = is_spilled(reg) ? r10 : Xbyak::Reg64(static_cast<int>(reg));
  if (size == 2) movsx(r10, number.cvt16());
  if (size == 4) movsxd(r10, number.cvt32());
  mov(r11d, static_cast<std::uint32_t>(std::countr_zero(8 * size)));
  sarx(r10, size == 8 ? number : r10, r11);
  mov(qword[at(state_.slot)], r10);
  effective_address(i.disp);
  mov(r11, qword[at(state_.slot)]);
  if (i.address_size == 4)
    lea(r10d, ptr[r10 + r11 * scale]);
  else
    lea(r10, ptr[r10 + r11 * scale]);
  add_segment_base();
  look_up(planned_->writes_memory ? TlbAccess::kWrite : TlbAccess::kRead, size, TlbResult::kHost);
}

}  // namespace doppel::accel::soft
