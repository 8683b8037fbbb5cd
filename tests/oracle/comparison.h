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

/// What SAMPLE leaves undefined, or differs in for a documented reason.
struct Tolerance {
  std::uint64_t rflags = 0;  // bits that need not be equal
  bool fop_fip_fdp = false;
  bool error_code_and_cr2 = false;
};
Tolerance tolerance_of(const Sample& sample);

bool same(const Outcome& native, const Outcome& guest, const Tolerance& tolerance);
/// One line for each part that differs: its value before, natively, and in the guest.
std::vector<std::string> differences(const ProcessorState& before, std::span<const std::byte> memory_before,
                                     const Outcome& native, const Outcome& guest, const Tolerance& tolerance);
/// The registers that SAMPLE names, flags and control registers.
std::string describe_inputs(const Sample& sample, const ProcessorState& before);

}  // namespace doppel::oracle
