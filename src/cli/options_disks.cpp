// -hda, -cdrom, -drive, -snapshot: images, and the drives that the board brings for them.
//
// A -drive is an image; with if=ide it is also a drive on the board's IDE controller, which becomes a device like those
// of -device once all options are known.
#include <algorithm>
#include <array>
#include <iterator>

#include <fmt/ranges.h>

#include "block/error_policy.h"
#include "block/image/open_image.h"
#include "cli/key_values.h"
#include "cli/options.h"
#include "cli/options_blockdev.h"
#include "vm/machine_types.h"

namespace doppel::cli {

namespace {

constexpr unsigned kUnits = 2;  // drives on an IDE bus
constexpr unsigned kPlaces = 4;
constexpr unsigned kCdromPlace = 2;

Result<> check_new_id(const CommandLine& line, const std::string& id) {
  DOPPEL_TRY(check_id(id));
  if (std::ranges::find(line.vm.drives, id, &vm::DriveConfig::id) != line.vm.drives.end())
    return fail(ErrorKind::kAlreadyExists, "the id '{}' is taken by another drive", id);
  return {};
}

bool is_taken(const CommandLine& line, unsigned place) {
  return std::ranges::find(line.board_drives, place, &BoardDrive::place) != line.board_drives.end();
}

/// Puts DRIVE, with its place known, on the board, and IMAGE into it if it has one.
Result<> add_board_drive(CommandLine& line, BoardDrive drive, vm::DriveConfig image) {
  const unsigned bus = drive.place / kUnits;
  const unsigned unit = drive.place % kUnits;
  if (drive.place >= kPlaces)
    return fail(ErrorKind::kNoSpace, "the PC's two IDE buses have four drives already; there is no place for another");
  if (is_taken(line, drive.place))
    return fail(ErrorKind::kAlreadyExists,
                "there is a drive at bus={},unit={} (index={}) already; give one of the two another index=", bus, unit,
                drive.place);
  if (image.id.empty()) image.id = fmt::format("ide{}-{}{}", bus, drive.is_cdrom ? "cd" : "hd", unit);
  const bool has_image = !image.file.empty() || describes_image(image.options);
  if (!has_image && !drive.is_cdrom) return fail(ErrorKind::kInvalidArgument, "a disk needs an image; write file=FILE");
  if (has_image) {
    DOPPEL_TRY(check_new_id(line, image.id));
    drive.image = image.id;
    line.vm.drives.push_back(std::move(image));
  }
  line.board_drives.push_back(std::move(drive));
  return {};
}

template <unsigned Place>
Result<> add_disk(CommandLine& line, std::string_view file) {
  return add_board_drive(line, {.place = Place}, {.file = std::string(file)});
}

Result<> add_cdrom(CommandLine& line, std::string_view file) {
  return add_board_drive(line, {.place = kCdromPlace, .is_cdrom = true},
                         {.file = std::string(file), .read_only = true});
}

// ---- -drive

enum class Interface : std::uint8_t { kIde, kVirtio, kNone, kFlash, kFloppy };

Result<Interface> take_interface(KeyValueReader& reader) {
  const std::string name = reader.take("if").value_or("ide");
  if (name == "ide") return Interface::kIde;
  if (name == "virtio") return Interface::kVirtio;
  if (name == "none") return Interface::kNone;
  if (name == "pflash") return Interface::kFlash;
  if (name == "floppy") return Interface::kFloppy;
  constexpr auto kNowhere = std::to_array<std::string_view>({"sd", "mtd", "xen"});
  if (std::ranges::find(kNowhere, name) != kNowhere.end())
    return fail(ErrorKind::kUnsupported, "{}", no_place_for(name));
  constexpr auto kOthers = std::to_array<std::string_view>({"scsi"});
  if (std::ranges::find(kOthers, name) != kOthers.end())
    return fail(ErrorKind::kUnsupported, "if={} is not there yet; write if=ide", name);
  return fail(ErrorKind::kInvalidArgument, "if= expects ide, virtio, floppy, pflash or none, not '{}'", name);
}

/// A virtio disk for IMAGE, which becomes a device at once: their order on the command line is that of their slots.
Result<> add_virtio_drive(CommandLine& line, KeyValueReader& reader, const BoardDrive& drive, vm::DriveConfig image) {
  if (drive.is_cdrom) return fail(ErrorKind::kUnsupported, "if=virtio has disks only; write if=ide for media=cdrom");
  unsigned index = 0;
  const auto is_taken_by_virtio = [&line](unsigned number) {
    return std::ranges::find(line.vm.drives, fmt::format("virtio{}", number), &vm::DriveConfig::id) !=
           line.vm.drives.end();
  };
  while (is_taken_by_virtio(index)) ++index;
  DOPPEL_TRY(reader.number("index", index));
  DOPPEL_TRY(reader.finish());
  if (image.file.empty()) return fail(ErrorKind::kInvalidArgument, "a disk needs an image; write file=FILE");
  if (image.id.empty()) image.id = fmt::format("virtio{}", index);
  DOPPEL_TRY(check_new_id(line, image.id));
  vm::DeviceConfig device{.driver = "virtio-blk-pci", .properties = {{"drive", image.id}}};
  if (!drive.serial.empty()) device.properties.emplace_back("serial", drive.serial);
  line.vm.drives.push_back(std::move(image));
  line.vm.devices.push_back(std::move(device));
  return {};
}

/// The place that index=, or bus= and unit=, name; else the first that is free.
Result<unsigned> take_place(const CommandLine& line, KeyValueReader& reader) {
  constexpr unsigned kUnset = ~0U;
  unsigned index = kUnset;
  unsigned bus = kUnset;
  unsigned unit = kUnset;
  DOPPEL_TRY(reader.number("index", index));
  DOPPEL_TRY(reader.number("bus", bus));
  DOPPEL_TRY(reader.number("unit", unit));
  if (index != kUnset && (bus != kUnset || unit != kUnset))
    return fail(ErrorKind::kInvalidArgument, "index= says the same as bus= and unit=; write one or the other");
  if (index != kUnset && index >= kPlaces)
    return fail(ErrorKind::kOutOfRange, "index={}: IDE drives have the places 0 to 3", index);
  if ((bus != kUnset && bus >= kPlaces / kUnits) || (unit != kUnset && unit >= kUnits))
    return fail(ErrorKind::kOutOfRange, "IDE has bus=0 and bus=1, each with unit=0 and unit=1");
  if (index != kUnset) return index;
  if (bus != kUnset && unit != kUnset) return bus * kUnits + unit;
  unsigned place = 0;
  const auto fits = [&] {
    return (bus == kUnset || place / kUnits == bus) && (unit == kUnset || place % kUnits == unit);
  };
  while (place < kPlaces && (!fits() || is_taken(line, place))) ++place;
  return place;
}

Result<vm::DriveConfig> take_image(KeyValueReader& reader) {
  vm::DriveConfig image;
  reader.text("id", image.id);
  reader.text("file", image.file);
  reader.text("format", image.format);
  reader.text("cache", image.cache);
  DOPPEL_TRY(block::parse_cache_mode(image.cache));
  reader.text("werror", image.write_error);
  reader.text("rerror", image.read_error);
  DOPPEL_TRY(block::parse_error_action("werror", image.write_error));
  DOPPEL_TRY(block::parse_error_action("rerror", image.read_error));
  DOPPEL_TRY(reader.boolean("readonly", image.read_only));
  DOPPEL_TRY(reader.boolean("read-only", image.read_only));
  DOPPEL_TRY(reader.boolean("snapshot", image.snapshot));
  DOPPEL_TRY(
      reader.choice("discard", image.discard, {{"ignore", false}, {"off", false}, {"unmap", true}, {"on", true}}));
  DOPPEL_TRY(take_node_options(reader, image.options));
  return image;
}

Result<> apply_drive(CommandLine& line, std::string_view value) {
  if (wants_help(value) || value == "format=help")
    return print(line, fmt::format("Supported formats: {}\n", fmt::join(block::image_formats(), " ")));
  DOPPEL_ASSIGN(auto pairs, parse_key_values(value, ""));
  KeyValueReader reader(std::move(pairs));
  DOPPEL_ASSIGN(const Interface interface, take_interface(reader));
  DOPPEL_ASSIGN(vm::DriveConfig image, take_image(reader));
  BoardDrive drive;
  DOPPEL_TRY(reader.choice("media", drive.is_cdrom, {{"disk", false}, {"cdrom", true}}));
  reader.text("serial", drive.serial);
  if (drive.is_cdrom) image.read_only = true;
  if (interface == Interface::kFlash || interface == Interface::kFloppy) {
    DOPPEL_ASSIGN(const auto unit, take_unit(reader));
    DOPPEL_TRY(reader.finish());
    if (drive.is_cdrom || !drive.serial.empty())
      return fail(ErrorKind::kInvalidArgument,
                  "media=cdrom and serial= are for disks, not for flash chips and floppies");
    return interface == Interface::kFlash ? add_flash(line, unit, std::move(image))
                                          : add_floppy(line, unit, std::move(image));
  }
  if (interface == Interface::kIde) {
    DOPPEL_ASSIGN(drive.place, take_place(line, reader));
    DOPPEL_TRY(reader.finish());
    return add_board_drive(line, std::move(drive), std::move(image));
  }
  if (interface == Interface::kVirtio) return add_virtio_drive(line, reader, drive, std::move(image));
  DOPPEL_TRY(reader.finish());
  if (!drive.serial.empty())
    return fail(ErrorKind::kInvalidArgument, "with if=none the serial= goes to the -device that uses the drive");
  if (image.id.empty())
    return fail(ErrorKind::kInvalidArgument, "with if=none an id= is needed, for the -device that uses the drive");
  if (image.file.empty() && !describes_image(image.options))
    return fail(ErrorKind::kInvalidArgument, "file= is missing; write file=FILE");
  DOPPEL_TRY(check_new_id(line, image.id));
  line.vm.drives.push_back(std::move(image));
  return {};
}

Result<> apply_snapshot(CommandLine& line, std::string_view) {
  line.snapshot = true;
  return {};
}

// ---- What follows from all options together

vm::DeviceConfig device_of(const BoardDrive& drive) {
  vm::DeviceConfig device{.driver = drive.is_cdrom ? "ide-cd" : "ide-hd",
                          .properties = {{"bus", fmt::format("ide.{}", drive.place / kUnits)},
                                         {"unit", fmt::format("{}", drive.place % kUnits)}}};
  if (!drive.image.empty()) device.properties.emplace_back("drive", drive.image);
  if (!drive.serial.empty()) device.properties.emplace_back("serial", drive.serial);
  return device;
}

/// Does somebody with this device say what drives there are?
bool names_drives(const vm::DeviceConfig& device) {
  constexpr auto kDrivers = std::to_array<std::string_view>({"ide-hd", "ide-cd", "scsi-hd", "scsi-cd"});
  return std::ranges::find(kDrivers, device.driver) != kDrivers.end();
}

/// As QEMU has it: an empty CD-ROM drive, unless somebody says what drives there are.
bool wants_default_cdrom(const CommandLine& line) {
  const auto type = vm::find_machine_type(line.vm.machine.type);
  return line.vm.default_devices && type && (*type)->kind == vm::MachineKind::kPc &&
         std::ranges::none_of(line.vm.devices, names_drives) && !is_taken(line, kCdromPlace);
}

/// An empty floppy drive, likewise.
bool wants_default_floppy(const CommandLine& line) {
  const auto type = vm::find_machine_type(line.vm.machine.type);
  return line.vm.default_devices && type && (*type)->kind == vm::MachineKind::kPc &&
         std::ranges::find(line.vm.devices, "floppy", &vm::DeviceConfig::driver) == line.vm.devices.end();
}

/// What is in a CD-ROM drive is only read.
void open_media_read_only(vm::VmConfig& config) {
  for (const vm::DeviceConfig& device : config.devices) {
    if (device.driver != "ide-cd" && device.driver != "scsi-cd") continue;
    for (const auto& [key, value] : device.properties)
      for (vm::DriveConfig& drive : config.drives)
        if (key == "drive" && drive.id == value) drive.read_only = true;
  }
}

}  // namespace

Result<> add_first_disk(CommandLine& line, std::string_view file) {
  return add_disk<0>(line, file);
}

void finish_disks(CommandLine& line) {
  if (wants_default_cdrom(line)) line.board_drives.push_back({.place = kCdromPlace, .is_cdrom = true});
  if (wants_default_floppy(line)) line.vm.devices.push_back({.driver = "floppy", .properties = {{"unit", "0"}}});
  std::vector<vm::DeviceConfig> devices;
  std::ranges::transform(line.board_drives, std::back_inserter(devices), device_of);
  line.vm.devices.insert(line.vm.devices.begin(), devices.begin(), devices.end());
  open_media_read_only(line.vm);
  if (!line.snapshot) return;
  for (vm::DriveConfig& drive : line.vm.drives) drive.snapshot = true;
}

std::span<const Option> disk_options() {
  static constexpr std::array kOptions = {
      Option{"hda", "FILE", "the first disk: master of the first IDE bus", add_disk<0>},
      Option{"hdb", "FILE", "the second disk: slave of the first IDE bus", add_disk<1>},
      Option{"hdc", "FILE", "the third disk: master of the second IDE bus", add_disk<2>},
      Option{"hdd", "FILE", "the fourth disk: slave of the second IDE bus", add_disk<3>},
      Option{"cdrom", "FILE", "the CD-ROM in the drive that is master of the second IDE bus", add_cdrom},
      Option{"drive",
             "file=FILE[,if=ide|virtio|floppy|pflash|none][,index=N|,bus=N,unit=N][,media=disk|cdrom][,id=ID][,format="
             "FORMAT]["
             ",cache=MODE]"
             "[,readonly=on][,snapshot=on][,discard=unmap][,serial=TEXT][,werror=ACTION][,rerror=ACTION]",
             "an image, and with if=ide or virtio a drive for it; with if=none a -device names its id", apply_drive},
      Option{"blockdev", "driver=DRIVER,node-name=NAME[,key=value]|JSON",
             "a node of the block graph, which a -device or another node names", apply_blockdev},
      Option{"snapshot", "", "leave all images as they are; what guests write is gone at the end", apply_snapshot},
  };
  return kOptions;
}

}  // namespace doppel::cli
