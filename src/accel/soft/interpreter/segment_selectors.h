// The rows of segment_operations() whose functions stand in other files, and what those files share.
#pragma once

#include <cstdint>

#include "accel/soft/interpreter/cpu.h"
#include "accel/soft/interpreter/operation.h"

namespace doppel::accel::soft {

// Of a 16-bit r/m operand.
[[nodiscard]] inline std::uint16_t read_selector(Cpu& cpu, const Instruction& i) {
  return i.has_memory ? cpu.load<std::uint16_t>(i.segment, cpu.effective_address(i)) : cpu.get<std::uint16_t>(i.rm);
}
/// Memory takes 16 bits, a register as many as the operand size says, zero-extended.
void write_selector(Cpu& cpu, const Instruction& i, std::uint16_t selector);

// table_registers.cpp
Handler select_sgdt(const Decoded& decoded, Instruction& instruction);
Handler select_sidt(const Decoded& decoded, Instruction& instruction);
Handler select_lgdt(const Decoded& decoded, Instruction& instruction);
Handler select_lidt(const Decoded& decoded, Instruction& instruction);
Handler select_sldt(const Decoded& decoded, Instruction& instruction);
Handler select_str(const Decoded& decoded, Instruction& instruction);
Handler select_lldt(const Decoded& decoded, Instruction& instruction);
Handler select_ltr(const Decoded& decoded, Instruction& instruction);

// access_checks.cpp
Handler select_lar(const Decoded& decoded, Instruction& instruction);
Handler select_lsl(const Decoded& decoded, Instruction& instruction);
Handler select_verr(const Decoded& decoded, Instruction& instruction);
Handler select_verw(const Decoded& decoded, Instruction& instruction);
Handler select_arpl(const Decoded& decoded, Instruction& instruction);

}  // namespace doppel::accel::soft
