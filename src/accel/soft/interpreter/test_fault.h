// Whether an instruction raises an exception in the guest, and virtual-8086 mode to try it in. For unit tests.
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

/// From tiny::Mode::kProtected32 to virtual-8086 mode with IOPL; faults come out as in protected mode.
inline void enter_vm86(TestCpu& test, unsigned iopl) {
  test.poke<std::uint32_t>(tiny::kTss + 4, tiny::kKernelStackTop);  // ESP0
  test.poke<std::uint32_t>(tiny::kTss + 8, tiny::kData32);          // SS0
  for (x86::Segment& segment : test.cpu.segment)
    segment = {.base = 0, .limit = 0xffff, .selector = 0, .type = 3, .dpl = 3};
  test.cpu.rflags = (test.cpu.rflags & ~x86::rflags::kIopl) | x86::rflags::kVm | iopl << x86::rflags::kIoplShift;
  test.cpu.update_mode();
}

}  // namespace doppel::accel::soft
