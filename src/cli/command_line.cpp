#include "cli/command_line.h"

#include <array>

#include "base/text.h"
#include "cli/options.h"

namespace doppel::cli {

std::span<const OptionGroup> option_groups() {
  static const std::array kGroups = {
      OptionGroup{"Machine", machine_options()},
      OptionGroup{"Boot and firmware", boot_options()},
      OptionGroup{"Devices", device_options()},
      OptionGroup{"Process and debugging", process_options()},
      OptionGroup{"Taken or refused with a note", absent_options()},
  };
  return kGroups;
}

namespace {

Result<const Option*> find_option(std::string_view word) {
  const std::string_view name = word.substr(word.starts_with("--") ? 2 : 1);
  NearestName nearest(name);
  for (const OptionGroup& group : option_groups()) {
    for (const Option& option : group.options) {
      if (option.name == name) return &option;
      nearest.offer(option.name);
    }
  }
  const std::string suggestion = nearest.name().empty() ? "" : fmt::format(" (did you mean '-{}'?)", nearest.name());
  return fail(ErrorKind::kNotFound, "there is no option '{}'{}; '-help' lists them", word, suggestion);
}

/// Serial ports nobody configured: with -nographic the first is the terminal, else QEMU would show a window's tab.
Result<> add_default_serial(CommandLine& line) {
  if (line.serial_given || !line.vm.default_devices) return {};
  DOPPEL_ASSIGN(const Option* serial, find_option("-serial"));
  return serial->apply(line, line.no_graphic ? "mon:stdio" : "vc");
}

}  // namespace

Result<CommandLine> parse_command_line(std::span<const std::string> arguments) {
  CommandLine line;
  for (std::size_t i = 0; i < arguments.size() && !line.printout; ++i) {
    const std::string& word = arguments[i];
    if (!word.starts_with('-') || word == "-")
      return fail(ErrorKind::kUnsupported, "'{}': disk images are not there yet; boot with '-kernel FILE'", word);
    DOPPEL_ASSIGN(const Option* option, find_option(word));
    std::string_view value;
    if (!option->argument.empty()) {
      if (i + 1 == arguments.size())
        return fail(ErrorKind::kInvalidArgument, "{} needs a value: {} {}", word, word, option->argument);
      value = arguments[++i];
    }
    if (auto applied = option->apply(line, value); !applied)
      return std::unexpected(
          Error(applied.error()).wrap(option->argument.empty() ? word : fmt::format("{} {}", word, value)));
  }
  if (!line.printout) DOPPEL_TRY(add_default_serial(line));
  return line;
}

Result<> print(CommandLine& line, std::string text, int status) {
  line.printout = Printout{std::move(text), status};
  return {};
}

bool wants_help(std::string_view value) {
  return value == "help" || value == "?";
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
