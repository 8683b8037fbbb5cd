// Tasks: the TSS, its inner stacks, and hardware task switches (SDM 3A chapter 7).
#pragma once

#include <cstdint>
#include <optional>

#include "accel/soft/interpreter/cpu.h"
#include "accel/soft/interpreter/segments.h"

namespace doppel::accel::soft {

enum class TaskSwitch : std::uint8_t { kJump, kCall, kReturn, kGate };  // kGate: of an interrupt or exception

/// The TSS that a task gate or a far pointer names: #GP or #NP if it cannot be entered.
Descriptor fetch_available_tss(Cpu& cpu, std::uint16_t selector);

/// Leaves the current task, which goes on at RIP with FLAGS, for the one of TSS, whose type and presence were checked.
/// ERROR_CODE goes to the new task's stack. What faults after the point of no return does so in the new task.
void switch_task(Cpu& cpu, TaskSwitch how, const Descriptor& tss, std::uint64_t flags,
                 std::optional<std::uint32_t> error_code = {});

/// IRET with NT set: back to the task that the TSS links to.
void return_from_task(Cpu& cpu);

/// The stack for an inner privilege level LEVEL, from the TSS (SDM 3A 5.8.5, 7.2.1), ready to be loaded. Not in IA-32e
/// mode. #TS or #SS.
struct InnerStack {
  x86::Segment segment;
  std::uint64_t pointer = 0;
};
InnerStack read_inner_stack(Cpu& cpu, std::uint8_t level);

// The same in IA-32e mode (SDM 3A 6.14.4, 6.14.5): RSP alone, SS becomes null. LEVEL is 0 to 2, N 1 to 7.
std::uint64_t read_level_stack(Cpu& cpu, std::uint8_t level);
std::uint64_t read_interrupt_stack(Cpu& cpu, std::uint8_t n);

}  // namespace doppel::accel::soft
