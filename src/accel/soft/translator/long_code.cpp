#include "accel/soft/translator/long_code.h"

#include <algorithm>
#include <array>

namespace doppel::accel::soft {

namespace {

bool names_register_in_immediate(const Decoded& decoded) {
  return std::ranges::any_of(decoded.operands, [](const ZydisDecodedOperand& operand) {
    return operand.encoding == ZYDIS_OPERAND_ENCODING_IS4;
  });
}

/// Fourth bits of register numbers, which stand inverted there, are ignored in 32-bit code.
void clear_extensions(const Decoded& decoded, MachineCode& code) {
  constexpr unsigned kVvvvHigh = 0x40;
  constexpr unsigned kW = 0x80;
  if (decoded.zydis.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX) {
    std::uint8_t* const vex = code.bytes.data() + decoded.zydis.raw.vex.offset;
    const bool is_short = vex[0] == 0xc5;
    std::uint8_t& last = is_short ? vex[1] : vex[2];
    if (is_short)
      last |= 0x80;  // R
    else
      vex[1] |= 0xe0;  // R, X and B
    if (!is_short && has_w_for_64_bits(decoded)) last &= static_cast<std::uint8_t>(~kW);
    last |= kVvvvHigh;
    if (names_register_in_immediate(decoded)) code.bytes.at(code.size - 1U) &= 0x7f;
    return;
  }
  std::uint8_t* const evex = code.bytes.data() + decoded.zydis.raw.evex.offset;
  evex[1] |= 0xf0;  // R, X, B and R'
  if (has_w_for_64_bits(decoded)) evex[2] &= static_cast<std::uint8_t>(~kW);
  evex[2] |= kVvvvHigh;
  evex[3] |= 0x08;  // V'
}

/// The prefixes of BYTES, OPCODE and MOD_RM.
MachineCode with_mod_rm(const Decoded& decoded, std::span<const std::uint8_t> bytes, unsigned opcode, unsigned mod_rm) {
  MachineCode code;
  for (const std::uint8_t prefix : bytes.first(decoded.zydis.raw.prefix_count)) code.add(prefix);
  code.add(opcode);
  code.add(mod_rm);
  return code;
}

}  // namespace

MachineCode as_long_code(const Decoded& decoded, std::span<const std::uint8_t> bytes) {
  const ZydisDecodedInstruction& zydis = decoded.zydis;
  MachineCode code;
  for (const std::uint8_t byte : bytes) code.add(byte);
  if (zydis.encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY) {
    clear_extensions(decoded, code);
    return code;
  }
  if (zydis.opcode_map != ZYDIS_OPCODE_MAP_DEFAULT) return code;
  switch (zydis.opcode & 0xf8U) {
    case 0x40:
      return with_mod_rm(decoded, bytes, 0xff, 0xc0U | (zydis.opcode & 7U));  // INC, which REX took the place of
    case 0x48: return with_mod_rm(decoded, bytes, 0xff, 0xc8U | (zydis.opcode & 7U));  // DEC
    default: break;
  }
  if (zydis.opcode == 0x82) code.bytes.at(zydis.raw.prefix_count) = 0x80;
  // MOV between the accumulator and an offset, which is longer in 64-bit code.
  if (zydis.opcode >= 0xa0 && zydis.opcode <= 0xa3) {
    constexpr std::array kMoves = {0x8aU, 0x8bU, 0x88U, 0x89U};
    constexpr unsigned kDisplacementAlone = 0x05;
    code = with_mod_rm(decoded, bytes, kMoves.at(zydis.opcode - 0xa0U), kDisplacementAlone);
    for (unsigned i = 0; i < 4; ++i) code.add(0);
  }
  return code;
}

}  // namespace doppel::accel::soft
