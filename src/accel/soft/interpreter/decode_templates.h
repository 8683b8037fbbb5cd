// Decoding what was decoded before in all but its numbers: instructions of equal prefixes, opcode, ModRM and SIB are
// equal but for displacement and immediate, and programs have few thousands of such heads. Code that runs once takes
// two thirds of the time that it takes with Zydis alone.
#pragma once

#include <Zydis/Zydis.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "accel/soft/interpreter/instruction.h"

namespace doppel::accel::soft {

/// Of one decoder: its features count as well.
class DecodeTemplates {
 public:
  /// Bytes that expand() and keep() look at.
  static constexpr std::size_t kWindow = 20;

  /// Makes INSTRUCTION of BYTES, of which there are kWindow. False: its like has not been kept.
  bool expand(std::span<const std::uint8_t> bytes, CodeMode mode, Instruction& instruction) const;
  /// INSTRUCTION was made of BYTES, which Zydis sees as ZYDIS. Nothing is kept of what differs in more than numbers.
  void keep(std::span<const std::uint8_t> bytes, CodeMode mode, const ZydisDecodedInstruction& zydis,
            const Instruction& instruction);

 private:
  static constexpr std::size_t kTemplates = 4096;

  /// What comes before displacement and immediate (SDM 2A 2.1), at most 7 bytes of it.
  struct Head {
    std::uint64_t key = 0;  // the bytes, their number and the mode
    std::uint8_t size = 0;
    std::uint8_t displacement = 0;  // bytes that follow
    bool has_modrm = false;
  };
  struct Template {
    std::uint64_t key = 0;       // 0: empty
    std::uint8_t immediate = 0;  // bytes
    bool is_signed = false;      // the immediate
    Instruction instruction;
  };

  /// None: it is of a kind that is not kept.
  [[nodiscard]] static std::optional<Head> head_of(std::span<const std::uint8_t> bytes, CodeMode mode);
  [[nodiscard]] static std::size_t place_of(const Head& head);

  std::vector<Template> templates_ = std::vector<Template>(kTemplates);
};

}  // namespace doppel::accel::soft
