// From bytes to Instruction: Zydis decodes, the operation tables give the function.
#pragma once

#include <Zydis/Zydis.h>

#include <array>
#include <cstdint>
#include <span>

#include "accel/soft/interpreter/decode_templates.h"
#include "accel/soft/interpreter/instruction.h"
#include "accel/soft/interpreter/isa_features.h"
#include "x86/features.h"

namespace doppel::accel::soft {

class NativeStubs;

inline constexpr unsigned kLongestInstruction = 15;  // bytes (SDM 2A 2.3.11)

enum class DecodeStatus : std::uint8_t { kDone, kTooShort };

class Decoder {
 public:
  /// FEATURES is what the guest's CPUID shows: the rest is #UD, or what older processors make of it.
  Decoder(const x86::FeatureSet& features, NativeStubs& stubs);

  /// BYTES begins with the instruction; at most 15 matter. kTooShort: more bytes are needed to tell. What is no
  /// instruction becomes one that raises #UD (#GP, if it is too long).
  DecodeStatus decode(std::span<const std::uint8_t> bytes, CodeMode mode, Instruction& instruction);

  /// Decodes BYTES again, for who wants to see more than INSTRUCTION, which decode() made of them. False: it is one
  /// that only faults.
  bool accepts(std::span<const std::uint8_t> bytes, CodeMode mode, const Instruction& instruction,
               ZydisDecodedInstruction& zydis, std::span<ZydisDecodedOperand, ZYDIS_MAX_OPERAND_COUNT> operands) const;
  /// Was it made of bytes that are no instruction?
  [[nodiscard]] static bool only_faults(const Instruction& instruction);
  /// Do the operation tables have a row for it?
  [[nodiscard]] static bool has_operation(ZydisMnemonic mnemonic);

 private:
  [[nodiscard]] Handler select(const ZydisDecodedInstruction& zydis, std::span<const ZydisDecodedOperand> operands,
                               CodeMode mode, const std::uint8_t* bytes, Instruction& instruction) const;

  NativeStubs& stubs_;
  const IsaSets isa_sets_;
  std::array<ZydisDecoder, 4> zydis_;  // by CodeMode
  DecodeTemplates templates_;
};

}  // namespace doppel::accel::soft
