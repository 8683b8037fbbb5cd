// A slim board: RAM, interrupt controllers, a serial port and fw_cfg, no PCI. Starts -kernel without firmware.
#pragma once

#include <memory>
#include <optional>

#include "hw/machine/board.h"
#include "hw/machine/board_firmware.h"

namespace doppel::hw {

class MicrovmMachine final : public Board {
 public:
  static Result<std::unique_ptr<MicrovmMachine>> create(MachineParts parts, BoardConfig config);

  void reset() override;
  [[nodiscard]] std::optional<x86::CpuState> boot_entry() override { return firmware_->boot_entry(); }
  void power_button() override {}

 protected:
  [[nodiscard]] std::vector<Device*> devices() override;

 private:
  MicrovmMachine(MachineParts parts, BoardConfig config);
  void build_memory();
  Result<> build_isa();
  Result<> build_firmware();
  [[nodiscard]] AcpiConfig acpi_config() const;

  std::uint64_t below_4g_;
  std::uint64_t above_4g_;
  std::unique_ptr<BoardFirmware> firmware_;
};

}  // namespace doppel::hw
