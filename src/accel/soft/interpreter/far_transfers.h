// Control transfers to other segments and privilege levels: what JMP, CALL, RET, IRET and events have in common (SDM 3A
// 5.8).
#pragma once

#include <cstdint>

#include "accel/soft/interpreter/cpu.h"
#include "accel/soft/interpreter/segments.h"

namespace doppel::accel::soft {

// An offset of SIZE bytes is cut to that size by the caller.
void far_jump(Cpu& cpu, std::uint16_t selector, std::uint64_t offset, unsigned size);
void far_call(Cpu& cpu, std::uint16_t selector, std::uint64_t offset, unsigned size);
/// RELEASE: the bytes of parameters that are dropped.
void far_return(Cpu& cpu, unsigned size, std::uint64_t release);
void interrupt_return(Cpu& cpu, unsigned size);

}  // namespace doppel::accel::soft
