#include "hw/machine/board.h"

#include <algorithm>
#include <ranges>

#include "hw/machine/catalogue.h"

namespace doppel::hw {

Board::Board(MachineParts parts, BoardConfig config)
    : parts_(std::move(parts)), config_(std::move(config)), ports_(parts_.topology, parts_.ports) {}

Board::~Board() {
  for (const auto& function : functions_ | std::views::reverse)
    if (function->bus() != nullptr) function->bus()->detach(*function);
}

PciServices Board::pci_services(std::string_view name) {
  return {.topology = parts_.topology,
          .dma = &parts_.memory,
          .msi = interrupts_.get(),
          .log = parts_.log.named(std::string(name))};
}

Result<> Board::plug(std::unique_ptr<PciFunction> function, std::string_view bus, std::string_view address) {
  DOPPEL_TRY(check_has_pci());
  const auto at = pci_buses_.find(bus.empty() ? std::string_view("pci.0") : bus);
  if (at == pci_buses_.end()) {
    NearestName nearest(bus);
    for (const auto& [name, unused] : pci_buses_) nearest.offer(name);
    return fail(ErrorKind::kNotFound, "there is no PCI bus '{}'{}", bus, nearest.suggestion());
  }
  std::optional<PciAddress> where;
  if (!address.empty()) {
    DOPPEL_ASSIGN(where, parse_pci_address(address));
  }
  DOPPEL_TRY(at->second->attach(*function, where));
  functions_.push_back(std::move(function));
  return {};
}

Result<> Board::note_boot_index(std::int32_t index, std::string path) {
  if (index < 0 || firmware() == nullptr) return {};
  return firmware()->add_boot_device(static_cast<std::uint32_t>(index), std::move(path));
}

ui::KeySink* Board::keyboard() {
  I8042* const controller = isa_->keyboard_controller();
  if (video_.keyboard == nullptr && controller != nullptr)
    video_.keyboard = std::make_unique<BoardKeyboard>(*controller);
  return video_.keyboard.get();
}

Result<> Board::check_has_pci() const {
  if (pci_buses_.empty()) return fail(ErrorKind::kUnsupported, "this machine has no PCI bus; use -machine pc");
  return {};
}

Result<> Board::check_new_pci_bus(std::string_view name) const {
  if (pci_buses_.contains(name)) return fail(ErrorKind::kAlreadyExists, "there is a PCI bus '{}' already", name);
  return {};
}

Result<> Board::add_device(std::string_view driver, const DeviceProperties& properties) {
  DOPPEL_ASSIGN(const DeviceType* type, find_device_type(driver));
  return type->create(*this, properties);
}

Result<> Board::add_serial_ports() {
  for (std::uint32_t index = 0; index < config_.serial.size(); ++index) {
    if (!config_.serial[index].present) continue;
    IsaSerialConfig serial;
    serial.index = index;
    DOPPEL_TRY(isa_->add_serial(serial, config_.serial[index].chardev));
  }
  return {};
}

std::vector<Device*> Board::devices() {
  std::vector<Device*> all = interrupts_->devices();
  std::ranges::copy(isa_->devices(), std::back_inserter(all));
  std::ranges::transform(functions_, std::back_inserter(all), [](const auto& function) { return function.get(); });
  return all;
}

void Board::reset() {
  // Interrupt controllers last: they must not latch the edges that their sources make as they are reset.
  const std::vector<Device*> all = devices();
  for (Device* device : all | std::views::reverse) device->reset();
}

void Board::save(state::Writer& writer) {
  for (Device* device : devices()) device->save(writer);
}

Result<> Board::load(state::Reader& reader) {
  for (Device* device : devices()) {
    auto loaded = device->load(reader);
    if (loaded) continue;
    reset();
    return std::unexpected(std::move(loaded).error().wrap(fmt::format("cannot restore {}", device->name())));
  }
  if (reader.at_end()) return {};
  reset();
  return fail(ErrorKind::kCorrupt, "the saved state has devices that this machine has not");
}

}  // namespace doppel::hw
