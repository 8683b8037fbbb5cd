#include "hw/machine/disk_controllers.h"

#include <utility>

#include "base/text.h"
#include "hw/machine/board.h"

namespace doppel::hw {

namespace {

Result<Nvme*> find_nvme(Board& board, const std::string& id) {
  const auto& all = board.disk_controllers().nvme;
  if (all.empty())
    return fail(ErrorKind::kNotFound,
                "there is no NVMe controller for this namespace; write '-device nvme,serial=TEXT' "
                "before it");
  if (id.empty()) return all.back().controller;
  NearestName nearest(id);
  for (const auto& [name, controller] : all) {
    if (name == id) return controller;
    nearest.offer(name);
  }
  return fail(ErrorKind::kNotFound, "there is no NVMe controller '{}'{}", id, nearest.suggestion());
}

Result<> put_namespace(Board& board, Nvme& controller, NvmeNamespaceConfig config, const std::string& drive,
                       std::int32_t bootindex) {
  DOPPEL_ASSIGN(block::Disk * disk, board.parts().find_disk(drive));
  DOPPEL_ASSIGN(const std::uint32_t id, controller.add_namespace(std::move(config), *disk));
  return board.note_boot_index(bootindex, firmware_path(controller, "nvme") + fmt::format("/namespace@{:x},0", id));
}

}  // namespace

// ---- AHCI

namespace {

struct AhciPlace {
  Ahci* controller = nullptr;
  unsigned port = 0;
  unsigned number = 0;  // of the controller, among all

  /// QEMU counts two drives for each port, behind the four of the IDE controller.
  [[nodiscard]] std::string serial() const { return default_ide_serial(4 + 2 * (number * Ahci::kPorts + port)); }
  [[nodiscard]] std::string path() const {
    return firmware_path(*controller, "pci8086,2922") + fmt::format("/drive@{:x}/disk@0", port);
  }
};

/// The part of BUS before its last dot, and the number behind it.
Result<std::pair<std::string_view, std::uint64_t>> split_bus(std::string_view bus) {
  const std::size_t dot = bus.rfind('.');
  if (dot == std::string_view::npos) return fail(ErrorKind::kInvalidArgument, "'{}' is no port", bus);
  DOPPEL_ASSIGN(const std::uint64_t number, parse_number(bus.substr(dot + 1)));
  return std::pair(bus.substr(0, dot), number);
}

Result<> check_port(const IdePlace& place, Ahci& controller, std::uint64_t port) {
  if (port >= Ahci::kPorts)
    return fail(ErrorKind::kOutOfRange, "bus={}: an AHCI adapter has the ports 0 to {}", place.bus, Ahci::kPorts - 1);
  if (place.unit > 0)
    return fail(ErrorKind::kInvalidArgument, "unit={}: there is one drive at an AHCI port; write unit=0", place.unit);
  if (controller.port(static_cast<unsigned>(port)).has_drive())
    return fail(ErrorKind::kAlreadyExists, "{} has a drive already; give one of the two another bus=", place.bus);
  return {};
}

/// The port that PLACE names; one without a controller if it names the IDE controller's buses.
Result<AhciPlace> find_port(Board& board, const IdePlace& place) {
  if (place.bus.empty() || place.bus.starts_with("ide.")) return AhciPlace{};
  const auto wanted = split_bus(place.bus);
  const auto& all = board.disk_controllers().ahci;
  for (unsigned number = 0; wanted && number < all.size(); ++number) {
    if (all[number].id != wanted->first) continue;
    DOPPEL_TRY(check_port(place, *all[number].controller, wanted->second));
    return AhciPlace{
        .controller = all[number].controller, .port = static_cast<unsigned>(wanted->second), .number = number};
  }
  return fail(ErrorKind::kNotFound,
              "there is no IDE bus '{}'; write bus=ide.0, bus=ide.1, or the id of an ahci device with the port, such "
              "as ahci0.0",
              place.bus);
}

Result<IdeBoard*> find_ide(Board& board) {
  if (board.ide() == nullptr) return fail(ErrorKind::kUnsupported, "this machine has no IDE bus; use -machine pc");
  return board.ide();
}

}  // namespace

Result<> add_ahci(Board& board, const PciPlace& place) {
  DOPPEL_TRY(board.check_has_pci());
  DOPPEL_ASSIGN(auto function, Ahci::create(board.pci_services("ahci")));
  function->set_multifunction(place.multifunction);
  Ahci& controller = *function;
  DOPPEL_TRY(board.plug(std::move(function), place.bus, place.addr));
  board.disk_controllers().ahci.push_back({.id = place.id, .controller = &controller});
  return {};
}

Result<> add_ide_disk(Board& board, AtaDriveConfig config, const IdePlace& place) {
  DOPPEL_ASSIGN(const AhciPlace at, find_port(board, place));
  if (at.controller == nullptr) {
    DOPPEL_ASSIGN(IdeBoard * ide, find_ide(board));
    return ide->add_disk(std::move(config), place);
  }
  DOPPEL_ASSIGN(block::Disk * disk, claim_disk(board.parts(), place));
  if (config.serial.empty()) config.serial = at.serial();
  DOPPEL_TRY(at.controller->port(at.port).add_disk(*disk, std::move(config)));
  return board.note_boot_index(place.bootindex, at.path());
}

Result<> add_ide_cdrom(Board& board, AtapiDriveConfig config, const IdePlace& place) {
  DOPPEL_ASSIGN(const AhciPlace at, find_port(board, place));
  if (at.controller == nullptr) {
    DOPPEL_ASSIGN(IdeBoard * ide, find_ide(board));
    return ide->add_cdrom(std::move(config), place);
  }
  DOPPEL_ASSIGN(block::Disk * medium, claim_medium(board.parts(), place));
  if (config.serial.empty()) config.serial = at.serial();
  DOPPEL_TRY(at.controller->port(at.port).add_cdrom(medium, std::move(config)));
  return board.note_boot_index(place.bootindex, at.path());
}

// ---- NVMe

Result<> add_nvme(Board& board, NvmeConfig config, const DiskPlace& place) {
  DOPPEL_TRY(board.check_has_pci());
  const NvmeNamespaceConfig space{.logical_block_size = config.logical_block_size,
                                  .physical_block_size = config.physical_block_size};
  if (place.drive.empty() && place.bootindex >= 0)
    return fail(ErrorKind::kInvalidArgument, "bootindex= is of a disk; this NVMe controller has no drive=");
  DOPPEL_ASSIGN(auto function, Nvme::create(board.pci_services("nvme"), board.parts().clock, std::move(config)));
  function->set_multifunction(place.multifunction);
  Nvme& controller = *function;
  DOPPEL_TRY(board.plug(std::move(function), place.bus, place.addr));
  board.disk_controllers().nvme.push_back({.id = place.id, .controller = &controller});
  if (place.drive.empty()) return {};
  return put_namespace(board, controller, space, place.drive, place.bootindex);
}

Result<> add_nvme_namespace(Board& board, NvmeNamespaceConfig config, const NvmeNamespacePlace& place) {
  if (place.drive.empty())
    return fail(ErrorKind::kInvalidArgument,
                "a namespace needs an image; write drive=ID and '-drive if=none,id=ID,file=FILE'");
  DOPPEL_ASSIGN(Nvme * controller, find_nvme(board, place.bus));
  return put_namespace(board, *controller, std::move(config), place.drive, place.bootindex);
}

}  // namespace doppel::hw
