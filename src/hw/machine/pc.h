// The PC of 1996: i440FX host bridge, PIIX3 ISA bridge, PIIX4 power management, and the ISA devices behind them.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "hw/machine/board.h"
#include "hw/machine/board_firmware.h"
#include "hw/machine/flash_board.h"
#include "hw/machine/floppy_board.h"
#include "hw/pci/i440fx.h"
#include "hw/pci/pci_host.h"
#include "hw/pci/piix3.h"
#include "hw/pci/piix4_pm.h"

namespace doppel::hw {

/// How RAM is split around the hole for PCI below 4 GiB.
struct PcMemorySplit {
  std::uint64_t below_4g = 0;
  std::uint64_t above_4g = 0;
};

/// As QEMU's pc: up to 3.5 GiB all of it is below; more than that, 3 GiB are, so that both parts are whole gigabytes.
/// LIMIT is `-machine max-ram-below-4g`, 0 for none.
PcMemorySplit split_pc_memory(std::uint64_t ram_size, std::uint64_t limit);

class PcMachine final : public Board {
 public:
  static Result<std::unique_ptr<PcMachine>> create(MachineParts parts, BoardConfig config);

  void reset() override;
  void wake() override;
  [[nodiscard]] std::optional<x86::CpuState> boot_entry() override;
  void power_button() override;
  [[nodiscard]] IdeBoard* ide() override { return ide_.get(); }
  [[nodiscard]] BoardFirmware* firmware() override { return firmware_.get(); }
  [[nodiscard]] FloppyBoard* floppy() override { return floppy_.get(); }

 protected:
  [[nodiscard]] std::vector<Device*> devices() override;

 private:
  PcMachine(MachineParts parts, BoardConfig config);
  Result<> build_pci();
  Result<> build_power_management();
  Result<> build_isa();
  Result<> build_ide();
  Result<> build_firmware();
  Result<> plug(std::unique_ptr<PciFunction> function, PciAddress where);
  void set_up_as_firmware_would();
  [[nodiscard]] AcpiConfig acpi_config() const;
  [[nodiscard]] std::uint16_t pm_base() const;
  [[nodiscard]] bool boots_directly() const { return config_.properties.direct_boot && !config_.kernel.empty(); }
  [[nodiscard]] bool has_acpi() const { return config_.properties.acpi != OnOffAuto::kOff; }

  PcMemorySplit split_;
  memory::RegionPtr pci_memory_;
  IrqFunction pirq_pins_;  // the root bus's wires, to the PIIX3 once it is there
  std::unique_ptr<PciBus> pci_bus_;
  std::unique_ptr<PciHost> pci_host_;
  I440fx* host_bridge_ = nullptr;  // these three are among the functions plugged in
  Piix3* isa_bridge_ = nullptr;
  Piix4Pm* power_management_ = nullptr;
  std::unique_ptr<BoardFirmware> firmware_;
  std::unique_ptr<IdeBoard> ide_;
  std::unique_ptr<FloppyBoard> floppy_;
  std::vector<std::unique_ptr<CfiFlash01>> flash_;
  bool is_first_boot_ = true;  // config_.boot_once holds
};

}  // namespace doppel::hw
