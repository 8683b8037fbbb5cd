// Random processor and memory contents for one instruction, such that all its memory accesses stay within the arena
// (or fault on purpose).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "instruction_forms.h"
#include "processor_state.h"
#include "random.h"

namespace doppel::oracle {

class StateGenerator {
 public:
  /// The bases of FS and GS on both sides.
  StateGenerator(Random& random, std::uint64_t fs_base, std::uint64_t gs_base);

  /// From here on states are for SAMPLE, which must live on. Fills all registers and MEMORY anew.
  void begin(const Sample& sample, std::span<std::byte, layout::kDataSize> memory);
  /// Changes STATE and MEMORY to another start state. False: the instruction would leave the arena; try again.
  bool next(ProcessorState& state, std::span<std::byte, layout::kDataSize> memory);

  /// SAMPLE, which must live on, is another instruction of the same block: nothing is filled anew.
  void follow(const Sample& sample) { sample_ = &sample; }
  /// Moves general registers such that its accesses lie where next() would have them. False: they cannot.
  bool aim(ProcessorState& state);
  /// Do all of them stay within the arena?
  [[nodiscard]] bool stays(const ProcessorState& state) const;

  /// Linear address of the instruction's first memory operand in STATE.
  [[nodiscard]] std::uint64_t address_of_memory(const ProcessorState& state) const;

 private:
  void fill_general(ProcessorState& state);
  void fill_vectors(ProcessorState& state);
  void fill_x87(ProcessorState& state);
  void fill_control(ProcessorState& state);
  void place_special_registers(ProcessorState& state);
  bool place_memory_operands(ProcessorState& state);
  void place_operand(ProcessorState& state, const ZydisDecodedOperand& operand);
  void place_indices(ProcessorState& state, const ZydisDecodedOperand& operand);
  void fill_memory(const ProcessorState& state, std::span<std::byte, layout::kDataSize> memory);
  void clear_popped_trap_flag(const ProcessorState& state, std::span<std::byte, layout::kDataSize> memory) const;
  bool fill_branch_target(ProcessorState& state, std::span<std::byte, layout::kDataSize> memory);
  [[nodiscard]] bool elements_stay(const ProcessorState& state, const ZydisDecodedOperand& operand) const;
  [[nodiscard]] bool stays_in_arena(const ProcessorState& state, const ZydisDecodedOperand& operand) const;
  [[nodiscard]] std::uint64_t address_of(const ProcessorState& state, const ZydisDecodedOperand& operand,
                                         std::uint64_t index) const;
  [[nodiscard]] std::uint64_t segment_base(ZydisRegister segment) const;
  [[nodiscard]] std::uint64_t target(std::uint64_t size);
  [[nodiscard]] std::optional<std::uint64_t> string_target(const ProcessorState& state, std::uint64_t size);
  [[nodiscard]] bool is(ZydisMnemonic mnemonic) const { return sample_->zydis.mnemonic == mnemonic; }

  Random& random_;
  const std::uint64_t fs_base_;
  const std::uint64_t gs_base_;
  const Sample* sample_ = nullptr;
  std::vector<unsigned> vectors_;  // registers that SAMPLE mentions
  bool uses_x87_ = false;
  bool refill_ = false;
};

}  // namespace doppel::oracle
