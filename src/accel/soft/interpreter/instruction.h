// One decoded guest instruction: an operation and its operands, ready to run.
#pragma once

#include <cstdint>

#include "x86/cpu_state.h"

namespace doppel::accel::soft {

class Cpu;
struct Instruction;
class NativeStub;

/// Carries out one instruction. RIP is behind it already; an operation that jumps sets it last.
using Handler = void (*)(Cpu& cpu, const Instruction& instruction);

/// What the meaning of instruction bytes depends on.
enum class CodeMode : std::uint8_t { kReal16, kProtected16, kProtected32, kLong64 };

/// A register operand is a byte offset into Cpu's register file: 8 * number, plus 1 for AH to BH.
using RegisterOffset = std::uint8_t;
inline constexpr RegisterOffset kZeroRegister = 16 * 8;  // reads as zero: no base, no index
inline constexpr RegisterOffset kRipRegister = 17 * 8;

enum class Repeat : std::uint8_t { kNone, kRep, kRepne };  // kRep: F3, also spelled REPE

struct Instruction {
  Handler handler = nullptr;
  union {
    std::uint64_t imm = 0;  // immediate, sign-extended to 64 bits; branch displacement; second immediate in EXTRA
    const NativeStub* stub;
  };
  std::int64_t disp = 0;               // memory operand: (BASE + INDEX << SCALE + DISP) & address mask
  RegisterOffset reg = kZeroRegister;  // ModRM.reg
  RegisterOffset rm = kZeroRegister;   // ModRM.rm or the opcode's register, or the implicit accumulator
  RegisterOffset base = kZeroRegister;
  RegisterOffset index = kZeroRegister;
  std::uint8_t scale = 0;               // 0 to 3
  x86::SegmentName segment = x86::kDs;  // of the memory operand, override applied
  std::uint8_t address_size = 8;        // bytes: 2, 4 or 8
  std::uint8_t operand_size = 4;        // bytes: 1, 2, 4 or 8
  std::uint8_t length = 0;              // bytes
  Repeat repeat = Repeat::kNone;
  bool lock = false;
  bool has_memory = false;
  bool ends_block = false;
  bool enters_handler = false;  // INT n, SYSCALL and the like: no single-step trap behind them if they clear TF
  std::uint8_t extra = 0;       // an operation's own
  std::uint16_t selector = 0;   // far pointers
};

}  // namespace doppel::accel::soft
