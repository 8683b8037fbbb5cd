// Control transfers to other code segments and privilege levels: far JMP, CALL and RET (SDM 3A 5.8; 2A and 2B), IRET,
// and what they share with events.
#pragma once

#include <cstdint>

#include "accel/soft/interpreter/cpu.h"
#include "accel/soft/interpreter/segments.h"

namespace doppel::accel::soft {

// SIZE is the operand size in bytes; OFFSET has no more.
void far_jump(Cpu& cpu, std::uint16_t selector, std::uint64_t offset, unsigned size);
void far_call(Cpu& cpu, std::uint16_t selector, std::uint64_t offset, unsigned size);
/// RELEASE: bytes of parameters to drop.
void far_return(Cpu& cpu, unsigned size, std::uint64_t release);
void interrupt_return(Cpu& cpu, unsigned size);

/// #GP(0) unless execution can go on at OFFSET of CODE.
void check_target_offset(const Cpu& cpu, const x86::Segment& code, std::uint64_t offset);
/// CODE, with its RPL set to LEVEL, and RIP. update_mode() is the caller's.
void set_code(Cpu& cpu, const x86::Segment& code, std::uint8_t level, std::uint64_t offset);

/// Where RET and IRET return to: checked for all but the offset. SELECTOR may be of an outer level.
Descriptor fetch_return_code(Cpu& cpu, std::uint16_t selector);
/// The stack for it, likewise. Null where 64-bit mode allows that.
x86::Segment fetch_return_stack(Cpu& cpu, std::uint16_t selector, const Descriptor& code);
/// SS and its pointer. Of a 16-bit stack's pointer the upper half stays what it was.
void set_return_stack(Cpu& cpu, const x86::Segment& stack, const x86::Segment& code, std::uint64_t pointer);
/// After a return to level LEVEL: takes away the data segments that it may not have.
void drop_inner_segments(Cpu& cpu, std::uint8_t level);

}  // namespace doppel::accel::soft
