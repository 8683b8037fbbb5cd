#include "accel/soft/interpreter/debug.h"

namespace doppel::accel::soft {

bool code_breakpoints_enabled(const Cpu& cpu) {
  const std::uint64_t dr7 = breakpoints(cpu).dr7;
  if ((dr7 & x86::dr7::kEnables) == 0) return false;
  for (unsigned n = 0; n < 4; ++n)
    if (breakpoint_enabled(dr7, n) && breakpoint_kind(dr7, n) == BreakpointKind::kExecute) return true;
  return false;
}

std::uint64_t code_breakpoint_hits(const Cpu& cpu) {
  const auto [address, dr7] = breakpoints(cpu);
  if ((dr7 & x86::dr7::kEnables) == 0) return 0;
  const std::uint64_t sum = cpu.segment[x86::kCs].base + cpu.rip;
  const std::uint64_t linear = cpu.code_mode == CodeMode::kLong64 ? cpu.rip : sum & 0xffff'ffffU;
  std::uint64_t hits = 0;
  bool enabled = false;
  for (unsigned n = 0; n < 4; ++n) {
    if (breakpoint_kind(dr7, n) != BreakpointKind::kExecute || address.at(n) != linear) continue;
    hits |= std::uint64_t{1} << n;
    enabled = enabled || breakpoint_enabled(dr7, n);
  }
  return enabled ? hits : 0;
}

void record_debug_exception(Cpu& cpu, std::uint64_t hits) {
  cpu.dr6 |= hits;
  cpu.dr7 &= ~x86::dr7::kGd;
}

}  // namespace doppel::accel::soft
