// -chardev, -serial, -debugcon, -nographic, -display: what the user sees and types.
#include <algorithm>
#include <array>

#include "chardev/config.h"
#include "chardev/legacy.h"
#include "cli/key_values.h"
#include "cli/options.h"

namespace doppel::cli {

namespace {

// ---- Character backends

Result<> add_chardev(CommandLine& line, chardev::ChardevConfig config) {
  DOPPEL_TRY(chardev::check_chardev_config(config));
  if (std::ranges::find(line.vm.chardevs, config.id, &chardev::ChardevConfig::id) != line.vm.chardevs.end())
    return fail(ErrorKind::kAlreadyExists, "the id '{}' is taken by another chardev", config.id);
  line.vm.chardevs.push_back(std::move(config));
  return {};
}

std::string chardev_list() {
  std::string text = "Available chardev backend types: \n";
  for (const chardev::ChardevBackendInfo& backend : chardev::chardev_backends())
    text += fmt::format("  {}\n", backend.name);
  return text;
}

/// The rows of `-chardev BACKEND,help`.
std::string chardev_properties(const chardev::ChardevConfig& config) {
  const auto backends = chardev::chardev_backends();
  const std::string_view name = chardev::backend_name(config);
  const auto backend = std::ranges::find(backends, name, &chardev::ChardevBackendInfo::name);
  std::vector<hw::PropertyInfo> rows;
  const auto add = [&](std::span<const chardev::ChardevOption> options) {
    for (const chardev::ChardevOption& option : options) rows.push_back({option.name, option.type, option.help, ""});
  };
  if (backend != backends.end()) add(backend->options);
  add(chardev::common_chardev_options());
  return property_list(fmt::format("chardev {}", name), rows);
}

Result<> apply_chardev(CommandLine& line, std::string_view value) {
  if (wants_help(value)) return print(line, chardev_list());
  DOPPEL_ASSIGN(auto pairs, parse_key_values(value, "backend"));
  KeyValueReader reader(std::move(pairs));
  const std::string backend = reader.take("backend").value_or("");
  const std::string id = reader.take("id").value_or("");
  DOPPEL_ASSIGN(auto config, chardev::make_chardev_config(backend, id));
  if (reader.take_help()) return print(line, chardev_properties(config));
  if (id.empty()) return fail(ErrorKind::kInvalidArgument, "id= is missing, such as '-chardev {},id=char0'", backend);
  DOPPEL_TRY(check_id(id));
  for (const auto& [key, text] : std::move(reader).rest()) {
    // "delay" is what older command lines call the opposite of "nodelay".
    const bool inverted = key == "delay";
    DOPPEL_TRY(chardev::set_chardev_option(config, inverted ? "nodelay" : key,
                                           inverted ? (text == "off" ? "on" : "off") : text));
  }
  return add_chardev(line, std::move(config));
}

/// The id of the backend that legacy TEXT means, made if it is not an existing one; "" for none.
Result<std::string> legacy_chardev(CommandLine& line, std::string_view text, std::string id) {
  DOPPEL_ASSIGN(auto config, chardev::parse_legacy_chardev(text, id));
  if (std::holds_alternative<chardev::NoBackend>(config.backend)) return std::string();
  if (const auto* existing = std::get_if<chardev::ExistingBackend>(&config.backend)) return existing->id;
  DOPPEL_TRY(add_chardev(line, std::move(config)));
  return id;
}

Result<> apply_serial(CommandLine& line, std::string_view value) {
  line.default_serial = false;
  return add_serial(line, value);
}

Result<> apply_debugcon(CommandLine& line, std::string_view value) {
  DOPPEL_ASSIGN(auto id, legacy_chardev(line, value, "debugcon"));
  line.vm.devices.push_back({.driver = "isa-debugcon", .properties = {{"iobase", "0xe9"}, {"chardev", std::move(id)}}});
  return {};
}

// ---- Display

Result<> apply_nographic(CommandLine& line, std::string_view) {
  line.no_graphic = true;
  line.vm.machine.properties.emplace_back("graphics", "off");
  return {};
}

Result<> apply_display(CommandLine& line, std::string_view value) {
  if (wants_help(value)) return print(line, "Available display backend types:\ncurses\nnone\n");
  // Options of a display, such as "curses,charset=CP850", are for those of QEMU.
  const std::string_view kind = value.substr(0, value.find(','));
  line.vm.display.kind = kind == "curses" ? vm::DisplayKind::kCurses : vm::DisplayKind::kNone;
  if (kind != "curses" && kind != "none")
    line.notes.push_back(
        fmt::format("there is no display '{}' yet, going on as with '-display none'; '-display curses' shows text in "
                    "this terminal",
                    kind));
  return {};
}

Result<> apply_curses(CommandLine& line, std::string_view) {
  return apply_display(line, "curses");
}

Result<> apply_vga(CommandLine& line, std::string_view value) {
  if (wants_help(value))
    return print(line, "none                 no graphic card\nstd                  standard VGA\n");
  if (value != "std" && value != "none")
    return fail(ErrorKind::kUnsupported, "there is no display adapter '{}'; write '-vga std' or '-vga none'", value);
  line.vga = value == "std";
  return {};
}

}  // namespace

Result<> add_serial(CommandLine& line, std::string_view text) {
  constexpr std::size_t kPorts = 4;
  if (line.vm.serial.size() == kPorts)
    return fail(ErrorKind::kOutOfRange, "a PC has {} serial ports, and all are taken", kPorts);
  DOPPEL_ASSIGN(auto id, legacy_chardev(line, text, fmt::format("serial{}", line.vm.serial.size())));
  line.vm.serial.push_back(std::move(id));
  return {};
}

std::span<const Option> console_options() {
  static constexpr std::array kOptions = {
      Option{"chardev", "BACKEND,id=ID[,key=value]", "a character backend; 'help' lists them, 'BACKEND,help' its keys",
             apply_chardev},
      Option{"serial", "stdio|mon:stdio|pty|file:F|unix:P|tcp:H:P|null|none|chardev:ID",
             "what the next serial port is connected to", apply_serial},
      Option{"debugcon", "BACKEND", "what the debug console at port 0xe9 is connected to", apply_debugcon},
      Option{"nographic", "", "no display; the first serial port is the terminal, Ctrl-A x ends", apply_nographic},
      Option{"display", "curses|none", "how to show the display; curses: its text in this terminal, Ctrl-A x ends",
             apply_display},
      Option{"curses", "", "the same as -display curses", apply_curses},
      Option{"vga", "std|none", "the display adapter", apply_vga},
  };
  return kOptions;
}

}  // namespace doppel::cli
