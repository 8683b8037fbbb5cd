#include "instruction_forms.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <tuple>

#include "accel/soft/interpreter/isa_features.h"
#include "exclusions.h"
#include "processor_state.h"
#include "x86/cpuid_table.h"
#include "x86/features.h"

namespace doppel::oracle {

namespace {

/// By OpcodeShape::prefix; VEX and EVEX have the first four alone.
struct PrefixBytes {
  std::uint8_t count;
  std::array<std::uint8_t, 2> bytes;
  std::uint8_t pp;
};
constexpr std::array kPrefixes = {
    PrefixBytes{0, {}, 0},     PrefixBytes{1, {0x66}, 1},       PrefixBytes{1, {0xf3}, 2},
    PrefixBytes{1, {0xf2}, 3}, PrefixBytes{2, {0x66, 0xf3}, 2}, PrefixBytes{2, {0x66, 0xf2}, 3},
};

struct Escape {
  std::uint8_t count;
  std::array<std::uint8_t, 2> bytes;
};
constexpr std::array kEscapes = {Escape{0, {}}, Escape{1, {0x0f}}, Escape{2, {0x0f, 0x38}}, Escape{2, {0x0f, 0x3a}}};

/// One-byte opcodes that are prefixes or escapes in 64-bit mode.
bool is_prefix(std::uint8_t opcode) {
  static constexpr std::array kBytes = {0x0f, 0x26, 0x2e, 0x36, 0x3e, 0x62, 0x64, 0x65,
                                        0x66, 0x67, 0xc4, 0xc5, 0xf0, 0xf2, 0xf3};
  return (opcode & 0xf0) == 0x40 || std::ranges::find(kBytes, opcode) != kBytes.end();
}

/// Collects bytes; 16 are room enough for what is then cut to an instruction.
class Assembler {
 public:
  explicit Assembler(Random& random) : random_(random) {}

  void byte(std::uint64_t value) {
    if (size_ < bytes_.size()) bytes_[size_++] = static_cast<std::uint8_t>(value);
  }
  void number(std::uint64_t value, unsigned size) {
    for (unsigned i = 0; i < size; ++i) byte(value >> (8 * i));
  }
  [[nodiscard]] std::span<const std::uint8_t> bytes() const { return {bytes_.data(), size_}; }

  void instruction(const OpcodeShape& shape, bool plain) {
    plain_ = plain;
    switch (shape.encoding) {
      case Encoding::kLegacy: legacy(shape); break;
      case Encoding::kVex: vex(shape); break;
      case Encoding::kEvex: evex(shape); break;
    }
    if (shape.memory)
      memory(shape);
    else
      byte(0xc0U | static_cast<unsigned>(shape.reg) << 3U | shape.rm);
    number(random_.one_in(2) ? random_.integer() : random_.next(), 8);  // immediate
    number(0, 8);
  }

 private:
  bool chance(unsigned n) { return !plain_ && random_.one_in(n); }

