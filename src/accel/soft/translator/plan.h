// What the translator makes of each instruction of a decoded block, before it emits anything.
#pragma once

#include <Zydis/Zydis.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "accel/soft/interpreter/code_cache.h"
#include "accel/soft/interpreter/cpu.h"
#include "accel/soft/interpreter/instruction.h"
#include "accel/soft/interpreter/stub_emitter.h"

namespace doppel::accel::soft {

/// How much of the guest's vector registers must be in the host's.
enum class VectorLevel : std::uint8_t { kNone, kSse, kAvx, kAvx512 };
inline constexpr unsigned kVectorLevels = 4;

/// What of the guest's registers, beside the general ones, must be in the host's.
struct ExtendedRegisters {
  VectorLevel vectors = VectorLevel::kNone;
  bool x87 = false;  // which MMX's are part of
  bool operator==(const ExtendedRegisters&) const = default;

  [[nodiscard]] bool include(const ExtendedRegisters& others) const {
    return vectors >= others.vectors && (x87 || !others.x87);
  }
  void add(const ExtendedRegisters& others) {
    vectors = std::max(vectors, others.vectors);
    x87 |= others.x87;
  }
  /// A number for each of the kExtendedRegisterSets.
  [[nodiscard]] unsigned number() const { return static_cast<unsigned>(vectors) * 2 + (x87 ? 1 : 0); }
};
inline constexpr unsigned kExtendedRegisterSets = 2 * kVectorLevels;

/// Where the arithmetic flags are, if anybody still reads them: behind an instruction that changes them in the host's
/// own register, until code that goes on without looking at them saves them in GateState to have the register for
/// itself.
enum class FlagsHome : std::uint8_t { kRegister, kMemory };

enum class Action : std::uint8_t {
  kInterpret,  // leave translated code for this instruction
  kVerbatim,   // the same bytes
  kMemory,     // the same, its memory operand looked up
  kAddress,    // LEA of a RIP-relative address
  kNothing,    // hints
  kPush,
  kPushMemory,
  kPushFlags,
  kPop,
  kLeave,
  kString,
  kGather,     // and scatters
  kBitString,  // BT and its like, the bit's number in a register
  kReadTsc,
  kJump,
  kJumpIf,
  kJumpCounter,  // JRCXZ, LOOP
  kCall,
  kReturn,
  kJumpIndirect,
  kCallIndirect,
  kDisableInterrupts,
  kEnableInterrupts,
  kClearDirection,
  kSetDirection,
  kReadSelector,  // into a register
  kSwapGs,
};
inline constexpr unsigned kActions = static_cast<unsigned>(Action::kSwapGs) + 1;

/// What a string instruction does with its elements (SDM 1 7.3.9).
struct StringUse {
  bool source = false;       // reads at RSI
  bool destination = false;  // accesses at RDI
  bool writes = false;       // there
  [[nodiscard]] bool compares() const { return destination && !writes; }
};
/// None: the mnemonic, of string instructions, is one that accesses ports.
[[nodiscard]] std::optional<StringUse> string_use(ZydisMnemonic mnemonic);

/// What code is like in ways that change how it is translated.
struct CodeKind {
  bool is_long = true;   // 64-bit code; else 32-bit code with flat CS, DS, ES and SS
  bool whole_fs = true;  // any offset in the segment may be read and written
  bool whole_gs = true;
  bool privileged = true;  // CPL 0
  bool operator==(const CodeKind&) const = default;

