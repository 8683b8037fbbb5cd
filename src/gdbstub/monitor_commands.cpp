#include "gdbstub/monitor_commands.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <span>

#include "base/text.h"
#include "x86/cpu_format.h"

namespace doppel::gdbstub {

struct MonitorCommands::Command {
  std::string_view name;
  std::string_view help;
  std::string (MonitorCommands::*run)(unsigned cpu);

  static std::span<const Command> all() {
    static constexpr Command kCommands[] = {
        {"help", "this list", &MonitorCommands::help},
        {"info breakpoints", "what stops the guest, and what this host cannot do", &MonitorCommands::info_breakpoints},
        {"info registers", "all registers of the current thread's CPU", &MonitorCommands::info_registers},
        {"info status", "the machine's state", &MonitorCommands::info_status},
        {"quit", "end Doppel", &MonitorCommands::quit},
        {"system_reset", "reset the machine, which stays stopped", &MonitorCommands::system_reset},
    };
    return kCommands;
  }
};

std::string MonitorCommands::execute(std::string_view line, unsigned cpu) {
  std::string name;
  for (const std::string_view word : split(line, ' ')) {
    if (word.empty()) continue;
    if (!name.empty()) name += ' ';
    name += word;
  }
  NearestName nearest(name);
  for (const Command& command : Command::all()) {
    if (command.name == name) return (this->*command.run)(cpu);
    nearest.offer(command.name);
  }
  return fmt::format("unknown command '{}'{}; 'monitor help' lists what there is\n", name, nearest.suggestion());
}

std::string MonitorCommands::help(unsigned /*cpu*/) {
  std::string text;
  for (const Command& command : Command::all())
    fmt::format_to(std::back_inserter(text), "{:<17} {}\n", command.name, command.help);
  return text;
}

std::string MonitorCommands::info_registers(unsigned cpu) {
  using enum x86::StateParts;
  const auto state = target_.read_state(cpu, kRegisters | kSystem | kFpu | kDebug);
  return state ? x86::format_registers(*state) : state.error().describe() + "\n";
}

std::string MonitorCommands::info_status(unsigned /*cpu*/) {
  return fmt::format("VM status: {}\n", vm::to_string(target_.state()));
}

std::string MonitorCommands::info_breakpoints(unsigned /*cpu*/) {
  return breakpoints_.describe();
}

std::string MonitorCommands::system_reset(unsigned /*cpu*/) {
  target_.reset();
  return "";
}

std::string MonitorCommands::quit(unsigned /*cpu*/) {
  target_.quit();
  return "";
}

}  // namespace doppel::gdbstub
