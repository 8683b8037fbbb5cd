// -device, -global, -nodefaults: what is plugged in.
#include <algorithm>
#include <array>

#include "cli/key_values.h"
#include "cli/options.h"
#include "hw/machine/catalogue.h"

namespace doppel::cli {

namespace {

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

std::string_view id_of(const vm::DeviceConfig& device) {
  const auto id = std::ranges::find(device.properties, "id", &vm::KeyValues::value_type::first);
  return id == device.properties.end() ? std::string_view() : id->second;
}

Result<> check_device_id(const CommandLine& line, const vm::DeviceConfig& device) {
  const std::string_view id = id_of(device);
  if (id.empty()) return {};
  DOPPEL_TRY(check_id(id));
  for (const vm::DeviceConfig& other : line.vm.devices)
    if (id_of(other) == id)
      return fail(ErrorKind::kAlreadyExists, "the id '{}' is taken by another device, a {}", id, other.driver);
  return {};
}

/// QEMU tells of an unknown device and ends well when asked for its properties; so do we.
Result<> print_properties(CommandLine& line, std::string_view driver) {
  const auto type = hw::find_device_type(driver);
  if (type) return print(line, property_list(driver, (*type)->describe()));
  line.printout = Printout{.text = fmt::format("doppel: -device {},help: {}\n", driver, type.error().describe()),
                           .to_stderr = true};
  return {};
}

Result<> apply_device(CommandLine& line, std::string_view value) {
  if (wants_help(value)) return print(line, device_list());
  DOPPEL_ASSIGN(auto pairs, parse_key_values_or_json(value, "driver"));
  KeyValueReader reader(std::move(pairs));
  vm::DeviceConfig device;
  reader.text("driver", device.driver);
  if (device.driver.empty())
    return fail(ErrorKind::kInvalidArgument, "driver= is missing; '-device help' lists the devices");
  if (reader.take_help()) return print_properties(line, device.driver);
  DOPPEL_ASSIGN(const hw::DeviceType* type, hw::find_device_type(device.driver));
  device.properties = std::move(reader).rest();
  DOPPEL_TRY(type->check(device.properties));
  DOPPEL_TRY(check_device_id(line, device));
  if (device.driver == "isa-serial") line.default_serial = false;  // as QEMU does, it takes the first port's place
  line.vm.devices.push_back(std::move(device));
  return {};
}

Result<> apply_nodefaults(CommandLine& line, std::string_view) {
  line.vm.default_devices = false;
  return {};
}

}  // namespace

std::span<const Option> device_options() {
  static constexpr std::array kOptions = {
      Option{"device", "DRIVER[,prop=value]|JSON", "add a device; 'help' lists them, 'DRIVER,help' its properties",
             apply_device},
      Option{"global", "DRIVER.PROPERTY=VALUE", "a default for a property of all devices of a kind", apply_global},
      Option{"nodefaults", "", "only what the command line names", apply_nodefaults},
  };
  return kOptions;
}

}  // namespace doppel::cli
