// -pflash, -fda, -fdb, and what -drive says with if=pflash or if=floppy; places for drives that no PC has.
#include <algorithm>
#include <array>

#include "cli/key_values.h"
#include "cli/options.h"

namespace doppel::cli {

namespace {

constexpr unsigned kUnits = 2;  // flash chips, and drives on the floppy controller
constexpr auto kFlashProperties = std::to_array<std::string_view>({"pflash0", "pflash1"});

Result<> add_image(CommandLine& line, vm::DriveConfig image) {
  DOPPEL_TRY(check_id(image.id));
  if (image.file.empty()) return fail(ErrorKind::kInvalidArgument, "file= is missing; write file=FILE");
  if (std::ranges::find(line.vm.drives, image.id, &vm::DriveConfig::id) != line.vm.drives.end())
    return fail(ErrorKind::kAlreadyExists, "the id '{}' is taken by another drive", image.id);
  line.vm.drives.push_back(std::move(image));
  return {};
}

/// UNIT, or the first for which TAKEN is false.
template <class Taken>
Result<unsigned> choose(std::optional<unsigned> unit, std::string_view what, Taken taken) {
  for (unsigned free = 0; !unit && free < kUnits; ++free)
    if (!taken(free)) unit = free;
  if (!unit) return fail(ErrorKind::kNoSpace, "the PC has two {}, and both have an image already", what);
  if (*unit >= kUnits) return fail(ErrorKind::kOutOfRange, "the PC has two {}: unit=0 and unit=1", what);
  if (taken(*unit))
    return fail(ErrorKind::kAlreadyExists, "unit={} of the {} has an image already; write another unit=", *unit, what);
  return *unit;
}

Result<> apply_pflash(CommandLine& line, std::string_view file) {
  return add_flash(line, std::nullopt, {.file = std::string(file)});
}

template <unsigned Unit>
Result<> apply_floppy(CommandLine& line, std::string_view file) {
  return add_floppy(line, Unit, {.file = std::string(file)});
}

Result<> refuse_mtd(CommandLine&, std::string_view) {
  return fail(ErrorKind::kUnsupported, "{}", no_place_for("mtd"));
}

Result<> refuse_sd(CommandLine&, std::string_view) {
  return fail(ErrorKind::kUnsupported, "{}", no_place_for("sd"));
}

}  // namespace

std::string no_place_for(std::string_view interface) {
  if (interface == "mtd")
    return "a PC has no bare flash memory for if=mtd; its firmware's flash chips are '-pflash FILE', its disks "
           "'-drive file=FILE'";
  if (interface == "sd") return "a PC has no SD card reader for if=sd; write '-drive file=FILE'";
  return fmt::format("a PC has no place for if={}; write '-drive file=FILE'", interface);
}

Result<> add_flash(CommandLine& line, std::optional<unsigned> unit, vm::DriveConfig image) {
  vm::KeyValues& properties = line.vm.machine.properties;
  const auto taken = [&](unsigned n) {
    return std::ranges::any_of(properties, [&](const auto& pair) { return pair.first == kFlashProperties.at(n); });
  };
  DOPPEL_ASSIGN(const unsigned chosen, choose(unit, "flash chips", taken));
  const std::string_view property = kFlashProperties.at(chosen);
  if (image.id.empty()) image.id = property;
  properties.emplace_back(property, image.id);
  return add_image(line, std::move(image));
}

Result<> add_floppy(CommandLine& line, std::optional<unsigned> unit, vm::DriveConfig image) {
  const auto is_unit = [](const vm::DeviceConfig& device, unsigned n) {
    const std::pair<std::string, std::string> wanted{"unit", std::to_string(n)};
    return device.driver == "floppy" && std::ranges::find(device.properties, wanted) != device.properties.end();
  };
  const auto taken = [&](unsigned n) {
    return std::ranges::any_of(line.vm.devices, [&](const auto& device) { return is_unit(device, n); });
  };
  DOPPEL_ASSIGN(const unsigned chosen, choose(unit, "floppy drives", taken));
  if (image.id.empty()) image.id = fmt::format("floppy{}", chosen);
  vm::DeviceConfig device{.driver = "floppy", .properties = {{"unit", std::to_string(chosen)}}};
  if (!image.file.empty()) {
    device.properties.emplace_back("drive", image.id);
    DOPPEL_TRY(add_image(line, std::move(image)));
  }
  line.vm.devices.push_back(std::move(device));
  return {};
}

Result<std::optional<unsigned>> take_unit(KeyValueReader& reader) {
  constexpr unsigned kUnset = ~0U;
  unsigned index = kUnset;
  unsigned unit = kUnset;
  unsigned bus = 0;
  DOPPEL_TRY(reader.number("index", index));
  DOPPEL_TRY(reader.number("unit", unit));
  DOPPEL_TRY(reader.number("bus", bus));
  if (bus != 0) return fail(ErrorKind::kOutOfRange, "bus={}: there is bus=0 alone", bus);
  if (index != kUnset && unit != kUnset)
    return fail(ErrorKind::kInvalidArgument, "index= says the same as unit=; write one or the other");
  if (index != kUnset) unit = index;
  return unit == kUnset ? std::nullopt : std::optional(unit);
}

std::span<const Option> chip_options() {
  static constexpr std::array kOptions = {
      Option{"pflash", "FILE", "an image in a flash chip: the first is the firmware, the second its variables",
             apply_pflash},
      Option{"fda", "FILE", "the floppy in the first floppy drive", apply_floppy<0>},
      Option{"fdb", "FILE", "the floppy in the second floppy drive", apply_floppy<1>},
      Option{"mtdblock", "FILE", "bare flash memory, which a PC has not", refuse_mtd},
      Option{"sd", "FILE", "an SD card, for which a PC has no reader", refuse_sd},
  };
  return kOptions;
}

}  // namespace doppel::cli