  void address_prefixes(const OpcodeShape& shape) {
    static constexpr std::array<std::uint8_t, 6> kSegments = {0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65};
    if (shape.memory && chance(12)) byte(random_.choose(kSegments));
    if (shape.memory && chance(8)) byte(0x67);
  }
  void legacy(const OpcodeShape& shape) {
    address_prefixes(shape);
    if (shape.memory && chance(6)) byte(0xf0);
    const PrefixBytes& prefix = kPrefixes.at(shape.prefix);
    for (unsigned i = 0; i < prefix.count; ++i) byte(prefix.bytes.at(i));
    if (shape.w || chance(2)) byte(0x40U | (shape.w ? 8U : 0U) | (plain_ ? 0 : random_.below(8)));
    const Escape& escape = kEscapes.at(shape.map);
    for (unsigned i = 0; i < escape.count; ++i) byte(escape.bytes.at(i));
    byte(shape.opcode);
  }
  void vex(const OpcodeShape& shape) {
    address_prefixes(shape);
    const unsigned pp = kPrefixes.at(shape.prefix).pp;
    const std::uint64_t random = plain_ ? 0xff : random_.next();
    const unsigned tail = static_cast<unsigned>((plain_ ? 0xfU : vvvv()) << 3U) | (shape.length & 1U) << 2U | pp;
    if (shape.map == 1 && !shape.w && (random & 1) != 0) {
      byte(0xc5);
      byte((random & 0x80U) | tail);
    } else {
      byte(0xc4);
      byte((random & 0xe0U) | shape.map);
      byte((shape.w ? 0x80U : 0U) | tail);
    }
    byte(shape.opcode);
  }
  void evex(const OpcodeShape& shape) {
    address_prefixes(shape);
    const std::uint64_t random = plain_ ? 0xff : random_.next();
    byte(0x62);
    byte((random & 0xf0U) | shape.map);
    byte((shape.w ? 0x80U : 0U) | (plain_ ? 0xfU : vvvv()) << 3U | 4U | kPrefixes.at(shape.prefix).pp);
    const std::uint64_t mask = plain_ || random_.one_in(3) ? 0 : random_.below(8);
    const std::uint64_t zeroing = chance(3) && mask != 0 ? 0x80 : 0;
    const std::uint64_t upper_vvvv = plain_ || random_.one_in(2) ? 8 : 0;
    byte(zeroing | static_cast<unsigned>(shape.length) << 5U | (shape.b ? 0x10U : 0U) | upper_vvvv | mask);
    byte(shape.opcode);
  }
  /// Half of the time 1111b, which forms without a third operand want.
  std::uint64_t vvvv() { return random_.one_in(2) ? 0xf : random_.below(16); }

  void memory(const OpcodeShape& shape) {
    const unsigned reg = static_cast<unsigned>(shape.reg) << 3U;
    const std::uint64_t small =
        random_.one_in(4) ? random_.next() : static_cast<std::uint64_t>(random_.between(-512, 511));
    const unsigned mod = plain_ ? 0 : static_cast<unsigned>(random_.below(3));
    switch (plain_ ? 2 : random_.below(8)) {
      case 0: byte(0x05U | reg), number(0, 4); return;  // [rip + disp32], filled in later
      case 1: byte(0x04U | reg), byte(0x25), number(0, 4); return;
      case 2:  // [index * scale + disp32]
        byte(0x04U | reg), byte(random_.below(32) << 3U | 5U), number(small & 0x3ff, 4);
        return;
      case 3:
      case 4:
      case 5: byte(mod << 6U | reg | 4U), byte(random_.below(256)), displacement(mod, small); return;
      default: byte(mod << 6U | reg | random_.below(8)), displacement(mod, small); return;
    }
  }
  void displacement(unsigned mod, std::uint64_t value) {
    if (mod == 1) number(value, 1);
    if (mod == 2) number(value, 4);
  }

