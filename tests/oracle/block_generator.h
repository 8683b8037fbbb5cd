// Random blocks of instructions that may be executed in this process: each is drawn for the state that those before it
// lead to, as the interpreter carries them out, so that its accesses stay within the arena or fault there. Where they
// would not, a register is given another value, at the block's beginning or by a MOV in front.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "guest_runner.h"
#include "instruction_forms.h"
#include "processor_state.h"
#include "random.h"
#include "state_generator.h"

namespace doppel::oracle {

using Memory = std::vector<std::byte>;  // layout::kDataSize bytes

struct BlockStep {
  Sample sample;
  GuestRunner::Decoded decoded;
  /// It stores its immediate, of so many bytes, at PATCH_OFFSET of the block: into an instruction that comes later.
  unsigned patch_size = 0;
  std::size_t patch_offset = 0;
};

struct CodeBlock {
  std::uint64_t address = 0;
  std::vector<BlockStep> steps;
  std::vector<std::uint8_t> bytes;
  ProcessorState start;
  Memory memory;
  std::uint64_t undefined_flags = 0;    // behind it
  std::uint64_t cr2_tolerance = 0;      // bits of CR2 that need not be right
  std::uint16_t address_registers = 0;  // by number, bit by bit
  std::vector<std::size_t> patched;     // offsets of immediates, of four bytes, that steps store to

  [[nodiscard]] std::uint64_t end() const { return address + bytes.size(); }
};

class BlockGenerator {
 public:
  /// GUEST carries out what is drawn. The bases are what both sides have.
  BlockGenerator(const InstructionForms& forms, GuestRunner& guest, std::uint64_t fs_base, std::uint64_t gs_base);

  CodeBlock draw(Random& random, unsigned steps);
  /// Another state for BLOCK to begin with: registers that address memory stay about where they were.
  void vary(const CodeBlock& block, Random& random, ProcessorState& state, std::span<std::byte> memory) const;

  struct Rehearsal {
    bool safe = false;
    ProcessorState state;
    Ending ending;
  };
  /// What becomes of STATE, and of the guest's data, if BLOCK holds the bytes CODE by now. Not SAFE: it may access or
  /// go where it must not, and was given up.
  Rehearsal rehearse(CodeBlock& block, const ProcessorState& state, std::span<std::uint8_t> code) const;

  /// May a branch of BLOCK's end at TARGET? Nothing can be executed there, on either side.
  [[nodiscard]] static bool is_safe_target(const CodeBlock& block, std::uint64_t target);

 private:
  class Builder;

  [[nodiscard]] std::optional<Sample> draw_sample(Random& random, std::uint64_t address) const;

  const InstructionForms& forms_;
  GuestRunner& guest_;
  const std::uint64_t fs_base_;
  const std::uint64_t gs_base_;
  std::vector<const Form*> general_;  // those that most programs are made of
  std::vector<const Form*> all_;
  std::vector<const Form*> strings_;
  std::vector<const Form*> gathers_;  // and scatters
};

}  // namespace doppel::oracle
