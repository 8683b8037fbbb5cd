// Every form of every instruction that Zydis knows in 64-bit mode, found by trying all opcodes, and concrete
// instructions of a form with the rest of the encoding drawn at random.
#pragma once

#include <Zydis/Zydis.h>

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "random.h"

namespace doppel::oracle {

enum class Encoding : std::uint8_t { kLegacy, kVex, kEvex };

/// The part of an encoding that selects the form.
struct OpcodeShape {
  Encoding encoding = Encoding::kLegacy;
  std::uint8_t map = 0;  // 0: one byte, 1: 0F, 2: 0F38, 3: 0F3A
  std::uint8_t opcode = 0;
  std::uint8_t prefix = 0;  // index of the mandatory or repeat prefixes
  bool w = false;
  std::uint8_t length = 0;  // VEX.L, EVEX.L'L
  bool b = false;           // EVEX.b
  std::uint8_t reg = 0;     // ModRM.reg, its low three bits
  std::uint8_t rm = 0;      // ModRM.rm of a register form
  bool memory = false;
};

struct Form {
  ZydisMnemonic mnemonic = ZYDIS_MNEMONIC_INVALID;
  ZydisISASet isa_set = ZYDIS_ISA_SET_INVALID;
  std::vector<OpcodeShape> shapes;  // all that give this form
};

/// A concrete instruction and where it lies.
struct Sample {
  std::uint64_t address = 0;
  std::array<std::uint8_t, ZYDIS_MAX_INSTRUCTION_LENGTH> storage{};
  ZydisDecodedInstruction zydis{};
  std::array<ZydisDecodedOperand, ZYDIS_MAX_OPERAND_COUNT> operand_storage{};

  [[nodiscard]] std::span<const std::uint8_t> bytes() const { return {storage.data(), zydis.length}; }
  [[nodiscard]] std::span<const ZydisDecodedOperand> operands() const {
    return {operand_storage.data(), zydis.operand_count};
  }
  /// In Intel syntax.
  [[nodiscard]] std::string text() const;
};

/// What makes two encodings the same form: mnemonic, encoding, map, opcode, operands' kinds and sizes, repeat prefixes,
/// EVEX.b, and whether there is memory.
using FormKey =
    std::tuple<ZydisMnemonic, Encoding, std::uint8_t, std::uint8_t, std::uint64_t, std::uint64_t, bool, bool>;

class InstructionForms {
 public:
  InstructionForms();

  [[nodiscard]] const std::vector<Form>& forms() const { return forms_; }
  /// Mnemonics left out entirely or in part, by reason.
  [[nodiscard]] const std::map<std::string_view, std::map<std::string_view, unsigned>>& excluded() const {
    return excluded_;
  }
  /// An instruction of FORM; its memory operand, if absolute or relative to RIP, points into the data area. GS_BASE
  /// and FS_BASE are what such an address is relative to under these prefixes. Empty: bad luck, try again.
  [[nodiscard]] std::optional<Sample> draw(const Form& form, Random& random, std::uint64_t gs_base) const;
  /// The same at ADDRESS.
  [[nodiscard]] std::optional<Sample> draw_at(std::uint64_t address, const Form& form, Random& random,
                                              std::uint64_t gs_base) const;
  /// What BYTES begin with. Empty: no instruction.
  [[nodiscard]] std::optional<Sample> sample_at(std::uint64_t address, std::span<const std::uint8_t> bytes) const;

 private:
  enum class Addition : std::uint8_t { kInvalid, kHasModRm, kNoModRm };
  Addition add(const OpcodeShape& shape, std::map<FormKey, std::size_t>& index);
  bool decode(Sample& sample, std::size_t available) const;

  ZydisDecoder decoder_;
  std::vector<Form> forms_;
  std::map<std::string_view, std::map<std::string_view, unsigned>> excluded_;
};

}  // namespace doppel::oracle
