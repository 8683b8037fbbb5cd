// The way into translated code and out of it again: what both sides keep for each other, and the code between them.
//
// Inside, host registers hold the guest's of the same number but for R10 and R11, which stay in Cpu's register file and
// whose host registers are temporaries; RFLAGS or GateState holds the guest's arithmetic flags, and DF is clear. There
// is no host stack: RSP is the guest's. Vector registers, MXCSR and x87's registers are the guest's if REGISTERS says
// so.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "accel/soft/interpreter/cpu.h"
#include "accel/soft/translator/plan.h"
#include "accel/soft/translator/statistics.h"
#include "accel/soft/translator/tlb_lookup.h"

namespace doppel::accel::soft {

/// Why translated code was left, and what EXIT_ID means.
enum class ExitKind : std::uint32_t {
  kInterpret,  // an instruction, as Translation::kInstructionBits says
  kLink,       // a branch whose target is not linked yet
  kGuard,      // a translation that was entered by a linear address which may lead elsewhere now; none: address 0
  kFault,      // the host raised an exception, at host_fault_slot's instruction; no id
};

inline constexpr unsigned kExitKinds = 4;

/// Where gathers and scatters have what they work on, for the course of one instruction.
struct GatherSpace {
  alignas(64) std::array<std::byte, 64> index{};
  alignas(64) std::array<std::byte, 64> data{};
  std::array<std::uint64_t, 16> place{};  // of each element, on the host
  std::uint64_t base = 0;
  std::uint64_t rax = 0;
  std::uint64_t rdx = 0;
};

/// What translated code notes of x87's last instructions, as exits' ids: their pointers (SDM 1 8.1.8) are the host's
/// own in the host's registers, and AMD's processors show those in some states alone.
struct X87Notes {
  static constexpr std::uint32_t kNone = ~std::uint32_t{0};
  static constexpr std::uint32_t kCleared = kNone - 1;  // by FNINIT
  std::uint32_t last = kNone;
  std::uint32_t last_with_operand = kNone;
  std::uint64_t operand = 0;  // its address in the segment
};

/// Translated code finds it at an absolute 32-bit address (low_memory.h).
struct GateState {
  std::uint64_t exit_id = 0;
  ExitKind exit_kind = ExitKind::kInterpret;
  std::uint16_t flags = 0;  // as LAHF and SETO leave them in AX; inside, where they are saved
  ExtendedRegisters registers;
  std::uint32_t host_mxcsr = 0;
  X87Notes x87;
  std::uint16_t flags_before_fault = 0;  // what FLAGS were, behind kFault
  std::uint64_t host_rsp = 0;
  std::uint64_t entry = 0;
  // Used in the course of one instruction.
  std::uint64_t rcx = 0;
  std::uint64_t target = 0;
  std::uint64_t slot = 0;
  std::uint64_t offset = 0;                   // in the page, while a site is filled
  std::array<std::uint64_t, 2> host_stack{};  // for PUSHF
  GatherSpace gather;
  LookupCounts counts;
  // Used in the course of one block: what makes host addresses of linear ones, by group of accesses.
  std::array<std::uint64_t, kMostGroups> addend{};
  // Masks for PEXT, which works without flags.
  std::uint64_t tlb_index_mask = 0;
  std::uint64_t page_mask = ~std::uint64_t{0xfff};
  std::uint64_t arithmetic_flags = x86::rflags::kArithmetic;
  std::uint64_t other_flags = ~(x86::rflags::kArithmetic | x86::rflags::kRf | x86::rflags::kVm);  // that PUSHF shows
  std::uint64_t all_but_if = ~x86::rflags::kIf;
  std::uint64_t all_but_df = ~x86::rflags::kDf;
};

/// Out of translated code: with the flags in the host's register, or already saved.
struct GateExit {
  const std::uint8_t* flags_in_register = nullptr;
  const std::uint8_t* flags_saved = nullptr;
};

/// Addresses of the gate's code, as translated code reaches them: in the writable mapping.
struct GateCode {
  const std::uint8_t* enter = nullptr;     // a function, called with nothing but GateState
  std::array<GateExit, kExitKinds> exits;  // by ExitKind
  [[nodiscard]] const std::uint8_t* exit(ExitKind kind, FlagsHome flags) const {
    const GateExit& exit = exits.at(static_cast<std::size_t>(kind));
    return flags == FlagsHome::kMemory ? exit.flags_saved : exit.flags_in_register;
  }
  const std::uint8_t* nowhere = nullptr;  // a jump to address 0, the flags being saved
  /// Where a site is filled that missed: R11 is its distance from the first, R10 the address less the site's tag. Goes
  /// on behind the lookup, R10 being the offset in the page, or leaves to have the instruction interpreted. The flags
  /// are lost.
  std::array<const std::uint8_t*, std::size_t{kMmuIndexes} * kTlbAccesses * kTlbResults> site_misses;
  [[nodiscard]] static std::size_t site_miss(MmuIndex index, TlbAccess access, TlbSites::Result result) {
    return (static_cast<std::size_t>(index) * kTlbAccesses + static_cast<std::size_t>(access)) * kTlbResults +
           static_cast<std::size_t>(result);
  }
};

/// Generates the gate of CPU and STATE, both below 2 GiB, at WRITABLE. Returns how many bytes it took, at most
/// kGateSize.
inline constexpr std::size_t kGateSize = 16384;
std::size_t generate_gate(std::byte* writable, const Cpu& cpu, const GateState& state, GateCode& code);

}  // namespace doppel::accel::soft
