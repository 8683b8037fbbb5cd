// Rewrites a guest's instruction so that 64-bit code may execute it among a stub's registers (stub_emitter.h). Opcode,
// vector registers and immediates stay; ModRM, REX, VEX and EVEX are put together anew (SDM 2A chapter 2).
#include <algorithm>
#include <array>

#include "accel/soft/interpreter/stub_emitter.h"

namespace doppel::accel::soft {

namespace {

constexpr std::array kOperandSized = {
    ZYDIS_MNEMONIC_CRC32, ZYDIS_MNEMONIC_MOVBE,  ZYDIS_MNEMONIC_POPCNT, ZYDIS_MNEMONIC_LZCNT,
    ZYDIS_MNEMONIC_TZCNT, ZYDIS_MNEMONIC_RDRAND, ZYDIS_MNEMONIC_RDSEED,
};

/// Forms without a general register whose W means 64 bits in 64-bit code and nothing elsewhere.
constexpr std::array kWideIn64BitCodeAlone = {
    ZYDIS_MNEMONIC_VMOVD,     ZYDIS_MNEMONIC_VPINSRD,    ZYDIS_MNEMONIC_VPEXTRD,    ZYDIS_MNEMONIC_VCVTSI2SS,
    ZYDIS_MNEMONIC_VCVTSI2SD, ZYDIS_MNEMONIC_VCVTUSI2SS, ZYDIS_MNEMONIC_VCVTUSI2SD,
};

template <std::size_t N>
bool contains(const std::array<ZydisMnemonic, N>& list, ZydisMnemonic mnemonic) {
  return std::find(list.begin(), list.end(), mnemonic) != list.end();
}

/// The general register that REG is or is part of, by number; -1 if it is none.
int general_number(ZydisRegister reg) {
  switch (ZydisRegisterGetClass(reg)) {
    case ZYDIS_REGCLASS_GPR8:
    case ZYDIS_REGCLASS_GPR16:
    case ZYDIS_REGCLASS_GPR32:
    case ZYDIS_REGCLASS_GPR64:
      return ZydisRegisterGetId(ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, reg));
    default: return -1;
  }
}

class Relocator {
 public:
  Relocator(const Decoded& decoded, const std::uint8_t* bytes, const StubRegisters& registers)
      : zydis_(decoded.zydis), decoded_(decoded), bytes_(bytes), registers_(registers) {}
  MachineCode run();

 private:
  [[nodiscard]] bool is_long() const { return decoded_.mode == CodeMode::kLong64; }
  [[nodiscard]] std::span<const ZydisDecodedOperand> visible() const {
    return decoded_.operands.first(zydis_.operand_count_visible);
  }
  [[nodiscard]] bool has_memory() const {
    return (zydis_.attributes & ZYDIS_ATTRIB_HAS_MODRM) != 0 && zydis_.raw.modrm.mod != 3;
  }
  [[nodiscard]] bool is_encoded_as(ZydisOperandEncoding encoding) const {
    return std::ranges::any_of(visible(), [&](const auto& operand) { return operand.encoding == encoding; });
  }
  [[nodiscard]] bool is_stack_pointer(ZydisOperandEncoding encoding) const;
  [[nodiscard]] bool w_matters() const { return is_long() || !has_w_for_64_bits(decoded_); }
  /// The four bits of VVVV as they stand in the prefix: inverted.
  [[nodiscard]] unsigned vvvv(unsigned encoded) const {
    if (is_stack_pointer(ZYDIS_OPERAND_ENCODING_NDSNDD)) return ~unsigned{registers_.stack_pointer} & 0xf;
    return is_long() ? encoded : encoded | 8U;
  }

  void legacy();
  void vex();
  void evex();
  void mod_rm();
  void immediates();

