#include "hw/machine/catalogue.h"

#include <array>

#include "hw/isa/debug_console.h"
#include "hw/isa/debug_exit.h"
#include "hw/isa/pvpanic.h"
#include "hw/machine/board.h"
#include "hw/machine/disk_controllers.h"
#include "hw/machine/pci_place.h"
#include "hw/machine/video_board.h"
#include "hw/machine/virtio_board.h"
#include "hw/pci/pci_bridge.h"

namespace doppel::hw {

namespace {

/// Where a device goes and what it is called: properties that every device of a bus has.
struct IsaPlace {
  std::string id;
  std::string bus = "isa.0";
};
const PropertyTable<IsaPlace> kIsaPlace = {
    {"id", &IsaPlace::id, "its name"},
    {"bus", &IsaPlace::bus, "the bus it is on"},
};

struct PciBridgeConfig {
  std::uint8_t chassis_nr = 1;
  bool msi = true;
  bool shpc = false;
};
const PropertyTable<PciBridgeConfig> kPciBridgeProperties = {
    {"chassis_nr", &PciBridgeConfig::chassis_nr, "chassis number, for guests that name slots"},
    {"msi", &PciBridgeConfig::msi, "message signalled interrupts, of use to hot plug only"},
    {"shpc", &PciBridgeConfig::shpc, "hot plug controller; there is none"},
};

/// A device that is as it is.
struct NoConfig {};
const PropertyTable<NoConfig> kNoProperties = {};

template <class Config>
const PropertyTable<Config>& table();
template <>
const PropertyTable<NoConfig>& table() {
  return kNoProperties;
}
template <>
const PropertyTable<AtaDriveConfig>& table() {
  return kAtaDriveProperties;
}
template <>
const PropertyTable<AtapiDriveConfig>& table() {
  return kAtapiDriveProperties;
}
template <>
const PropertyTable<IdePlace>& table() {
  return kIdePlace;
}
template <>
const PropertyTable<FloppyConfig>& table() {
  return kFloppyProperties;
}
template <>
const PropertyTable<FloppyPlace>& table() {
  return kFloppyPlace;
}
template <>
const PropertyTable<DebugConsoleConfig>& table() {
  return kDebugConsoleProperties;
}
template <>
const PropertyTable<DebugExitConfig>& table() {
  return kDebugExitProperties;
}
template <>
const PropertyTable<PvpanicConfig>& table() {
  return kPvpanicProperties;
}
template <>
const PropertyTable<IsaSerialConfig>& table() {
  return kIsaSerialProperties;
}
template <>
const PropertyTable<PciBridgeConfig>& table() {
  return kPciBridgeProperties;
}
template <>
const PropertyTable<VirtioBlkConfig>& table() {
  return kVirtioBlkProperties;
}
template <>
const PropertyTable<NvmeConfig>& table() {
  return kNvmeProperties;
}
template <>
const PropertyTable<NvmeNamespaceConfig>& table() {
  return kNvmeNamespaceProperties;
}
template <>
const PropertyTable<NvmeNamespacePlace>& table() {
  return kNvmeNamespacePlace;
}
template <>
const PropertyTable<DiskPlace>& table() {
  return kDiskPlace;
}
template <>
const PropertyTable<VirtioScsiConfig>& table() {
  return kVirtioScsiProperties;
}
template <>
const PropertyTable<ScsiDiskConfig>& table() {
  return kScsiDiskProperties;
}
template <>
const PropertyTable<ScsiPlace>& table() {
  return kScsiPlace;
}
template <>
const PropertyTable<VgaConfig>& table() {
  return kVgaProperties;
}
template <>
const PropertyTable<IsaPlace>& table() {
  return kIsaPlace;
}
template <>
const PropertyTable<PciPlace>& table() {
  return kPciPlace;
}

Result<> check_place(const IsaPlace& place) {
  if (!place.bus.empty() && place.bus != "isa.0")
    return fail(ErrorKind::kNotFound, "there is no ISA bus '{}'; it is isa.0", place.bus);
  return {};
}
/// A device's own properties and its place's, parsed.
template <class Config, class Place>
struct Parsed {
  Config config;
  Place place;
};

template <class Config, class Place>
std::vector<PropertyInfo> describe() {
  std::vector<PropertyInfo> rows = table<Config>().describe();
  for (PropertyInfo& row : table<Place>().describe()) rows.push_back(std::move(row));
  return rows;
}

template <class Config, class Place>
std::unexpected<Error> unknown_property(std::string_view name) {
  NearestName nearest(name);
  for (const PropertyInfo& row : describe<Config, Place>()) nearest.offer(row.name);
  return fail(ErrorKind::kNotFound, "there is no property '{}'{}", name, nearest.suggestion());
}

template <class Config, class Place>
Result<Parsed<Config, Place>> parse(const DeviceProperties& properties) {
  Parsed<Config, Place> parsed;
  for (const auto& [name, text] : properties) {
    auto set = table<Place>().set(parsed.place, name, text);
    if (!set && set.error().kind() == ErrorKind::kNotFound) set = table<Config>().set(parsed.config, name, text);
    if (!set && set.error().kind() == ErrorKind::kNotFound) return unknown_property<Config, Place>(name);
    if (!set) return std::unexpected(std::move(set).error());
  }
  DOPPEL_TRY(check_place(parsed.place));
  return parsed;
}

template <class Config, class Place>
Result<> check(const DeviceProperties& properties) {
  DOPPEL_ASSIGN(const auto parsed, (parse<Config, Place>(properties)));
  if constexpr (requires { check_config(parsed.config); }) DOPPEL_TRY(check_config(parsed.config));
  return {};
}

// ---- One maker for each device

Result<> create_debug_console(Board& board, const DeviceProperties& properties) {
  DOPPEL_ASSIGN(auto parsed, (parse<DebugConsoleConfig, IsaPlace>(properties)));
  DOPPEL_ASSIGN(chardev::Chardev * chardev, board.parts().find_chardev(parsed.config.chardev));
  auto device = std::make_unique<DebugConsole>(parsed.config, chardev, board.parts().log.named("debugcon"));
  DOPPEL_TRY(board.ports().add("isa-debugcon", device->port(), DebugConsole::kPorts, *device, DebugConsole::kIoSizes));
  board.isa().own(std::move(device));
  return {};
}

Result<> create_debug_exit(Board& board, const DeviceProperties& properties) {
  DOPPEL_ASSIGN(auto parsed, (parse<DebugExitConfig, IsaPlace>(properties)));
  auto device = std::make_unique<DebugExit>(
      parsed.config, [&events = board.parts().events](int status) { events.exit_requested(status); });
  DOPPEL_TRY(board.ports().add("isa-debug-exit", device->port(), device->ports(), *device, DebugExit::kIoSizes));
  board.isa().own(std::move(device));
  return {};
}

Result<> create_pvpanic(Board& board, const DeviceProperties& properties) {
  DOPPEL_ASSIGN(auto parsed, (parse<PvpanicConfig, IsaPlace>(properties)));
  const auto report = [&events = board.parts().events](PvpanicEvent event) {
    if (event == PvpanicEvent::kPanicked) events.guest_panicked();
  };
  auto device = std::make_unique<Pvpanic>(parsed.config, report, board.parts().log.named("pvpanic"));
  DOPPEL_TRY(board.ports().add("pvpanic", device->port(), Pvpanic::kPorts, *device, Pvpanic::kIoSizes));
  board.set_pvpanic_port(device->port());
  board.isa().own(std::move(device));
  return {};
}

Result<> create_isa_serial(Board& board, const DeviceProperties& properties) {
  DOPPEL_ASSIGN(auto parsed, (parse<IsaSerialConfig, IsaPlace>(properties)));
  DOPPEL_ASSIGN(chardev::Chardev * chardev, board.parts().find_chardev(parsed.config.chardev));
  return board.isa().add_serial(std::move(parsed.config), chardev);
}

Result<> create_ide_disk(Board& board, const DeviceProperties& properties) {
  DOPPEL_ASSIGN(auto parsed, (parse<AtaDriveConfig, IdePlace>(properties)));
  return add_ide_disk(board, std::move(parsed.config), parsed.place);
}

Result<> create_ide_cdrom(Board& board, const DeviceProperties& properties) {
  DOPPEL_ASSIGN(auto parsed, (parse<AtapiDriveConfig, IdePlace>(properties)));
  return add_ide_cdrom(board, std::move(parsed.config), parsed.place);
}

Result<> create_ahci(Board& board, const DeviceProperties& properties) {
  DOPPEL_ASSIGN(const auto parsed, (parse<NoConfig, PciPlace>(properties)));
  return add_ahci(board, parsed.place);
}

Result<> create_nvme(Board& board, const DeviceProperties& properties) {
  DOPPEL_ASSIGN(auto parsed, (parse<NvmeConfig, DiskPlace>(properties)));
  return add_nvme(board, std::move(parsed.config), parsed.place);
}

Result<> create_nvme_namespace(Board& board, const DeviceProperties& properties) {
  DOPPEL_ASSIGN(auto parsed, (parse<NvmeNamespaceConfig, NvmeNamespacePlace>(properties)));
  return add_nvme_namespace(board, std::move(parsed.config), parsed.place);
}

Result<> create_floppy(Board& board, const DeviceProperties& properties) {
  DOPPEL_ASSIGN(const auto parsed, (parse<FloppyConfig, FloppyPlace>(properties)));
  if (board.floppy() == nullptr)
    return fail(ErrorKind::kUnsupported, "this machine has no floppy bus; use -machine pc");
  return board.floppy()->add_drive(parsed.config, parsed.place);
}

Result<> create_pci_bridge(Board& board, const DeviceProperties& properties) {
  DOPPEL_ASSIGN(auto parsed, (parse<PciBridgeConfig, PciPlace>(properties)));
  if (parsed.config.chassis_nr == 0)
    return fail(ErrorKind::kInvalidArgument, "chassis_nr=0: a bridge's chassis is 1 to 255");
  PciBridgeOptions options{.bus_name = parsed.place.id, .chassis = parsed.config.chassis_nr};
  if (options.bus_name.empty()) options.bus_name = fmt::format("pci.{}", parsed.config.chassis_nr);
  DOPPEL_TRY(board.check_new_pci_bus(options.bus_name));
  auto bridge = std::make_unique<PciBridge>(board.pci_services("pci-bridge"), options);
  bridge->set_multifunction(parsed.place.multifunction);
  PciBus& secondary = bridge->secondary();
  DOPPEL_TRY(board.plug(std::move(bridge), parsed.place.bus, parsed.place.addr));
  board.add_pci_bus(secondary);
  return {};
}

Result<> create_vga(Board& board, const DeviceProperties& properties) {
  DOPPEL_ASSIGN(const auto parsed, (parse<VgaConfig, PciPlace>(properties)));
  return add_vga(board, parsed.config, parsed.place);
}

Result<> create_virtio_disk(Board& board, const DeviceProperties& properties) {
  DOPPEL_ASSIGN(auto parsed, (parse<VirtioBlkConfig, DiskPlace>(properties)));
  return add_virtio_blk(board, std::move(parsed.config), parsed.place);
}

Result<> create_virtio_scsi_adapter(Board& board, const DeviceProperties& properties) {
  DOPPEL_ASSIGN(auto parsed, (parse<VirtioScsiConfig, PciPlace>(properties)));
  return add_virtio_scsi(board, std::move(parsed.config), parsed.place);
}

template <ScsiKind Kind>
Result<> create_scsi_unit(Board& board, const DeviceProperties& properties) {
  DOPPEL_ASSIGN(auto parsed, (parse<ScsiDiskConfig, ScsiPlace>(properties)));
  return add_scsi_unit(board, Kind, std::move(parsed.config), parsed.place);
}

template <class Config, class Place>
constexpr DeviceType row(std::string_view name, std::string_view bus, std::string_view category,
                         std::string_view description, Result<> (*create)(Board&, const DeviceProperties&)) {
  return {name, bus, category, description, describe<Config, Place>, check<Config, Place>, create};
}

constexpr std::array kCatalogue = {
    row<PciBridgeConfig, PciPlace>("pci-bridge", "PCI", "Controller/Bridge/Hub", "Standard PCI Bridge",
                                   create_pci_bridge),
    row<IsaSerialConfig, IsaPlace>("isa-serial", "ISA", "Input", "16550A serial port", create_isa_serial),
    row<FloppyConfig, FloppyPlace>("floppy", "floppy", "Storage", "floppy drive", create_floppy),
    row<NoConfig, PciPlace>("ahci", "PCI", "Storage", "the same as ich9-ahci", create_ahci),
    row<NoConfig, PciPlace>("ich9-ahci", "PCI", "Storage", "serial ATA adapter with six ports", create_ahci),
    row<AtapiDriveConfig, IdePlace>("ide-cd", "IDE", "Storage", "CD-ROM drive", create_ide_cdrom),
    row<AtaDriveConfig, IdePlace>("ide-hd", "IDE", "Storage", "hard disk", create_ide_disk),
    row<ScsiDiskConfig, ScsiPlace>("scsi-cd", "SCSI", "Storage", "SCSI CD-ROM drive",
                                   create_scsi_unit<ScsiKind::kCdrom>),
    row<ScsiDiskConfig, ScsiPlace>("scsi-hd", "SCSI", "Storage", "SCSI hard disk", create_scsi_unit<ScsiKind::kDisk>),
    row<VirtioBlkConfig, DiskPlace>("virtio-blk-pci", "PCI", "Storage", "virtio disk", create_virtio_disk),
    row<VirtioScsiConfig, PciPlace>("virtio-scsi-pci", "PCI", "Storage", "virtio SCSI adapter",
                                    create_virtio_scsi_adapter),
    row<NvmeConfig, DiskPlace>("nvme", "PCI", "Storage", "NVM Express controller", create_nvme),
    row<NvmeNamespaceConfig, NvmeNamespacePlace>("nvme-ns", "nvme-bus", "Storage", "namespace of an NVMe controller",
                                                 create_nvme_namespace),
    row<VgaConfig, PciPlace>("VGA", "PCI", "Display", "VGA with the Bochs display interface", create_vga),
    row<DebugExitConfig, IsaPlace>("isa-debug-exit", "ISA", "Misc", "ends the program from inside the guest",
                                   create_debug_exit),
    row<DebugConsoleConfig, IsaPlace>("isa-debugcon", "ISA", "Misc", "a port that prints what is written to it",
                                      create_debug_console),
    row<PvpanicConfig, IsaPlace>("pvpanic", "ISA", "Misc", "lets the guest's kernel report a crash", create_pvpanic),
};

}  // namespace

std::span<const DeviceType> device_catalogue() {
  return kCatalogue;
}

Result<const DeviceType*> find_device_type(std::string_view name) {
  NearestName nearest(name);
  for (const DeviceType& type : kCatalogue) {
    if (type.name == name) return &type;
    nearest.offer(type.name);
  }
  return fail(ErrorKind::kNotFound, "there is no device '{}'{}; '-device help' lists them", name, nearest.suggestion());
}

}  // namespace doppel::hw
