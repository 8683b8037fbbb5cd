// Whether an instruction raises an exception in the guest. For unit tests.
#pragma once

#include "accel/soft/interpreter/test_cpu.h"

namespace doppel::accel::soft {

/// Runs CODE, one instruction, which is expected to raise VECTOR.
inline bool raises(TestCpu& test, std::uint8_t vector, std::span<const std::uint8_t> code) {
  constexpr std::uint8_t kHlt = 0xf4;
  test.catch_vector(vector);
  test.poke(tiny::kHandler, kHlt);
  return test.run(code) == StopReason::kHalt && test.cpu.rip == tiny::kHandler + 1;
}
inline bool raises(TestCpu& test, std::uint8_t vector, std::initializer_list<std::uint8_t> code) {
  return raises(test, vector, std::span(code.begin(), code.size()));
}

}  // namespace doppel::accel::soft
