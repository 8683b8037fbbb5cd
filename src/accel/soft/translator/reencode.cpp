#include "accel/soft/translator/reencode.h"

namespace doppel::accel::soft {

namespace {

/// REX.X and REX.B, or what stands for them.
struct OperandBits {
  unsigned x;
  unsigned b;
};

OperandBits bits_of(const HostOperand& operand) {
  return {.x = unsigned{operand.index} >> 3U, .b = unsigned{operand.base} >> 3U};
}

bool is_kept(std::uint8_t prefix) {
  return prefix == 0x66 || prefix == 0xf0 || prefix == 0xf2 || prefix == 0xf3;
}

void legacy_prefixes(const ZydisDecodedInstruction& zydis, const OperandBits& bits, MachineCode& out) {
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
void vex(const std::uint8_t* raw, const OperandBits& bits, MachineCode& out) {
  const bool is_short = raw[0] == 0xc5;
  const unsigned map = is_short ? 1U : raw[1] & 0x1fU;
  out.add(0xc4);
  out.add((raw[1] & 0x80U) | inverted(bits) | map);
  out.add(is_short ? raw[1] & 0x7fU : raw[2]);
}

void evex(const std::uint8_t* raw, const OperandBits& bits, MachineCode& out) {
  out.add(0x62);
  out.add((raw[1] & 0x9fU) | inverted(bits));
  out.add(raw[2]);
  out.add(raw[3]);
}

/// ModRM, SIB and displacement (SDM 2A 2.1.5). EVEX scales short displacements, so it gets none.
void mod_rm(unsigned reg, const HostOperand& operand, bool short_displacement, MachineCode& out) {
  constexpr unsigned kSib = 4;
  constexpr unsigned kNeedsDisplacement = 5;  // with these low bits, "no displacement" means something else
  const unsigned base = operand.base & 7U;
  const bool is_byte = operand.disp == static_cast<std::int8_t>(operand.disp);
  unsigned mod = 2;
  if (operand.disp == 0 && base != kNeedsDisplacement)
    mod = 0;
  else if (is_byte && short_displacement)
    mod = 1;
  const bool has_sib = operand.index != HostOperand::kNoIndex || base == kSib;
  out.add(mod << 6U | reg << 3U | (has_sib ? kSib : base));
  if (has_sib) out.add((operand.index & 7U) << 3U | base);
  const auto disp = static_cast<std::uint32_t>(operand.disp);
  const unsigned bytes = mod == 0 ? 0 : mod == 1 ? 1 : 4;
  for (unsigned i = 0; i < bytes; ++i) out.add(disp >> (8 * i) & 0xffU);
}

}  // namespace

MachineCode reencode(const ZydisDecodedInstruction& zydis, std::span<const std::uint8_t> bytes,
                     const HostOperand& operand, unsigned reg) {
  const OperandBits bits = bits_of(operand);
  MachineCode out;
  switch (zydis.encoding) {
    case ZYDIS_INSTRUCTION_ENCODING_VEX: vex(bytes.data() + zydis.raw.vex.offset, bits, out); break;
    case ZYDIS_INSTRUCTION_ENCODING_EVEX: evex(bytes.data() + zydis.raw.evex.offset, bits, out); break;
    default: legacy_prefixes(zydis, bits, out); break;
  }
  out.add(zydis.opcode);
  mod_rm(reg, operand, zydis.encoding != ZYDIS_INSTRUCTION_ENCODING_EVEX, out);
  for (const auto& immediate : zydis.raw.imm)
    for (unsigned i = 0; i < immediate.size / 8U; ++i) out.add(bytes[immediate.offset + i]);
  return out;
}

}  // namespace doppel::accel::soft
