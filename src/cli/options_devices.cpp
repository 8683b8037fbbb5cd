// -device, -global, -chardev, -serial, -display and their kin: what is plugged in.
#include <array>

#include "chardev/config.h"
#include "chardev/legacy.h"
#include "cli/key_values.h"
#include "cli/options.h"
#include "hw/machine/catalogue.h"

namespace doppel::cli {

namespace {

// ---- -device

std::string device_list() {
  std::string text;
  std::string_view category;
  for (const hw::DeviceType& type : hw::device_catalogue()) {
    if (type.category != category) {
      text += fmt::format("{}{} devices:\n", text.empty() ? "" : "\n", type.category);
      category = type.category;
    }
    text += fmt::format("name \"{}\", bus {}, desc \"{}\"\n", type.name, type.bus, type.description);
  }
  return text;
}

std::string device_properties(const hw::DeviceType& type) {
  std::string text = fmt::format("{} options:\n", type.name);
  for (const hw::PropertyInfo& row : type.describe())
    text += fmt::format("  {:<22} - {} (default: {})\n", fmt::format("{}=<{}>", row.name, row.type), row.help,
                        row.default_text);
  return text;
}

Result<> apply_device(CommandLine& line, std::string_view value) {
  if (wants_help(value)) return print(line, device_list());
  DOPPEL_ASSIGN(auto pairs, parse_key_values(value, "driver"));
  KeyValueReader reader("-device", std::move(pairs));
  vm::DeviceConfig device;
  reader.text("driver", device.driver);
  if (device.driver.empty())
    return fail(ErrorKind::kInvalidArgument, "driver= is missing; '-device help' lists the devices");
  DOPPEL_ASSIGN(const hw::DeviceType* type, hw::find_device_type(device.driver));
  if (reader.take("help") != nullptr) return print(line, device_properties(*type));
  device.properties = std::move(reader).rest();
  DOPPEL_TRY(type->check(device.properties));
  line.vm.devices.push_back(std::move(device));
  return {};
}

/// "DRIVER.PROPERTY=VALUE" or "driver=D,property=P,value=V".
Result<> apply_global(CommandLine& line, std::string_view value) {
  vm::GlobalConfig global;
  const auto dot = value.find('.');
  const auto equals = value.find('=');
  if (dot != std::string_view::npos && equals != std::string_view::npos && dot < equals) {
    global = {.driver = std::string(value.substr(0, dot)),
              .property = std::string(value.substr(dot + 1, equals - dot - 1)),
              .value = std::string(value.substr(equals + 1))};
  } else {
    DOPPEL_ASSIGN(auto pairs, parse_key_values(value, ""));
    KeyValueReader reader("-global", std::move(pairs));
    reader.text("driver", global.driver);
    reader.text("property", global.property);
    reader.text("value", global.value);
    DOPPEL_TRY(reader.finish());
  }
  if (global.driver.empty() || global.property.empty())
    return fail(ErrorKind::kInvalidArgument, "expected DRIVER.PROPERTY=VALUE");
  line.vm.globals.push_back(std::move(global));
  return {};
}

Result<> apply_nodefaults(CommandLine& line, std::string_view) {
  line.vm.default_devices = false;
  return {};
}

// ---- Character backends

Result<> add_chardev(CommandLine& line, chardev::ChardevConfig config) {
  DOPPEL_TRY(chardev::check_chardev_config(config));
  for (const chardev::ChardevConfig& other : line.vm.chardevs)
    if (other.id == config.id)
      return fail(ErrorKind::kAlreadyExists, "the id '{}' is taken by another chardev", config.id);
  line.vm.chardevs.push_back(std::move(config));
  return {};
}

std::string chardev_help() {
  std::string text = "Available chardev backend types: \n";
  for (const chardev::ChardevBackendInfo& backend : chardev::chardev_backends())
    text += fmt::format("  {}\n", backend.name);
  return text;
}

Result<> apply_chardev(CommandLine& line, std::string_view value) {
  if (wants_help(value)) return print(line, chardev_help());
  DOPPEL_ASSIGN(auto pairs, parse_key_values(value, "backend"));
  KeyValueReader reader("-chardev", std::move(pairs));
  std::string backend;
  std::string id;
  reader.text("backend", backend);
  reader.text("id", id);
  if (id.empty()) return fail(ErrorKind::kInvalidArgument, "id= is missing, such as '-chardev {},id=char0'", backend);
  DOPPEL_ASSIGN(auto config, chardev::make_chardev_config(backend, std::move(id)));
  for (const auto& [key, text] : std::move(reader).rest()) DOPPEL_TRY(chardev::set_chardev_option(config, key, text));
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
  constexpr std::size_t kPorts = 4;
  if (line.vm.serial.size() == kPorts) return fail(ErrorKind::kOutOfRange, "a PC has {} serial ports", kPorts);
  line.serial_given = true;
  DOPPEL_ASSIGN(auto id, legacy_chardev(line, value, fmt::format("serial{}", line.vm.serial.size())));
  line.vm.serial.push_back(std::move(id));
  return {};
}

Result<> apply_debugcon(CommandLine& line, std::string_view value) {
  DOPPEL_ASSIGN(auto id, legacy_chardev(line, value, "debugcon"));
  line.vm.devices.push_back({.driver = "isa-debugcon", .properties = {{"iobase", "0xe9"}, {"chardev", std::move(id)}}});
  return {};
}

// ---- Display

Result<> apply_nographic(CommandLine& line, std::string_view) {
  line.no_graphic = true;
  return {};
}

Result<> apply_display(CommandLine& line, std::string_view value) {
  if (wants_help(value)) return print(line, "Available display backend types:\nnone\n");
  if (value != "none")
    line.notes.push_back(fmt::format("-display {}: there is no display yet; going on as with '-display none'", value));
  return {};
}

Result<> apply_vga(CommandLine& line, std::string_view value) {
  if (wants_help(value)) return print(line, "none                 no graphic card\n");
  if (value != "none")
    line.notes.push_back(fmt::format("-vga {}: there is no display adapter yet; going on as with '-vga none'", value));
  return {};
}

}  // namespace

std::span<const Option> device_options() {
  static constexpr std::array kOptions = {
      Option{"device", "DRIVER[,prop=value]", "add a device; 'help' lists them, 'DRIVER,help' its properties",
             apply_device},
      Option{"global", "DRIVER.PROPERTY=VALUE", "a default for a property of all devices of a kind", apply_global},
      Option{"nodefaults", "", "only what the command line names", apply_nodefaults},
      Option{"chardev", "BACKEND,id=ID[,key=value]", "a character backend; 'help' lists them", apply_chardev},
      Option{"serial", "stdio|mon:stdio|pty|file:F|unix:P|tcp:H:P|null|none|chardev:ID",
             "what the next serial port is connected to", apply_serial},
      Option{"debugcon", "BACKEND", "what the debug console at port 0xe9 is connected to", apply_debugcon},
      Option{"nographic", "", "no display; the first serial port is the terminal", apply_nographic},
      Option{"display", "none", "how to show the display", apply_display},
      Option{"vga", "none", "the display adapter", apply_vga},
  };
  return kOptions;
}

}  // namespace doppel::cli
