#include "cli/command_line.h"

#include <algorithm>
#include <array>

#include "base/text.h"
#include "cli/options.h"
#include "vm/config_json.h"
#include "vm/machine_types.h"

namespace doppel::cli {

std::span<const OptionGroup> option_groups() {
  static const std::array kGroups = {
      OptionGroup{"Machine", machine_options()},
      OptionGroup{"Memory", memory_options()},
      OptionGroup{"Boot and firmware", boot_options()},
      OptionGroup{"Disks", disk_options()},
      OptionGroup{"Flash chips and floppies", chip_options()},
      OptionGroup{"Devices", device_options()},
      OptionGroup{"Consoles and display", console_options()},
      OptionGroup{"Process and debugging", process_options()},
      OptionGroup{"Taken or refused with a note", absent_options()},
  };
  return kGroups;
}

namespace {

Result<const Option*> find_option(std::string_view word) {
  const std::string_view name = word.substr(word.starts_with("--") ? 2 : 1);
  const auto equals = name.find('=');
  NearestName nearest(name.substr(0, equals));
  for (const OptionGroup& group : option_groups()) {
    for (const Option& option : group.options) {
      if (option.name == name) return &option;
      if (equals != std::string_view::npos && option.name == name.substr(0, equals))
        return fail(ErrorKind::kInvalidArgument, "'{}': an option and its value are two words; write '-{} {}'", word,
                    option.name, name.substr(equals + 1));
      nearest.offer(option.name);
    }
  }
  const std::string suggestion = nearest.name().empty() ? "" : fmt::format(" (did you mean '-{}'?)", nearest.name());
  return fail(ErrorKind::kNotFound, "there is no option '{}'{}; '-help' lists them", word, suggestion);
}

/// OPTION as messages show it: with its value, unless that is long.
std::string place_of(std::string_view word, std::string_view value) {
  constexpr std::size_t kMost = 100;
  if (value.size() <= kMost) return fmt::format("{} {}", word, value);
  return fmt::format("{} {}...", word, value.substr(0, kMost));
}

/// Puts PLACE, the option with its value, in front of what the option has to say.
Result<> apply(CommandLine& line, const Option& option, const std::string& place, std::string_view value) {
  const std::size_t notes = line.notes.size();
  if (auto applied = option.apply(line, value); !applied)
    return std::unexpected(std::move(applied).error().wrap(place));
  for (std::size_t i = notes; i < line.notes.size(); ++i) line.notes[i] = fmt::format("{}: {}", place, line.notes[i]);
  return {};
}

// ---- What follows from all options together

/// A first serial port that nobody configured: with -nographic it is the terminal, with Ctrl-A x to end the program and
/// Ctrl-A c for the monitor; else QEMU would show it in a tab of the window.
Result<> add_default_serial(CommandLine& line) {
  if (!line.default_serial || !line.vm.default_devices) return {};
  return add_serial(line, line.no_graphic ? "mon:stdio" : "vc");
}

Result<> choose_accelerators(CommandLine& line) {
  if (!line.machine_accel) return {};
  if (!line.vm.accelerators.empty())
    return fail(ErrorKind::kInvalidArgument, "-accel and '-machine accel=' exclude each other; write one of them");
  return add_accelerators(line, *line.machine_accel);
}

/// In the background there is no terminal.
Result<> check_daemon(const CommandLine& line) {
  if (!line.vm.process.daemonize) return {};
  for (const chardev::ChardevConfig& config : line.vm.chardevs)
    if (std::holds_alternative<chardev::StdioBackend>(config.backend))
      return fail(ErrorKind::kInvalidArgument,
                  "-daemonize leaves the terminal, which chardev '{}' is on; write '-serial null', or '-display none' "
                  "in place of '-nographic'",
                  config.id);
  return {};
}

/// `-vga std`, or what a display of ours has to show: in front of all other devices, where QEMU's boards have it.
void add_default_vga(CommandLine& line) {
  const auto type = vm::find_machine_type(line.vm.machine.type);
  const bool has_own = std::ranges::find(line.vm.devices, "VGA", &vm::DeviceConfig::driver) != line.vm.devices.end();
  const bool by_default = line.vm.display.kind != vm::DisplayKind::kNone && line.vm.default_devices && !has_own &&
                          type && (*type)->kind == vm::MachineKind::kPc;
  if (line.vga.value_or(by_default))
    line.vm.devices.insert(line.vm.devices.begin(), {.driver = "VGA", .properties = {}});
}

/// `-display curses` has the terminal for itself.
Result<> check_terminal(const CommandLine& line) {
  if (line.vm.display.kind != vm::DisplayKind::kCurses) return {};
  if (line.no_graphic)
    return fail(ErrorKind::kInvalidArgument,
                "-nographic and '-display curses' both want the terminal; write one of them");
  if (line.vm.process.daemonize)
    return fail(ErrorKind::kInvalidArgument, "-daemonize leaves the terminal; write '-display none'");
  for (const chardev::ChardevConfig& config : line.vm.chardevs)
    if (std::holds_alternative<chardev::StdioBackend>(config.backend))
      return fail(ErrorKind::kInvalidArgument,
                  "'-display curses' and chardev '{}' both want the terminal; write '-serial null' or "
                  "'-serial file:FILE', or '-display none'",
                  config.id);
  if (line.vm.process.gdb.starts_with("stdio"))
    return fail(ErrorKind::kInvalidArgument,
                "'-display curses' and '-gdb stdio' both want the terminal; write "
                "'-gdb tcp::1234'");
  return {};
}

/// Chardevs may come after the ports that name them.
Result<> check_serial_chardevs(const CommandLine& line) {
  for (const std::string& id : line.vm.serial) {
    if (id.empty()) continue;
    NearestName nearest(id);
    for (const chardev::ChardevConfig& config : line.vm.chardevs) nearest.offer(config.id);
    if (std::ranges::find(line.vm.chardevs, id, &chardev::ChardevConfig::id) == line.vm.chardevs.end())
      return fail(ErrorKind::kNotFound, "-serial chardev:{}: there is no such chardev{}; add '-chardev BACKEND,id={}'",
                  id, nearest.suggestion(), id);
  }
  return {};
}

Result<> finish(CommandLine& line) {
  DOPPEL_TRY(add_default_serial(line));
  DOPPEL_TRY(check_serial_chardevs(line));
  add_default_vga(line);
  DOPPEL_TRY(check_terminal(line));
  finish_disks(line);
  DOPPEL_TRY(choose_accelerators(line));
  DOPPEL_TRY(check_daemon(line));
  if (line.dump_config) return print(line, vm::to_json(line.vm) + "\n");
  return {};
}

}  // namespace

Result<CommandLine> parse_command_line(std::span<const std::string> arguments) {
  CommandLine line;
  for (std::size_t i = 0; i < arguments.size() && !line.printout; ++i) {
    const std::string& word = arguments[i];
    if (!word.starts_with('-')) {
      if (auto added = add_first_disk(line, word); !added)
        return std::unexpected(std::move(added).error().wrap(fmt::format("'{}'", word)));
      continue;
    }
    DOPPEL_ASSIGN(const Option* option, find_option(word));
    const bool takes_value = !option->argument.empty();
    if (takes_value && i + 1 == arguments.size())
      return fail(ErrorKind::kInvalidArgument, "{} needs a value: {} {}", word, word, option->argument);
    const std::string_view value = takes_value ? std::string_view(arguments[++i]) : std::string_view();
    DOPPEL_TRY(apply(line, *option, takes_value ? place_of(word, value) : word, value));
  }
  if (!line.printout) DOPPEL_TRY(finish(line));
  return line;
}

Result<> print(CommandLine& line, std::string text, int status) {
  line.printout = Printout{.text = std::move(text), .status = status};
  return {};
}

bool wants_help(std::string_view value) {
  return value == "help" || value == "?";
}

std::string property_list(std::string_view title, std::span<const hw::PropertyInfo> rows) {
  std::string text = fmt::format("{} options:\n", title);
  for (const hw::PropertyInfo& row : rows) {
    text += fmt::format("  {:<22} - {}", fmt::format("{}=<{}>", row.name, row.type), row.help);
    text += row.default_text.empty() ? "\n" : fmt::format(" (default: {})\n", row.default_text);
  }
  return text;
}

std::string version_text() {
  // The first line's shape is what programs that look for QEMU's version parse; 7.2 is the interface Doppel offers.
  return "QEMU emulator version 7.2.22 (Doppel " DOPPEL_VERSION ")\nCopyright (c) the Doppel maintainers, Apache-2.0\n";
}

std::string help_text() {
  std::string text = version_text();
  text += "usage: doppel-system-x86_64 [options]\n";
  for (const OptionGroup& group : option_groups()) {
    text += fmt::format("\n{}:\n", group.title);
    for (const Option& option : group.options) {
      const std::string left = option.argument.empty() ? fmt::format("-{}", option.name)
                                                       : fmt::format("-{} {}", option.name, option.argument);
      text += left.size() < 30 ? fmt::format("{:<30}  {}\n", left, option.help)
                               : fmt::format("{}\n{:<30}  {}\n", left, "", option.help);
    }
  }
  return text;
}

}  // namespace doppel::cli
