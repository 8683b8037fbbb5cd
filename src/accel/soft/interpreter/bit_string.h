// Bit strings: the operand of BT, BTS, BTR and BTC in memory, whose bits a register counts (SDM 1 3.1.1.9).
#pragma once

#include <bit>
#include <cstdint>

#include "accel/soft/interpreter/cpu.h"
#include "base/bits.h"

namespace doppel::accel::soft {

/// Where in the segment the element is that has the bit: the register's number is signed and may lead far away from the
/// operand that is named.
[[nodiscard]] inline std::uint64_t bit_string_offset(const Cpu& cpu, const Instruction& i) {
  const unsigned bits = 8U * i.operand_size;
  const unsigned unused = 64 - bits;
  const std::int64_t number = static_cast<std::int64_t>(cpu.get<std::uint64_t>(i.reg) << unused) >> unused;
  const auto element = static_cast<std::uint64_t>(number >> std::countr_zero(bits));
  return (cpu.effective_address(i) + element * i.operand_size) & low_mask(i.address_size * 8U);
}

}  // namespace doppel::accel::soft
