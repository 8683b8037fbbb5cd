// Instructions as text, for -d. Intel's syntax, in lines that look like QEMU's.
#pragma once

#include <Zydis/Zydis.h>

#include <array>
#include <cstdint>
#include <span>
#include <string>

#include "accel/soft/interpreter/instruction.h"

namespace doppel::accel::soft {

class Disassembler {
 public:
  Disassembler();

  /// Appends the line of the one instruction that BYTES are, "0x00000010:  48 89 c3   mov rbx, rax".
  void instruction(std::string& text, CodeMode mode, std::span<const std::uint8_t> bytes, std::uint64_t address) const;
  /// Appends a line for each instruction in BYTES.
  void code(std::string& text, CodeMode mode, std::span<const std::uint8_t> bytes, std::uint64_t address) const;

 private:
  /// Appends the first one's line. Its length, 1 if it is none.
  std::size_t first(std::string& text, CodeMode mode, std::span<const std::uint8_t> bytes, std::uint64_t address) const;

  ZydisFormatter formatter_{};
  std::array<ZydisDecoder, 4> decoders_{};  // by CodeMode
};

}  // namespace doppel::accel::soft