  Random& random_;
  bool plain_ = false;
  std::array<std::uint8_t, 32> bytes_{};
  std::size_t size_ = 0;
};

std::uint64_t operand_signature(const Sample& sample) {
  std::uint64_t hash = sample.zydis.operand_count_visible;
  for (const ZydisDecodedOperand& operand : sample.operands().first(sample.zydis.operand_count_visible))
    hash = (hash * 31 + static_cast<std::uint64_t>(operand.type)) * 1021 + operand.size;
  return hash;
}

FormKey key_of(const Sample& sample, const OpcodeShape& shape) {
  constexpr std::uint64_t kRepeats = ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE;
  return {sample.zydis.mnemonic,
          shape.encoding,
          shape.map,
          shape.opcode,
          operand_signature(sample),
          sample.zydis.attributes & kRepeats,
          shape.b,
          shape.memory};
}

/// All shapes worth trying.
template <class Visit>
void for_each_opcode(Visit visit) {
  struct Space {
    Encoding encoding;
    unsigned first_map, last_map, prefixes, lengths, bs;
  };
  static constexpr std::array kSpaces = {Space{Encoding::kLegacy, 0, 3, 6, 1, 1}, Space{Encoding::kVex, 1, 3, 4, 2, 1},
                                         Space{Encoding::kEvex, 1, 6, 4, 4, 2}};
  for (const Space& space : kSpaces)
    for (unsigned map = space.first_map; map <= space.last_map; ++map)
      for (unsigned opcode = 0; opcode < 256; ++opcode)
        for (unsigned prefix = 0; prefix < space.prefixes; ++prefix)
          for (unsigned length = 0; length < space.lengths; ++length)
            for (unsigned wb = 0; wb < 2 * space.bs; ++wb)
              visit(OpcodeShape{.encoding = space.encoding,
                                .map = static_cast<std::uint8_t>(map),
                                .opcode = static_cast<std::uint8_t>(opcode),
                                .prefix = static_cast<std::uint8_t>(prefix),
                                .w = (wb & 1U) != 0,
                                .length = static_cast<std::uint8_t>(length),
                                .b = (wb & 2U) != 0});
}

void patch(Sample& sample, std::size_t offset, std::uint64_t value, unsigned bits) {
  std::memcpy(sample.storage.data() + offset, &value, bits / 8);
}

/// A place in the data area, mostly aligned.
std::uint64_t data_target(Random& random) {
  const std::uint64_t offset = random.below(layout::kDataSize - 1024) + 256;
  return layout::kData + (random.one_in(4) ? offset : offset & ~std::uint64_t{63});
}

}  // namespace

std::string Sample::text() const {
  ZydisFormatter formatter;
  ZydisFormatterInit(&formatter, ZYDIS_FORMATTER_STYLE_INTEL);
  std::array<char, 256> text{};
  ZydisFormatterFormatInstruction(&formatter, &zydis, operand_storage.data(), zydis.operand_count_visible, text.data(),
                                  text.size(), address, nullptr);
  return text.data();
}

InstructionForms::InstructionForms() {
  ZydisDecoderInit(&decoder_, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
  // Without the feature these encodings are reserved NOPs.
  const auto sets = accel::soft::isa_sets_of(x86::features_of(x86::host_cpuid_table()));
  ZydisDecoderEnableMode(&decoder_, ZYDIS_DECODER_MODE_MPX, sets[ZYDIS_ISA_SET_MPX] ? 1 : 0);
  ZydisDecoderEnableMode(&decoder_, ZYDIS_DECODER_MODE_CET, sets[ZYDIS_ISA_SET_CET] ? 1 : 0);
  std::map<FormKey, std::size_t> index;
  for_each_opcode([&](OpcodeShape shape) {
    if (shape.encoding == Encoding::kLegacy && shape.map == 0 && is_prefix(shape.opcode)) return;
    for (unsigned reg = 0; reg < 8; ++reg) {
      shape.reg = static_cast<std::uint8_t>(reg);
      for (unsigned rm = 0; rm < 9; ++rm) {
        shape.memory = rm == 8;
        shape.rm = static_cast<std::uint8_t>(rm & 7U);
        if (add(shape, index) == Addition::kNoModRm) return;
      }
    }
  });
}

InstructionForms::Addition InstructionForms::add(const OpcodeShape& shape, std::map<FormKey, std::size_t>& index) {
  Random random(1);
  Sample sample;
  Assembler assembler(random);
  assembler.instruction(shape, true);
  std::memcpy(sample.storage.data(), assembler.bytes().data(), sample.storage.size());
  if (!decode(sample, sample.storage.size())) return Addition::kInvalid;
  const bool has_modrm = (sample.zydis.attributes & ZYDIS_ATTRIB_HAS_MODRM) != 0;
  if (const char* reason = why_excluded(sample.zydis)) {
    ++excluded_[reason][ZydisMnemonicGetString(sample.zydis.mnemonic)];
  } else {
    const auto [place, is_new] = index.try_emplace(key_of(sample, shape), forms_.size());
    if (is_new)
      forms_.push_back({.mnemonic = sample.zydis.mnemonic, .isa_set = sample.zydis.meta.isa_set, .shapes = {}});
    forms_[place->second].shapes.push_back(shape);
  }
  return has_modrm ? Addition::kHasModRm : Addition::kNoModRm;
}

bool InstructionForms::decode(Sample& sample, std::size_t available) const {
  if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder_, sample.storage.data(), available, &sample.zydis,
                                           sample.operand_storage.data())))
    return false;
  // Zydis 4.0 takes SIB base 101b without displacement byte for R13 with a 32-bit address and REX.B; there is none
  // (SDM 2A table 2-3, note 1: REX.B is not decoded there).
  const auto& raw = sample.zydis.raw;
  if ((sample.zydis.attributes & ZYDIS_ATTRIB_HAS_SIB) == 0 || raw.modrm.mod != 0 || raw.sib.base != 5) return true;
  for (ZydisDecodedOperand& operand : std::span(sample.operand_storage).first(sample.zydis.operand_count)) {
    if (operand.type != ZYDIS_OPERAND_TYPE_MEMORY || operand.visibility == ZYDIS_OPERAND_VISIBILITY_HIDDEN) continue;
    operand.mem.base = ZYDIS_REGISTER_NONE;
    operand.mem.disp.has_displacement = ZYAN_TRUE;
    operand.mem.disp.value = raw.disp.value;
  }
  return true;
}

