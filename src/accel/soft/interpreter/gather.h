// Gathers and scatters, element by element (SDM 2C VPGATHERDD and on; 2A 2.3.12, "vector SIB").
#pragma once

#include <cstdint>

#include "accel/soft/interpreter/cpu.h"
#include "accel/soft/interpreter/operation.h"

namespace doppel::accel::soft {

/// What a gather or scatter works on, beside its memory operand's base and displacement.
struct GatherOperands {
  std::uint8_t data;          // vector register
  std::uint8_t index;         // vector register
  std::uint8_t mask;          // vector register (VEX) or mask register
  std::uint8_t index_size;    // bytes of an index
  std::uint8_t element_size;  // bytes
  std::uint8_t count;         // of elements, at most 16
  bool vex;
  bool scatter;
};

[[nodiscard]] bool is_gather(ZydisMnemonic mnemonic);
/// Of an instruction with a handler of select_gather()'s.
[[nodiscard]] GatherOperands gather_operands(const Instruction& instruction);
/// Bit n: element n is to be moved.
[[nodiscard]] std::uint64_t active_elements(const FpuState& fpu, const GatherOperands& operands);
/// Where element N is in the segment.
[[nodiscard]] std::uint64_t element_offset(const Cpu& cpu, const Instruction& i, const GatherOperands& operands,
                                           unsigned n);

/// The handler for DECODED if it is a gather or scatter, else null.
Handler select_gather(const Decoded& decoded, Instruction& instruction);

}  // namespace doppel::accel::soft
