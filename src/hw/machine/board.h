// What all boards share: the parts they are made of, the devices users add, and resetting and saving them in one order.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "hw/machine/board_config.h"
#include "hw/machine/board_firmware.h"
#include "hw/machine/disk_controllers.h"
#include "hw/machine/floppy_board.h"
#include "hw/machine/ide_board.h"
#include "hw/machine/interrupt_board.h"
#include "hw/machine/isa_board.h"
#include "hw/machine/machine.h"
#include "hw/machine/port_map.h"
#include "hw/machine/scsi_board.h"
#include "hw/machine/video_board.h"
#include "hw/pci/pci_bus.h"
#include "hw/pci/pci_function.h"

namespace doppel::hw {

/// A concrete board builds interrupts_ and isa_, then whatever else it has.
class Board : public Machine {
 public:
  ~Board() override;

  [[nodiscard]] const MachineParts& parts() const { return parts_; }
  [[nodiscard]] InterruptBoard& interrupts() { return *interrupts_; }
  [[nodiscard]] PortMap& ports() { return ports_; }
  [[nodiscard]] IsaBoard& isa() { return *isa_; }
  /// The place for IDE drives, or nullptr.
  [[nodiscard]] virtual IdeBoard* ide() { return nullptr; }
  /// What firmware is told, or nullptr if there is none that asks.
  [[nodiscard]] virtual BoardFirmware* firmware() { return nullptr; }
  /// The floppy controller with its drives, or nullptr.
  [[nodiscard]] virtual FloppyBoard* floppy() { return nullptr; }
  [[nodiscard]] ScsiBoard& scsi() { return scsi_; }
  [[nodiscard]] DiskControllers& disk_controllers() { return disk_controllers_; }
  [[nodiscard]] VideoBoard& video() { return video_; }

  [[nodiscard]] const BoardConfig& config() const { return config_; }
  /// What a PCI function needs of this board.
  [[nodiscard]] PciServices pci_services(std::string_view name);
  /// Plugs FUNCTION in at bus BUS ("" is the root bus) and ADDRESS ("" is the next free slot) and takes it over.
  Result<> plug(std::unique_ptr<PciFunction> function, std::string_view bus, std::string_view address);
  /// `bootindex=INDEX` of the device at PATH, for firmware that asks; nothing if INDEX is negative.
  Result<> note_boot_index(std::int32_t index, std::string path);
  /// An error if there is no PCI bus at all.
  [[nodiscard]] Result<> check_has_pci() const;
  /// An error if there is a PCI bus NAME.
  [[nodiscard]] Result<> check_new_pci_bus(std::string_view name) const;
  /// Lets functions be plugged into BUS by its name.
  void add_pci_bus(PciBus& bus) { pci_buses_[bus.name()] = &bus; }
  /// pvpanic's port, for the ACPI tables.
  void set_pvpanic_port(std::uint16_t port) { pvpanic_port_ = port; }

  void reset() override;
  void wake() override { reset(); }
  Result<> add_device(std::string_view driver, const DeviceProperties& properties) override;
  [[nodiscard]] ui::ScreenSource* screen() override { return video_.vga; }
  [[nodiscard]] ui::KeySink* keyboard() override;
  void end_of_interrupt(std::uint8_t vector) override { interrupts_->end_of_interrupt(vector); }
  [[nodiscard]] LocalApic* local_apic(std::size_t cpu) override { return interrupts_->local_apic(cpu); }
  [[nodiscard]] InterruptAcknowledge* pic() override { return interrupts_->pic(); }
  void save(state::Writer& writer) override;
  Result<> load(state::Reader& reader) override;

 protected:
  Board(MachineParts parts, BoardConfig config);
  /// The ports that config_.serial asks for.
  Result<> add_serial_ports();
  /// Every device, in the order of saving.
  [[nodiscard]] virtual std::vector<Device*> devices();

  const MachineParts parts_;
  const BoardConfig config_;
  PortMap ports_;
  std::unique_ptr<InterruptBoard> interrupts_;
  std::unique_ptr<IsaBoard> isa_;
  std::uint16_t pvpanic_port_ = 0;
  std::map<std::string, PciBus*, std::less<>> pci_buses_;
  ScsiBoard scsi_;
  std::vector<std::unique_ptr<PciFunction>> functions_;  // in the order of plugging
  DiskControllers disk_controllers_;                     // those among functions_
  VideoBoard video_;                                     // the one among functions_, and the keyboard
};

}  // namespace doppel::hw