  const ZydisDecodedInstruction& zydis_;
  const Decoded& decoded_;
  const std::uint8_t* bytes_;
  const StubRegisters& registers_;
  MachineCode code_;
};

bool Relocator::is_stack_pointer(ZydisOperandEncoding encoding) const {
  return std::ranges::any_of(visible(), [&](const ZydisDecodedOperand& operand) {
    return operand.encoding == encoding && operand.type == ZYDIS_OPERAND_TYPE_REGISTER &&
           general_number(operand.reg.value) == x86::kRsp;
  });
}

void Relocator::legacy() {
  const bool operand_sized = contains(kOperandSized, zydis_.mnemonic);
  bool wants_66 =
      operand_sized && std::ranges::any_of(visible(), [](const auto& operand) { return operand.size == 16; });
  unsigned repeat = 0;
  for (const auto& prefix : std::span(zydis_.raw.prefixes).first(zydis_.raw.prefix_count)) {
    if (prefix.type != ZYDIS_PREFIX_TYPE_MANDATORY) continue;
    if (prefix.value == 0x66 && !operand_sized) wants_66 = true;
    if (prefix.value == 0xf2 || prefix.value == 0xf3) repeat = prefix.value;
  }
  if (wants_66) code_.add(0x66);
  if (repeat != 0) code_.add(repeat);
  if ((zydis_.attributes & ZYDIS_ATTRIB_HAS_REX) != 0) {
    const auto& rex = zydis_.raw.rex;
    const unsigned address_bits = has_memory() ? 0U : unsigned{rex.X} << 1U | rex.B;
    code_.add(0x40U | unsigned{rex.W} << 3U | unsigned{rex.R} << 2U | address_bits);
  }
  if (zydis_.opcode_map != ZYDIS_OPCODE_MAP_DEFAULT) code_.add(0x0f);
  if (zydis_.opcode_map == ZYDIS_OPCODE_MAP_0F38) code_.add(0x38);
  if (zydis_.opcode_map == ZYDIS_OPCODE_MAP_0F3A) code_.add(0x3a);
}

void Relocator::vex() {
  const std::uint8_t* const raw = bytes_ + zydis_.raw.vex.offset;
  const bool is_short = raw[0] == 0xc5;
  const unsigned last = is_short ? raw[1] : raw[2];  // W (three bytes alone), vvvv, L, pp
  const unsigned map = is_short ? 1U : raw[1] & 0x1fU;
  const unsigned w = is_short || !w_matters() ? 0U : last & 0x80U;
  unsigned extensions = is_short ? (raw[1] & 0x80U) | 0x60U : raw[1] & 0xe0U;  // R, X, B, inverted
  if (has_memory()) extensions |= 0x60;
  if (!is_long()) extensions = 0xe0;
  code_.add(0xc4);
  code_.add(extensions | map);
  code_.add(w | vvvv(last >> 3U & 0xfU) << 3U | (last & 7U));
}

void Relocator::evex() {
  const std::uint8_t* const raw = bytes_ + zydis_.raw.evex.offset;
  unsigned p0 = raw[1];  // R, X, B, R', all inverted, and the map
  unsigned p2 = raw[3];  // z, L'L, b, V' (inverted), aaa
  if (has_memory()) p0 |= 0x60;
  if (!is_long()) {
    p0 |= 0xf0;
    p2 |= 0x08;
  }
  const unsigned w = w_matters() ? raw[2] & 0x80U : 0U;
  code_.add(0x62);
  code_.add(p0);
  code_.add(w | vvvv(raw[2] >> 3U & 0xfU) << 3U | (raw[2] & 7U));
  code_.add(p2);
}

void Relocator::mod_rm() {
  const auto& raw = zydis_.raw.modrm;
  const unsigned reg = is_stack_pointer(ZYDIS_OPERAND_ENCODING_MODRM_REG) ? registers_.stack_pointer : raw.reg;
  if (has_memory()) return code_.add(reg << 3U | registers_.memory);
  const unsigned rm = is_stack_pointer(ZYDIS_OPERAND_ENCODING_MODRM_RM) ? registers_.stack_pointer : raw.rm;
  code_.add(0xc0U | reg << 3U | rm);
}

void Relocator::immediates() {
  const bool names_register = is_encoded_as(ZYDIS_OPERAND_ENCODING_IS4);
  for (const auto& immediate : zydis_.raw.imm)
    for (unsigned i = 0; i < immediate.size / 8U; ++i) {
      const unsigned byte = bytes_[immediate.offset + i];
      code_.add(names_register && !is_long() ? byte & 0x7fU : byte);
    }
}

MachineCode Relocator::run() {
  switch (zydis_.encoding) {
    case ZYDIS_INSTRUCTION_ENCODING_VEX: vex(); break;
    case ZYDIS_INSTRUCTION_ENCODING_EVEX: evex(); break;
    default: legacy(); break;
  }
  code_.add(zydis_.opcode);
  if ((zydis_.attributes & ZYDIS_ATTRIB_HAS_MODRM) != 0) mod_rm();
  immediates();
  return code_;
}

}  // namespace

bool has_w_for_64_bits(const Decoded& decoded) {
  const auto visible = decoded.operands.first(decoded.zydis.operand_count_visible);
  const bool general = std::ranges::any_of(visible, [](const ZydisDecodedOperand& operand) {
    return operand.type == ZYDIS_OPERAND_TYPE_REGISTER && general_number(operand.reg.value) >= 0;
  });
  return general || contains(kWideIn64BitCodeAlone, decoded.zydis.mnemonic);
}

MachineCode relocate(const Decoded& decoded, const std::uint8_t* bytes, const StubRegisters& registers) {
  return Relocator(decoded, bytes, registers).run();
}

}  // namespace doppel::accel::soft
