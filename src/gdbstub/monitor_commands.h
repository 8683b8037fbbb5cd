// What gdb's `monitor` command offers: a few words to the machine that the protocol has no packets for.
#pragma once

#include <string>
#include <string_view>

#include "gdbstub/breakpoints.h"
#include "gdbstub/debug_target.h"

namespace doppel::gdbstub {

class MonitorCommands {
 public:
  MonitorCommands(DebugTarget& target, const Breakpoints& breakpoints) : target_(target), breakpoints_(breakpoints) {}

  /// The text to show. CPU is the one the client looks at.
  [[nodiscard]] std::string execute(std::string_view line, unsigned cpu);

 private:
  struct Command;
  [[nodiscard]] std::string help(unsigned cpu);
  [[nodiscard]] std::string info_registers(unsigned cpu);
  [[nodiscard]] std::string info_status(unsigned cpu);
  [[nodiscard]] std::string info_breakpoints(unsigned cpu);
  [[nodiscard]] std::string system_reset(unsigned cpu);
  [[nodiscard]] std::string quit(unsigned cpu);

  DebugTarget& target_;
  const Breakpoints& breakpoints_;
};

}  // namespace doppel::gdbstub
