// Between Cpu and x86::CpuState: the parts that need no rules (registers, system registers, events, debug registers).
#pragma once

#include "accel/soft/interpreter/cpu.h"
#include "x86/cpu_state.h"

namespace doppel::accel::soft {

/// Of PARTS only kRegisters, kSystem, kEvents and kDebug are looked at.
void save_core_state(const Cpu& cpu, x86::CpuState& state, x86::StateParts parts);
/// The same backwards, taken as it is; flushes the TLB if system registers changed.
void load_core_state(Cpu& cpu, const x86::CpuState& state, x86::StateParts parts);

}  // namespace doppel::accel::soft
