// Generates the code around one guest instruction that the host executes (native_stub.h).
//
// A stub is a function of four arguments: the vector and x87 state, the host address of the memory operand, the general
// registers, and the arithmetic flags as LAHF and SETO put them into AX. It returns the flags in the same form. The
// instruction runs with each guest register in the host register of the same number, but for RSP, which is the host's;
// whatever else the stub needs sits in registers that the instruction does not touch.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "accel/soft/interpreter/fpu_state.h"
#include "accel/soft/interpreter/operation.h"

namespace doppel::accel::soft {

using StubFunction = std::uint64_t (*)(FpuState* fpu, void* memory, std::uint64_t* gpr, std::uint32_t flags);

/// Which registers of a kind an instruction reads or writes, and which it writes, by guest number.
struct RegisterUse {
  std::uint32_t used = 0;
  std::uint32_t written = 0;
  void add(unsigned number, bool is_written) {
    used |= 1U << number;
    if (is_written) written |= 1U << number;
  }
};

/// How much of vector registers the host has: XMM alone, YMM, ZMM and k0-k7; 64-bit masks.
enum class HostVectors : std::uint8_t { kSse, kAvx, kAvx512f, kAvx512bw };
HostVectors host_vectors();

/// What a stub must put in place before the instruction, and take back after it.
struct StubPlan {
  RegisterUse gpr;
  RegisterUse vector;
  RegisterUse mask;
  ZydisInstructionEncoding encoding = ZYDIS_INSTRUCTION_ENCODING_LEGACY;  // says how wide vector registers are
  bool x87 = false;                                                       // or MMX
  bool mxcsr = false;                                                     // not needed with X87
  bool flags = false;
  bool memory = false;
  bool memory_in_rdi = false;  // MASKMOVDQU's operand
};

/// The host registers that play a part of their own.
struct StubRegisters {
  std::uint8_t fpu = 0;
  std::uint8_t memory = 0;  // one that ModRM can name as [register] without a prefix
  std::uint8_t gpr_file = 0;
  std::uint8_t stack_pointer = 0;  // stands in for the guest's RSP
};
StubRegisters assign_registers(const StubPlan& plan);

/// One instruction, with room for more prefixes and displacement than the guest's had.
struct MachineCode {
  std::array<std::uint8_t, 24> bytes{};
  std::uint8_t size = 0;
  void add(unsigned byte) { bytes.at(size++) = static_cast<std::uint8_t>(byte); }
  [[nodiscard]] std::span<const std::uint8_t> span() const { return std::span(bytes).first(size); }
};

/// Is VEX.W or EVEX.W without a meaning for DECODED outside of 64-bit code, where it means 64 bits?
bool has_w_for_64_bits(const Decoded& decoded);

/// DECODED, whose bytes are BYTES, as 64-bit code with its memory operand at [REGISTERS.memory].
MachineCode relocate(const Decoded& decoded, const std::uint8_t* bytes, const StubRegisters& registers);

struct StubCode {
  std::vector<std::uint8_t> bytes;  // does not depend on where it is
  std::size_t instruction = 0;      // offset of the guest's instruction
  std::size_t resume = 0;           // offset of where a fault in it goes on
};
StubCode emit_stub(const StubPlan& plan, const StubRegisters& registers, const MachineCode& instruction);

}  // namespace doppel::accel::soft
