// The debug registers at work (SDM 3B 18.2): which breakpoints an address hits, and what #DB leaves in DR6.
#pragma once

#include <cstdint>

#include "accel/soft/interpreter/cpu.h"

namespace doppel::accel::soft {

/// DR7's R/W field.
enum class BreakpointKind : std::uint8_t { kExecute = 0, kWrite = 1, kPort = 2, kReadWrite = 3 };

/// The debug registers in force: the guest's, or the debugger's instead.
struct Breakpoints {
  const std::array<std::uint64_t, 4>& address;
  std::uint64_t dr7;
};
inline Breakpoints breakpoints(const Cpu& cpu) {
  return cpu.host_owns_dr ? Breakpoints{cpu.host_dr, cpu.host_dr7} : Breakpoints{cpu.dr, cpu.dr7};
}
inline bool breakpoints_enabled(const Cpu& cpu) {
  return (breakpoints(cpu).dr7 & x86::dr7::kEnables) != 0;
}
inline bool breakpoint_enabled(std::uint64_t dr7, unsigned n) {
  return (dr7 >> (2 * n) & 3U) != 0;
}
inline BreakpointKind breakpoint_kind(std::uint64_t dr7, unsigned n) {
  return static_cast<BreakpointKind>(dr7 >> (16 + 4 * n) & 3U);
}
/// Bytes.
inline unsigned breakpoint_length(std::uint64_t dr7, unsigned n) {
  constexpr std::array<unsigned, 4> kLengths = {1, 2, 8, 4};
  return kLengths.at(dr7 >> (18 + 4 * n) & 3U);
}

bool code_breakpoints_enabled(const Cpu& cpu);
/// DR6 bits for the instruction at CS:RIP.
std::uint64_t code_breakpoint_hits(const Cpu& cpu);
/// #DB is about to be delivered: HITS (B0 to B3, BD, BS, BT) go to DR6, and general detect ends (18.2.4).
void record_debug_exception(Cpu& cpu, std::uint64_t hits);

}  // namespace doppel::accel::soft
