// What must be equal after an instruction, and how a difference is shown.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "instruction_forms.h"
#include "processor_state.h"

namespace doppel::oracle {

struct Outcome {
  const ProcessorState& state;
  const Ending& ending;
  std::span<const std::byte, layout::kDataSize> memory;
};

/// What SAMPLE leaves undefined, or what processors differ in.
struct Tolerance {
  std::uint64_t rflags = 0;       // bits that need not be equal
  std::uint32_t image_holes = 0;  // of the memory operand: bit N stands for bytes 2N and 2N + 1
  std::uint64_t cr2 = 0;          // bits that need not be equal
  bool may_fault = false;         // the host may fault where the guest need not
  bool any_fault = false;         // where both fault, they may do so for different reasons
};
Tolerance tolerance_of(const Sample& sample);
/// Makes the bytes at ADDRESS that TOLERANCE excepts equal.
void fill_holes(const Tolerance& tolerance, std::uint64_t address, std::span<const std::byte, layout::kDataSize> native,
                std::span<std::byte, layout::kDataSize> guest);

bool same(const Outcome& native, const Outcome& guest, const Tolerance& tolerance);
/// One line for each part that differs: its value before, natively, and in the guest.
std::vector<std::string> differences(const ProcessorState& before, std::span<const std::byte> memory_before,
                                     const Outcome& native, const Outcome& guest, const Tolerance& tolerance);
/// The registers that SAMPLE names, flags and control registers.
std::string describe_inputs(const Sample& sample, const ProcessorState& before);

}  // namespace doppel::oracle
