// Instructions that the host executes itself, on the guest's registers: everything unprivileged that the operation
// tables leave out (x87, MMX, SSE to AVX-512, BMI, ADX, CRC32, AES, SHA ...), so that results, flags, MXCSR and x87
// state are the host's to the bit.
//
// A stub is the same instruction with its memory operand turned into one behind a host register, between code that
// loads the registers which it reads and stores those that it writes. Host faults inside a stub (SIGFPE, SIGSEGV of
// #GP for misalignment, SIGILL) become the guest's.
#pragma once

#include <cstdint>
#include <memory>

#include "accel/soft/interpreter/instruction.h"
#include "accel/soft/interpreter/operation.h"

namespace doppel::accel::soft {

/// Makes and owns stubs; those of equal instructions are shared. One per vCPU.
class NativeStubs {
 public:
  NativeStubs();
  ~NativeStubs();
  NativeStubs(const NativeStubs&) = delete;
  NativeStubs& operator=(const NativeStubs&) = delete;

  /// A handler for DECODED, whose bytes are BYTES, with INSTRUCTION.stub set; null if the host cannot execute it or it
  /// is not of the kind that stubs are for.
  Handler select(const Decoded& decoded, const std::uint8_t* bytes, Instruction& instruction);

 private:
  struct Implementation;
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace doppel::accel::soft
