// A stub ready to run, and the handlers that run it: availability checks, the memory operand, what faults become.
#pragma once

#include <cstdint>

#include "accel/soft/interpreter/availability.h"
#include "accel/soft/interpreter/instruction.h"
#include "accel/soft/interpreter/stub_emitter.h"
#include "accel/soft/runtime/host_fault.h"

namespace doppel::accel::soft {

/// Which elements of a memory operand are accessed. Others must not fault (SDM 2A 2.8, exception types with fault
/// suppression).
enum class ActiveElements : std::uint8_t {
  kAll,
  kOpmask,       // bit n of a mask register: element n; of several bits for one element, any
  kOpmaskCount,  // as many as the mask register has bits: compress and expand
  kSignBits,     // of a vector register's elements
  kByteSignBits  // MASKMOVQ, MASKMOVDQU: the same, byte by byte; of an MMX register if X87
};

class NativeStub {
 public:
  StubFunction function = nullptr;
  GuardedInstruction guarded;
  Requirement needed;
  std::uint16_t memory_size = 0;     // bytes, 0: no memory operand
  std::uint16_t alignment_mask = 0;  // of its address: #GP if any of these bits is set
  bool reads_memory = false;
  bool writes_memory = false;
  bool flags = false;
  bool x87 = false;            // uses x87 or MMX registers
  bool sets_pointers = false;  // is remembered as the last x87 instruction
  std::uint16_t fop = 0;       // its opcode, then

  ActiveElements active = ActiveElements::kAll;
  std::uint8_t mask_register = 0;
  std::uint8_t element_size = 0;   // bytes
  std::uint8_t elements = 0;       // of the memory operand
  std::uint8_t lanes = 0;          // kOpmask: bits of the mask
  bool faults_as_a_whole = false;  // inactive elements are not stored, but must be accessible
};

/// The handler for STUB. Instruction.stub must be STUB when it runs.
Handler stub_handler(const NativeStub& stub);

}  // namespace doppel::accel::soft
