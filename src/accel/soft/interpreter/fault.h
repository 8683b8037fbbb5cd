// What unwinds the interpreter out of the middle of an instruction. Thrown and caught within accel/soft alone: a memory
// operand is an expression deep inside an operation, most accesses succeed, and the way without a fault costs nothing.
//
// An operation makes its last memory access before it changes any register, so that it can be run again from the start.
#pragma once

#include <cstdint>

#include "x86/registers.h"

namespace doppel::accel::soft {

/// An exception for the guest (SDM 3A chapter 6). CR2 is set already for a page fault, DR6 for a debug exception.
struct Fault {
  std::uint8_t vector = x86::kGeneralProtection;
  bool has_error_code = false;
  std::uint32_t error_code = 0;
};

/// The instruction needs the answer of a bus access that leaves run(); it will be executed again with the answer.
struct BusWait {};

[[noreturn]] inline void raise(std::uint8_t vector) {
  throw Fault{vector, false, 0};
}
[[noreturn]] inline void raise(std::uint8_t vector, std::uint32_t error_code) {
  throw Fault{vector, true, error_code};
}
/// #GP(0), the answer to most things a guest may not do.
[[noreturn]] inline void raise_gp(std::uint32_t error_code = 0) {
  raise(x86::kGeneralProtection, error_code);
}
[[noreturn]] inline void raise_ud() {
  raise(x86::kInvalidOpcode);
}

}  // namespace doppel::accel::soft
