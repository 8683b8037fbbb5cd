// -name, -S, -gdb, -d, -action, -daemonize and their kin: how the process behaves.
#include <algorithm>
#include <array>
#include <cctype>

#include "base/log.h"
#include "base/text.h"
#include "chardev/legacy.h"
#include "cli/key_values.h"
#include "cli/options.h"
#include "hw/timer/rtc_calendar.h"

namespace doppel::cli {

namespace {

Result<> apply_name(CommandLine& line, std::string_view value) {
  DOPPEL_ASSIGN(auto pairs, parse_key_values(value, "guest"));
  KeyValueReader reader(std::move(pairs));
  reader.text("guest", line.vm.process.name);
  DOPPEL_TRY(reader.boolean("debug-threads", line.vm.process.debug_threads));
  reader.take("process");  // what `ps` shows stays the program's name
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
  KeyValueReader reader(std::move(pairs));
  vm::RtcConfig& rtc = line.vm.rtc;
  if (auto base = reader.take("base")) {
    DOPPEL_TRY(hw::rtc_start_ns(*base, 0));
    rtc.base = std::move(*base);
  }
  DOPPEL_TRY(reader.choice<std::string>("clock", rtc.clock, {{"host", "host"}, {"rt", "rt"}, {"vm", "vm"}}));
  DOPPEL_TRY(reader.choice("driftfix", rtc.slew, {{"slew", true}, {"none", false}}));
  return reader.finish();
}

Result<> apply_localtime(CommandLine& line, std::string_view) {
  line.vm.rtc.base = "localtime";
  return {};
}

Result<> apply_no_reboot(CommandLine& line, std::string_view) {
  line.vm.action.reboot = vm::RebootAction::kShutdown;
  return {};
}

Result<> apply_no_shutdown(CommandLine& line, std::string_view) {
  line.vm.action.shutdown = vm::ShutdownAction::kPause;
  return {};
}

Result<> take_watchdog_action(CommandLine& line, KeyValueReader& reader) {
  return reader.choice<std::string>("watchdog", line.vm.action.watchdog,
                                    {{"reset", "reset"},
                                     {"shutdown", "shutdown"},
                                     {"poweroff", "poweroff"},
                                     {"pause", "pause"},
                                     {"debug", "debug"},
                                     {"none", "none"},
                                     {"inject-nmi", "inject-nmi"}});
}

Result<> apply_watchdog_action(CommandLine& line, std::string_view value) {
  KeyValueReader reader({{"watchdog", std::string(value)}});
  return take_watchdog_action(line, reader);
}

Result<> apply_action(CommandLine& line, std::string_view value) {
  using vm::PanicAction;
  using vm::RebootAction;
  using vm::ShutdownAction;
  DOPPEL_ASSIGN(auto pairs, parse_key_values(value, ""));
  KeyValueReader reader(std::move(pairs));
  vm::ActionConfig& action = line.vm.action;
  DOPPEL_TRY(
      reader.choice("reboot", action.reboot, {{"reset", RebootAction::kReset}, {"shutdown", RebootAction::kShutdown}}));
  DOPPEL_TRY(reader.choice("shutdown", action.shutdown,
                           {{"poweroff", ShutdownAction::kPowerOff}, {"pause", ShutdownAction::kPause}}));
  DOPPEL_TRY(reader.choice("panic", action.panic,
                           {{"shutdown", PanicAction::kShutdown},
                            {"exit-failure", PanicAction::kExitFailure},
                            {"pause", PanicAction::kPause},
                            {"none", PanicAction::kNone}}));
  DOPPEL_TRY(take_watchdog_action(line, reader));
  return reader.finish();
}

Result<> apply_start_paused(CommandLine& line, std::string_view) {
  line.vm.process.start_paused = true;
  return {};
}

Result<> apply_gdb(CommandLine& line, std::string_view value) {
  if (value == "none") {
    line.vm.process.gdb.clear();
    return {};
  }
  if (parse_number(value))
    return fail(ErrorKind::kInvalidArgument, "a port is written with its protocol and host: -gdb tcp::{}", value);
  DOPPEL_TRY(chardev::parse_legacy_chardev(value, "gdb"));
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
  LogSink scratch;
  DOPPEL_TRY(scratch.enable(value));
  line.log.categories = value;
  return {};
}

Result<> apply_log_filter(CommandLine& line, std::string_view value) {
  DOPPEL_TRY(LogFilter::parse(value));
  line.log.filter = value;
  return {};
}

Result<> apply_log_file(CommandLine& line, std::string_view value) {
  line.log.file = value;
  return {};
}

Result<> apply_perf_map(CommandLine& line, std::string_view) {
  line.vm.profile.perf_map = true;
  return {};
}

Result<> apply_jit_dump(CommandLine& line, std::string_view) {
  line.vm.profile.jit_dump = true;
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

Result<> apply_dump_config(CommandLine& line, std::string_view) {
  line.dump_config = true;
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
      Option{"localtime", "", "the same as -rtc base=localtime", apply_localtime},
      Option{"no-reboot", "", "end instead of rebooting", apply_no_reboot},
      Option{"no-shutdown", "", "stay, paused, after power-off", apply_no_shutdown},
      Option{"action", "reboot=|shutdown=|panic=|watchdog=ACTION", "what to do at each of these events", apply_action},
      Option{"watchdog-action", "ACTION", "the same as -action watchdog=ACTION", apply_watchdog_action},
      Option{"S", "", "start paused", apply_start_paused},
      Option{"s", "", "the same as -gdb tcp::1234", apply_gdb_default},
      Option{"gdb", "tcp:[HOST]:PORT|unix:PATH", "wait for gdb there", apply_gdb},
      Option{"d", "ITEM[,ITEM...]", "log these; 'help' lists them", apply_log},
      Option{"dfilter", "RANGE[,RANGE...]", "of guest code log only what lies at FIRST..LAST, FIRST+SIZE or LAST-SIZE",
             apply_log_filter},
      Option{"D", "FILE", "log to a file instead of standard error", apply_log_file},
      Option{"perfmap", "", "name translated code for 'perf report', in /tmp/perf-PID.map", apply_perf_map},
      Option{"jitdump", "", "write translated code for 'perf inject --jit' to jit-PID.dump", apply_jit_dump},
      Option{"pidfile", "FILE", "write the process id there, and keep others from it", apply_pid_file},
      Option{"daemonize", "", "go to the background once the machine is ready", apply_daemonize},
      Option{"dump-config", "", "print what the command line asks for, as JSON, and end", apply_dump_config},
      Option{"version", "", "print the version", apply_version},
      Option{"help", "", "print this", apply_help},
      Option{"h", "", "print this", apply_help},
  };
  return kOptions;
}

}  // namespace doppel::cli
