#include "accel/soft/interpreter/decode_templates.h"

#include <array>
#include <bit>
#include <cstring>
#include <initializer_list>

namespace doppel::accel::soft {

namespace {

using Opcodes = std::array<bool, 256>;

struct Range {
  std::uint8_t first;
  std::uint8_t last;
};

consteval Opcodes opcodes(std::initializer_list<Range> ranges) {
  Opcodes set{};
  for (const Range& range : ranges)
    for (unsigned opcode = range.first; opcode <= range.last; ++opcode) set.at(opcode) = true;
  return set;
}

// SDM 2A tables.
constexpr Opcodes kWithModrm = opcodes({{0x00, 0x03},
                                        {0x08, 0x0b},
                                        {0x10, 0x13},
                                        {0x18, 0x1b},
                                        {0x20, 0x23},
                                        {0x28, 0x2b},
                                        {0x30, 0x33},
                                        {0x38, 0x3b},
                                        {0x63, 0x63},
                                        {0x69, 0x69},
                                        {0x6b, 0x6b},
                                        {0x80, 0x8e},
                                        {0xc0, 0xc1},
                                        {0xc6, 0xc7},
                                        {0xd0, 0xd3},
                                        {0xf6, 0xf7},
                                        {0xfe, 0xff}});
constexpr Opcodes kWithoutModrm0F = opcodes({{0x04, 0x0c},
                                             {0x0e, 0x0e},
                                             {0x30, 0x37},
                                             {0x77, 0x77},
                                             {0x80, 0x8f},
                                             {0xa0, 0xa2},
                                             {0xa8, 0xaa},
                                             {0xc8, 0xcf},
                                             {0xff, 0xff}});
constexpr Opcodes kPrefixes =
    opcodes({{0x26, 0x26}, {0x2e, 0x2e}, {0x36, 0x36}, {0x3e, 0x3e}, {0x64, 0x66}, {0xf0, 0xf0}, {0xf2, 0xf3}});

constexpr std::uint8_t kEscape = 0x0f;
constexpr std::size_t kLongestHead = 7;

/// The number of SIZE bytes, 1 to 8, at BYTES, of which there are 8.
std::uint64_t number(const std::uint8_t* bytes, unsigned size, bool is_signed) {
  std::uint64_t value = 0;
  std::memcpy(&value, bytes, sizeof value);
  const unsigned unused = 64 - 8 * size;
  value <<= unused;
  return is_signed ? static_cast<std::uint64_t>(static_cast<std::int64_t>(value) >> unused) : value >> unused;
}

/// Bytes of the displacement with 32- and 64-bit addresses (SDM 2A table 2-2).
std::uint8_t displacement_size(std::uint8_t modrm, std::uint8_t sib) {
  const unsigned mod = modrm >> 6U;
  const unsigned rm = modrm & 7U;
  if (mod == 1) return 1;
  if (mod == 2) return 4;
  return mod == 0 && (rm == 5 || (rm == 4 && (sib & 7U) == 5)) ? 4 : 0;
}

}  // namespace

std::optional<DecodeTemplates::Head> DecodeTemplates::head_of(std::span<const std::uint8_t> bytes, CodeMode mode) {
  const bool is_long = mode == CodeMode::kLong64;
  if (bytes.size() < kWindow || (!is_long && mode != CodeMode::kProtected32)) return std::nullopt;
  Head head;
  std::size_t at = 0;
  while (at < kLongestHead && kPrefixes[bytes[at]]) ++at;
  if (is_long && (bytes[at] & 0xf0U) == 0x40) ++at;
  std::uint8_t opcode = bytes[at++];
  if (opcode != kEscape) {
    head.has_modrm = kWithModrm[opcode];
  } else {
    opcode = bytes[at++];
    if (opcode == 0x38 || opcode == 0x3a) ++at;
    head.has_modrm = !kWithoutModrm0F[opcode];
  }
  if (head.has_modrm) {
    const std::uint8_t modrm = bytes[at++];
    const bool has_sib = modrm < 0xc0 && (modrm & 7U) == 4;
    head.displacement = displacement_size(modrm, bytes[at]);
    if (has_sib) ++at;
  }
  if (at > kLongestHead) return std::nullopt;
  head.size = static_cast<std::uint8_t>(at);
  std::memcpy(&head.key, bytes.data(), sizeof head.key);
  head.key &= ~std::uint64_t{0} >> (64 - 8 * at);
  head.key |= (std::uint64_t{head.size} | static_cast<std::uint64_t>(mode) << 4U) << 56U;
  return head;
}

std::size_t DecodeTemplates::place_of(const Head& head) {
  constexpr std::uint64_t kGolden = 0x9e37'79b9'7f4a'7c15;  // 2^64 / the golden ratio
  return (head.key * kGolden) >> (64 - std::countr_zero(kTemplates));
}

bool DecodeTemplates::expand(std::span<const std::uint8_t> bytes, CodeMode mode, Instruction& instruction) const {
  const auto head = head_of(bytes, mode);
  if (!head) return false;
  const Template& known = templates_[place_of(*head)];
  if (known.key != head->key) return false;
  instruction = known.instruction;
  const std::uint8_t* at = bytes.data() + head->size;
  if (head->displacement != 0) instruction.disp = static_cast<std::int64_t>(number(at, head->displacement, true));
  at += head->displacement;
  if (known.immediate != 0) instruction.imm = number(at, known.immediate, known.is_signed);
  return true;
}

void DecodeTemplates::keep(std::span<const std::uint8_t> bytes, CodeMode mode, const ZydisDecodedInstruction& zydis,
                           const Instruction& instruction) {
  const auto head = head_of(bytes, mode);
  if (!head || zydis.encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY) return;
  // What Zydis saw must be what head_of() did: not so of VEX, x87, far pointers, 16-bit addresses and the like.
  const auto& raw = zydis.raw;
  const auto& immediate = raw.imm[0];
  const unsigned immediate_size = immediate.size / 8U;
  const bool has_modrm = (zydis.attributes & ZYDIS_ATTRIB_HAS_MODRM) != 0;
  const bool same = has_modrm == head->has_modrm && raw.disp.size / 8U == head->displacement && raw.imm[1].size == 0 &&
                    (raw.disp.size == 0 || raw.disp.offset == head->size) &&
                    (immediate_size == 0 || immediate.offset == head->size + head->displacement) &&
                    zydis.length == head->size + head->displacement + immediate_size;
  if (!same || immediate_size == 2) return;  // operations cut those
  Template fresh{.key = head->key,
                 .immediate = static_cast<std::uint8_t>(immediate_size),
                 .is_signed = immediate.is_signed != 0,
                 .instruction = instruction};
  const std::uint8_t* const behind = bytes.data() + head->size + head->displacement;
  if (immediate_size != 0 && number(behind, immediate_size, fresh.is_signed) != instruction.imm) return;
  templates_[place_of(*head)] = fresh;
}

}  // namespace doppel::accel::soft
