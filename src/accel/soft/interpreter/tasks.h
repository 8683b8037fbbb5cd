// Hardware task switches (SDM 3A chapter 7).
#pragma once

#include <cstdint>
#include <optional>

#include "accel/soft/interpreter/cpu.h"
#include "accel/soft/interpreter/segments.h"

namespace doppel::accel::soft {

enum class TaskSwitch : std::uint8_t { kJump, kCall, kReturn, kGate };  // kGate: of an interrupt or exception

/// Through a task gate: the TSS of SELECTOR, #GP or #NP if it is none that can be entered.
Descriptor fetch_available_tss(Cpu& cpu, std::uint16_t selector);

/// Leaves the current task, which goes on at RIP, for the one of TSS, whose type and presence are checked. ERROR_CODE
/// goes to the new task's stack. What faults after the point of no return does so in the new task.
void switch_task(Cpu& cpu, TaskSwitch how, const Descriptor& tss, std::optional<std::uint32_t> error_code = {});

/// IRET with NT set: back to the task that the TSS links to.
void return_from_task(Cpu& cpu);

/// SS and the stack pointer for an inner privilege level, from the TSS (SDM 3A 7.2.1, 7.7). IA-32e mode: null SS.
struct TssStack {
  std::uint16_t selector = 0;
  std::uint64_t pointer = 0;
};
TssStack read_tss_stack(Cpu& cpu, std::uint8_t level);
/// IA-32e mode: N is 1 to 7.
std::uint64_t read_interrupt_stack(Cpu& cpu, std::uint8_t n);

}  // namespace doppel::accel::soft