  /// Bytes of an address, of what PUSH pushes.
  [[nodiscard]] std::uint8_t word() const { return is_long ? 8 : 4; }
  [[nodiscard]] CodeMode mode() const { return is_long ? CodeMode::kLong64 : CodeMode::kProtected32; }
  [[nodiscard]] std::uint64_t address_mask() const { return kAddressMasks[word()]; }
};

/// The word that an action accesses at a register's value + OFFSET.
struct StackAccess {
  x86::Gpr reg = x86::kRsp;
  std::int8_t offset = 0;
  bool writes = false;
};
/// None: the action is none of the stack's, or makes more than one access.
std::optional<StackAccess> stack_access(Action action, const CodeKind& kind);

/// Do segments of that name have bases in translated code? The others' are zero there.
[[nodiscard]] inline bool has_base(x86::SegmentName segment) {
  return segment == x86::kFs || segment == x86::kGs;
}

/// Is the memory operand's address known but for its segment?
[[nodiscard]] inline bool is_constant(const Instruction& i) {
  return i.base == kRipRegister || (i.base == kZeroRegister && i.index == kZeroRegister);
}

/// R10 and R11 live in memory while translated code runs; their host registers are its temporaries.
struct SpilledUse {
  bool r10 = false;
  bool r11 = false;
  [[nodiscard]] bool any() const { return r10 || r11; }
  [[nodiscard]] bool both() const { return r10 && r11; }
};

/// Accesses of a block that lie close to each other, by the same registers: one lookup serves them all. It is made by
/// the first, for the bytes from LOW on.
struct GroupMember {
  std::int8_t group = -1;     // none: it is alone
  bool leads = false;         // the lookup is made here
  bool group_writes = false;  // some of them do
  std::uint16_t span = 0;     // bytes
  std::int16_t low = 0;       // from this access' own address
};
inline constexpr unsigned kMostGroups = 16;

/// How an instruction changes a register by a number known beforehand.
struct Adjustment {
  std::uint8_t reg = 0;
  bool is_one = false;
  std::int64_t by = 0;
};

struct PlannedInstruction {
  const Instruction* instruction = nullptr;
  std::span<const std::uint8_t> bytes;
  std::uint64_t rip = 0;  // linear address
  Action action = Action::kInterpret;
  ExtendedRegisters registers;
  bool writes_memory = false;
  std::uint16_t memory_size = 0;  // bytes
  GroupMember member;
  bool has_site = false;           // its lookup asks a site of its own before the TLB
  std::uint16_t written_gprs = 0;  // by number, bit by bit
  Adjustment adjustment;           // of one of them, the only one
  StringUse string;                // kString's
  bool sets_x87_pointers = false;  // to itself, and to its operand
  bool clears_x87_pointers = false;
  bool goes_on = false;         // a branch, and behind it comes what it leads to, or what follows if it is not taken
  bool follows_target = false;  // the former, of a conditional one
  SpilledUse used;              // as operands, not in an address
  SpilledUse written;
  bool uses_high_byte = false;                   // AH, CH, DH or BH is the operand beside memory
  std::uint64_t flags_read = ~std::uint64_t{0};  // all, unless it is known
  std::uint64_t flags_killed = 0;
  bool touches_flags = true;                    // reads or changes some
  std::uint64_t flags_before = 0;               // RFLAGS bits that somebody may still read when this instruction begins
  FlagsHome flags_home = FlagsHome::kRegister;  // while it is executed
  MachineCode rewritten;                        // BYTES as 64-bit code, if they are none
  ZydisDecodedInstruction zydis{};              // of code()

  [[nodiscard]] std::uint64_t next_rip() const { return rip + bytes.size(); }
  [[nodiscard]] std::span<const std::uint8_t> code() const { return rewritten.size != 0 ? rewritten.span() : bytes; }
};

/// Blocks of one page that mostly run one after the other: the first, and what comes next time and again.
struct BlockPlan {
  CodeKind kind;
  std::vector<const Block*> parts;
  std::vector<Instruction> decoded;  // that INSTRUCTIONS are made of: parts may lose theirs while others are found
  std::vector<PlannedInstruction> instructions;
  ExtendedRegisters registers;  // of all of its instructions
};

/// Finds out which accesses can share lookups.
void group_accesses(BlockPlan& plan);

/// The most that a plan has.
inline constexpr unsigned kMostParts = 6;
inline constexpr unsigned kMostInstructions = 64;
inline constexpr unsigned kMostLinks = 2 * kMostParts + 1;  // each part may be called for, and return

/// Finds the block at a linear address of the same page; null: there is none to be had.
using FindBlock = std::function<const Block*(std::uint64_t linear)>;
/// A plan of CACHE's BLOCK, of code of KIND, at the linear address LINEAR, and what FIND has to add. Refers to their
/// instructions.
/// SHARED: accesses may share lookups. What is in PLAN is replaced.
void plan_blocks(CodeCache& cache, const Block& block, const CodeKind& kind, std::uint64_t linear,
                 const FindBlock& find, bool shared, BlockPlan& plan);

}  // namespace doppel::accel::soft