std::optional<Sample> InstructionForms::draw(const Form& form, Random& random, std::uint64_t gs_base) const {
  // Every fourth lies across the pages' border.
  const std::uint64_t offset =
      random.one_in(4) ? layout::kPage - 1 - random.below(15) : 0x100 + random.below(layout::kCodeSize - 0x300);
  return draw_at(layout::kCode + offset, form, random, gs_base);
}

std::optional<Sample> InstructionForms::sample_at(std::uint64_t address, std::span<const std::uint8_t> bytes) const {
  Sample sample;
  sample.address = address;
  const std::size_t size = std::min(bytes.size(), sample.storage.size());
  std::ranges::copy(bytes.first(size), sample.storage.begin());
  if (!decode(sample, size)) return std::nullopt;
  return sample;
}

std::optional<Sample> InstructionForms::draw_at(std::uint64_t address, const Form& form, Random& random,
                                                std::uint64_t gs_base) const {
  const OpcodeShape shape = form.shapes[random.below(form.shapes.size())];
  Sample sample;
  sample.address = address;
  Assembler assembler(random);
  assembler.instruction(shape, false);
  std::memcpy(sample.storage.data(), assembler.bytes().data(), sample.storage.size());
  if (!decode(sample, sample.storage.size()) || sample.zydis.mnemonic != form.mnemonic) return std::nullopt;
  if (why_excluded(sample.zydis) != nullptr) return std::nullopt;
  const std::uint64_t next = sample.address + sample.zydis.length;
  const auto& raw = sample.zydis.raw;
  for (const ZydisDecodedOperand& operand : sample.operands()) {
    if (operand.type != ZYDIS_OPERAND_TYPE_MEMORY || raw.disp.size == 0) continue;
    const ZydisRegister base = operand.mem.base;
    const std::uint64_t segment = operand.mem.segment == ZYDIS_REGISTER_GS ? gs_base : 0;
    if (base == ZYDIS_REGISTER_RIP || base == ZYDIS_REGISTER_EIP)
      patch(sample, raw.disp.offset, data_target(random) - segment - next, 32);
    else if (base == ZYDIS_REGISTER_NONE && operand.mem.index == ZYDIS_REGISTER_NONE)
      patch(sample, raw.disp.offset, data_target(random) - segment, raw.disp.size);
    else if (base == ZYDIS_REGISTER_NONE)  // an index, or a vector of them, comes on top
      patch(sample, raw.disp.offset, layout::kData + layout::kDataSize / 2 - segment, 32);
  }
  if (raw.imm[0].is_relative) {
    const bool is_short = raw.imm[0].size == 8;
    const std::int64_t away = random.one_in(2) ? random.between(16, 127) : random.between(-128, -32);
    const std::int64_t far = random.between(0x2000, 0x1f'0000);
    patch(sample, raw.imm[0].offset, static_cast<std::uint64_t>(is_short || random.one_in(2) ? away : far),
          raw.imm[0].size);
  }
  const std::size_t length = sample.zydis.length;
  if (!decode(sample, length) || sample.zydis.length != length) return std::nullopt;
  return sample;
}

}  // namespace doppel::oracle
