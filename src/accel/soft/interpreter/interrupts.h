// Interrupts and exceptions on their way into the guest (SDM 3A chapter 6; INT n in 2A).
#pragma once

#include <cstdint>

#include "accel/soft/interpreter/cpu.h"

namespace doppel::accel::soft {

enum class EventKind : std::uint8_t {
  kException,
  kExternalInterrupt,
  kNmi,
  kSoftwareInterrupt,   // INT n
  kSoftwareException,   // INT3, INTO
  kPrivilegedSoftware,  // INT1
};

struct Event {
  EventKind kind = EventKind::kException;
  std::uint8_t vector = 0;
  bool has_error_code = false;
  std::uint32_t error_code = 0;
};

/// Enters the handler of EVENT; RIP is what the handler returns to. Throws Fault if delivery itself faults, and then
/// nothing has changed but for a task switch that was under way: RIP and instruction_start are the new task's.
void deliver(Cpu& cpu, const Event& event);

/// Delivers FAULT of the instruction at RIP, and what that leads to, up to a double fault (SDM 3A table 6-5). False:
/// triple fault, the processor shuts down.
[[nodiscard]] bool deliver_fault(Cpu& cpu, const Fault& fault);

/// Enters the handler that the interrupt vector table at linear address TABLE names, as real mode and VM86 programs
/// do. FLAGS is pushed; CLEARED are the flags that do not survive.
void enter_real_handler(Cpu& cpu, std::uint64_t table, std::uint8_t vector, std::uint64_t flags, std::uint64_t cleared);

}  // namespace doppel::accel::soft
