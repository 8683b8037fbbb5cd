// What the translator makes of each instruction of a decoded block, before it emits anything.
#pragma once

#include <Zydis/Zydis.h>

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "accel/soft/interpreter/code_cache.h"
#include "accel/soft/interpreter/decoder.h"
#include "accel/soft/interpreter/instruction.h"

namespace doppel::accel::soft {

/// How much of the guest's vector state must be in the host's registers.
enum class VectorLevel : std::uint8_t { kNone, kSse, kAvx, kAvx512 };
inline constexpr unsigned kVectorLevels = 4;

enum class Action : std::uint8_t {
  kInterpret,  // leave translated code for this instruction
  kVerbatim,   // the same bytes
  kMemory,     // the same, its memory operand looked up
  kAddress,    // LEA of a RIP-relative address
  kNothing,    // hints
  kPush,
  kPop,
  kLeave,
  kJump,
  kJumpIf,
  kJumpCounter,  // JRCXZ, LOOP
  kCall,
  kReturn,
  kJumpIndirect,
  kCallIndirect,
};

/// The eight bytes that an action accesses at a register's value + OFFSET.
struct StackAccess {
  x86::Gpr reg = x86::kRsp;
  std::int8_t offset = 0;
  bool writes = false;
};
/// None: the action is none of the stack's, or makes more than one access.
std::optional<StackAccess> stack_access(Action action);

/// R14 and R15 live in memory while translated code runs; their host registers are its temporaries.
struct SpilledUse {
  bool r14 = false;
  bool r15 = false;
  [[nodiscard]] bool any() const { return r14 || r15; }
  [[nodiscard]] bool both() const { return r14 && r15; }
};

/// Accesses of a block that lie close to each other, by the same registers: one lookup serves them all. It is made by
/// the first, for the bytes from LOW on.
struct GroupMember {
  std::int8_t group = -1;     // none: it is alone
  bool leads = false;         // the lookup is made here
  bool group_writes = false;  // some of them do
  std::uint16_t span = 0;     // bytes
  std::int32_t low = 0;       // from this access' own address
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
  VectorLevel level = VectorLevel::kNone;
  bool writes_memory = false;
  std::uint16_t memory_size = 0;  // bytes
  GroupMember member;
  std::uint16_t written_gprs = 0;  // by number, bit by bit
  Adjustment adjustment;           // of one of them, the only one
  SpilledUse used;                 // as operands, not in an address
  SpilledUse written;
  std::uint64_t flags_before = 0;  // RFLAGS bits that somebody may still read when this instruction begins
  ZydisDecodedInstruction zydis{};

  [[nodiscard]] std::uint64_t next_rip() const { return rip + bytes.size(); }
};

struct BlockPlan {
  std::vector<PlannedInstruction> instructions;
  VectorLevel level = VectorLevel::kNone;  // the highest of its instructions
};

/// Finds out which accesses can share lookups.
void group_accesses(BlockPlan& plan);

/// BLOCK, of 64-bit code, at the linear address LINEAR. Refers to it.
BlockPlan plan_block(const Decoder& decoder, const Block& block, std::uint64_t linear);

}  // namespace doppel::accel::soft
