#include "accel/soft/translator/reencode.h"

namespace doppel::accel::soft {

namespace {

/// R14 and R15 need REX.B as a base, and REX.X as an index.
struct OperandBits {
  unsigned x;
  unsigned b;
  unsigned rm;
  bool has_sib;
};

OperandBits bits_of(HostOperand operand) {
  switch (operand) {
    case HostOperand::kR14: return {.x = 0, .b = 1, .rm = 6, .has_sib = false};
    case HostOperand::kR15: return {.x = 0, .b = 1, .rm = 7, .has_sib = false};
    case HostOperand::kR14PlusR15: break;
  }
  return {.x = 1, .b = 1, .rm = 4, .has_sib = true};
}

bool is_kept(std::uint8_t prefix) {
  return prefix == 0x66 || prefix == 0xf0 || prefix == 0xf2 || prefix == 0xf3;
}

void legacy_prefixes(const ZydisDecodedInstruction& zydis, const OperandBits& bits, HostInstruction& out) {
  for (const auto& prefix : std::span(zydis.raw.prefixes).first(zydis.raw.prefix_count))
    if (is_kept(prefix.value)) out.add(prefix.value);
  out.add(0x40U | unsigned{zydis.raw.rex.W} << 3U | unsigned{zydis.raw.rex.R} << 2U | bits.x << 1U | bits.b);
  if (zydis.opcode_map != ZYDIS_OPCODE_MAP_DEFAULT) out.add(0x0f);
  if (zydis.opcode_map == ZYDIS_OPCODE_MAP_0F38) out.add(0x38);
  if (zydis.opcode_map == ZYDIS_OPCODE_MAP_0F3A) out.add(0x3a);
}

/// The extension bits stand inverted there.
unsigned inverted(const OperandBits& bits) {
  return (bits.x == 0 ? 0x40U : 0U) | (bits.b == 0 ? 0x20U : 0U);
}

/// The two-byte form cannot say X and B.
void vex(const std::uint8_t* raw, const OperandBits& bits, HostInstruction& out) {
  const bool is_short = raw[0] == 0xc5;
  const unsigned map = is_short ? 1U : raw[1] & 0x1fU;
  out.add(0xc4);
  out.add((raw[1] & 0x80U) | inverted(bits) | map);
  out.add(is_short ? raw[1] & 0x7fU : raw[2]);
}

void evex(const std::uint8_t* raw, const OperandBits& bits, HostInstruction& out) {
  out.add(0x62);
  out.add((raw[1] & 0x9fU) | inverted(bits));
  out.add(raw[2]);
  out.add(raw[3]);
}

}  // namespace

HostInstruction reencode(const ZydisDecodedInstruction& zydis, std::span<const std::uint8_t> bytes,
                         HostOperand operand) {
  const OperandBits bits = bits_of(operand);
  HostInstruction out;
  switch (zydis.encoding) {
    case ZYDIS_INSTRUCTION_ENCODING_VEX: vex(bytes.data() + zydis.raw.vex.offset, bits, out); break;
    case ZYDIS_INSTRUCTION_ENCODING_EVEX: evex(bytes.data() + zydis.raw.evex.offset, bits, out); break;
    default: legacy_prefixes(zydis, bits, out); break;
  }
  out.add(zydis.opcode);
  out.add(unsigned{zydis.raw.modrm.reg} << 3U | bits.rm);
  constexpr unsigned kR14PlusR15Sib = 7U << 3U | 6U;
  if (bits.has_sib) out.add(kR14PlusR15Sib);
  for (const auto& immediate : zydis.raw.imm)
    for (unsigned i = 0; i < immediate.size / 8U; ++i) out.add(bytes[immediate.offset + i]);
  return out;
}

}  // namespace doppel::accel::soft
