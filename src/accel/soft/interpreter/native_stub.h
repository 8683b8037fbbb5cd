// Instructions that the host executes itself, on the guest's registers: everything unprivileged that the operation
// tables leave out (x87, MMX, SSE to AVX-512, BMI, ADX, CRC32, AES, SHA ...), so that results, flags, MXCSR and x87
// state are the host's to the bit.
//
// A stub is the same instruction with its memory operand turned into one behind a host register, between code that
// loads the registers which it reads and stores those that it writes (stub_emitter.h). Host exceptions inside a stub
// (SIGFPE, SIGSEGV of #GP for misalignment, SIGILL) become the guest's (runtime/host_fault.h).
#pragma once

#include <cstdint>
#include <memory>

#include "accel/soft/interpreter/instruction.h"
#include "accel/soft/interpreter/operation.h"
#include "x86/features.h"

namespace doppel::accel::soft {

/// The features by which a program sees that it may use instructions of the stubs' kind, as far as the host, its
/// operating system and the decoder have them.
x86::FeatureSet host_native_features();

/// Is ZYDIS, which no operation table has a row for, one of the x87, vector and bit manipulation instructions that work
/// on registers, flags and memory alone, and that this host has?
bool is_native_extension(const ZydisDecodedInstruction& zydis);
/// One of x87's opcodes?
bool is_x87(const ZydisDecodedInstruction& zydis);

/// Makes and owns stubs; those of equal instructions are shared. One per vCPU, used on its thread.
///
/// Stubs live until clear(). A guest can make up more instructions than there is room for, so whoever decodes asks
/// wants_clear() before each block and, if so, forgets all decoded blocks and calls clear().
class NativeStubs {
 public:
  NativeStubs();
  ~NativeStubs();
  NativeStubs(const NativeStubs&) = delete;
  NativeStubs& operator=(const NativeStubs&) = delete;

  /// A handler for DECODED, whose bytes are BYTES, with INSTRUCTION.stub set; null if the host cannot execute it or it
  /// is not of the kind that stubs are for.
  Handler select(const Decoded& decoded, const std::uint8_t* bytes, Instruction& instruction);

  /// Is it time for clear()? There is still room for many more instructions than a block has.
  [[nodiscard]] bool wants_clear() const;
  /// No Instruction that select() has seen may be executed any more.
  void clear();

 private:
  struct Implementation;
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace doppel::accel::soft
