// -name, -S, -gdb, -d, -action, -daemonize and their kin: how the process behaves.
#include <algorithm>
#include <array>
#include <cctype>

#include <fmt/ranges.h>

#include "base/log.h"
#include "base/text.h"
#include "cli/key_values.h"
#include "cli/options.h"

namespace doppel::cli {

namespace {

Result<> apply_name(CommandLine& line, std::string_view value) {
  DOPPEL_ASSIGN(auto pairs, parse_key_values(value, "guest"));
  KeyValueReader reader("-name", std::move(pairs));
  reader.text("guest", line.vm.process.name);
  DOPPEL_TRY(reader.boolean("debug-threads", line.vm.process.debug_threads));
  std::string process;
  reader.text("process", process);
  return reader.finish();
}

Result<> apply_uuid(CommandLine& line, std::string_view value) {
  constexpr std::string_view kShape = "00000000-0000-0000-0000-000000000000";
  const bool well_formed = value.size() == kShape.size() && std::ranges::equal(value, kShape, [](char c, char shape) {
                             return shape == '-' ? c == '-' : std::isxdigit(static_cast<unsigned char>(c)) != 0;
                           });
  if (!well_formed)
    return fail(ErrorKind::kInvalidArgument, "expected a UUID such as 550e8400-e29b-41d4-a716-446655440000");
  line.vm.uuid = value;
  return {};
}

Result<> apply_rtc(CommandLine& line, std::string_view value) {
  DOPPEL_ASSIGN(auto pairs, parse_key_values(value, ""));
  KeyValueReader reader("-rtc", std::move(pairs));
  vm::RtcConfig& rtc = line.vm.rtc;
  reader.text("base", rtc.base);
  reader.text("clock", rtc.clock);
  if (rtc.clock != "host" && rtc.clock != "rt" && rtc.clock != "vm")
    return fail(ErrorKind::kInvalidArgument, "clock= expects host, rt or vm, not '{}'", rtc.clock);
  if (const std::string* drift = reader.take("driftfix")) {
    if (*drift != "slew" && *drift != "none")
      return fail(ErrorKind::kInvalidArgument, "driftfix= expects slew or none, not '{}'", *drift);
    rtc.slew = *drift == "slew";
  }
  return reader.finish();
}

Result<> apply_no_reboot(CommandLine& line, std::string_view) {
  line.vm.action.reboot = vm::RebootAction::kShutdown;
  return {};
}

Result<> apply_no_shutdown(CommandLine& line, std::string_view) {
  line.vm.action.shutdown = vm::ShutdownAction::kPause;
  return {};
}

/// One of NAMES; its place in the list.
Result<std::size_t> choose(std::string_view key, std::string_view text, std::initializer_list<std::string_view> names) {
  const auto* const at = std::ranges::find(names, text);
  if (at == names.end())
    return fail(ErrorKind::kInvalidArgument, "{}= expects {}, not '{}'", key, fmt::join(names, " or "), text);
  return static_cast<std::size_t>(at - names.begin());
}

Result<> apply_action(CommandLine& line, std::string_view value) {
  DOPPEL_ASSIGN(auto pairs, parse_key_values(value, ""));
  KeyValueReader reader("-action", std::move(pairs));
  vm::ActionConfig& action = line.vm.action;
  if (const std::string* text = reader.take("reboot")) {
    DOPPEL_ASSIGN(const auto index, choose("reboot", *text, {"reset", "shutdown"}));
    action.reboot = std::array{vm::RebootAction::kReset, vm::RebootAction::kShutdown}[index];
  }
  if (const std::string* text = reader.take("shutdown")) {
    DOPPEL_ASSIGN(const auto index, choose("shutdown", *text, {"poweroff", "pause"}));
    action.shutdown = std::array{vm::ShutdownAction::kPowerOff, vm::ShutdownAction::kPause}[index];
  }
  if (const std::string* text = reader.take("panic")) {
    DOPPEL_ASSIGN(const auto index, choose("panic", *text, {"shutdown", "exit-failure", "pause", "none"}));
    action.panic = std::array{vm::PanicAction::kShutdown, vm::PanicAction::kExitFailure, vm::PanicAction::kPause,
                              vm::PanicAction::kNone}[index];
  }
  if (const std::string* text = reader.take("watchdog")) {
    DOPPEL_TRY(choose("watchdog", *text, {"reset", "shutdown", "poweroff", "pause", "debug", "none", "inject-nmi"}));
    action.watchdog = *text;
  }
  return reader.finish();
}

Result<> apply_start_paused(CommandLine& line, std::string_view) {
  line.vm.process.start_paused = true;
  return {};
}

Result<> apply_gdb(CommandLine& line, std::string_view value) {
  line.vm.process.gdb = value;
  return {};
}

Result<> apply_gdb_default(CommandLine& line, std::string_view) {
  return apply_gdb(line, "tcp::1234");
}

std::string log_help() {
  std::string text = "Log items (comma separated):\n";
  for (const LogCategoryInfo& row : log_categories()) text += fmt::format("{:<15} {}\n", row.name, row.help);
  return text + fmt::format("{:<15} {}\n", "all", "all of the above");
}

Result<> apply_log(CommandLine& line, std::string_view value) {
  if (wants_help(value)) return print(line, log_help(), 1);
  line.log.categories = value;
  return {};
}

Result<> apply_log_file(CommandLine& line, std::string_view value) {
  line.log.file = value;
  return {};
}

Result<> apply_pid_file(CommandLine& line, std::string_view value) {
  line.vm.process.pid_file = value;
  return {};
}

Result<> apply_daemonize(CommandLine& line, std::string_view) {
  line.vm.process.daemonize = true;
  return {};
}

Result<> apply_version(CommandLine& line, std::string_view) {
  return print(line, version_text());
}
Result<> apply_help(CommandLine& line, std::string_view) {
  return print(line, help_text());
}

}  // namespace

std::span<const Option> process_options() {
  static constexpr std::array kOptions = {
      Option{"name", "[guest=]NAME[,debug-threads=on|off]", "what to call the machine", apply_name},
      Option{"uuid", "UUID", "the machine's identity, as SMBIOS shows it", apply_uuid},
      Option{"rtc", "[base=utc|localtime|DATE][,clock=host|rt|vm][,driftfix=none|slew]", "the clock's start and pace",
             apply_rtc},
      Option{"no-reboot", "", "end instead of rebooting", apply_no_reboot},
      Option{"no-shutdown", "", "stay, paused, after power-off", apply_no_shutdown},
      Option{"action", "reboot=|shutdown=|panic=|watchdog=ACTION", "what to do at each of these events", apply_action},
      Option{"S", "", "start paused", apply_start_paused},
      Option{"s", "", "the same as -gdb tcp::1234", apply_gdb_default},
      Option{"gdb", "tcp:[HOST]:PORT|unix:PATH", "wait for gdb there", apply_gdb},
      Option{"d", "ITEM[,ITEM...]", "log these; 'help' lists them", apply_log},
      Option{"D", "FILE", "log to a file instead of standard error", apply_log_file},
      Option{"pidfile", "FILE", "write the process id there, and keep others from it", apply_pid_file},
      Option{"daemonize", "", "go to the background once the machine is ready", apply_daemonize},
      Option{"version", "", "print the version", apply_version},
      Option{"help", "", "print this", apply_help},
      Option{"h", "", "print this", apply_help},
  };
  return kOptions;
}

}  // namespace doppel::cli
