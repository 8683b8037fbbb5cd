// A board's firmware: fw_cfg and all that is in it, and either the firmware's image or a kernel started without one.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "hw/firmware/acpi_config.h"
#include "hw/firmware/boot_plan.h"
#include "hw/firmware/fw_cfg.h"
#include "hw/machine/board_config.h"
#include "hw/machine/isa_board.h"
#include "hw/machine/machine.h"
#include "hw/machine/port_map.h"

namespace doppel::hw {

/// What differs from board to board.
struct FirmwareSite {
  PortMap& ports;
  memory::Region& rom_space;       // where the image shows: below RAM and what shadows it
  std::uint64_t ram_below_4g = 0;  // bytes
  std::uint64_t ram_above_4g = 0;
  std::string_view default_image;      // sought where firmware is, unless -bios names one
  bool direct_boot = false;            // start -kernel without firmware
  bool in_flash = false;               // the board has a flash chip with the firmware
  std::function<AcpiConfig()> acpi{};  // empty: no ACPI tables
};

/// Built before the machine runs; then reached by the guest through fw_cfg alone.
class BoardFirmware {
 public:
  static Result<std::unique_ptr<BoardFirmware>> create(const MachineParts& parts, const BoardConfig& config,
                                                       FirmwareSite site);

  [[nodiscard]] FwCfg& fw_cfg() { return fw_cfg_; }
  /// `bootindex=INDEX` of the device at PATH: in the order of their indices, behind a kernel of -kernel. An index is
  /// one device's.
  Result<> add_boot_device(std::uint32_t index, std::string path);
  [[nodiscard]] bool boots_directly() const { return kernel_.has_value(); }
  /// Without firmware: lays tables and kernel out in RAM again. After the devices' reset.
  Result<> reset();
  /// The processor's state at the kernel's entry, if there is no firmware.
  [[nodiscard]] std::optional<x86::CpuState> boot_entry() const { return entry_; }

 private:
  BoardFirmware(const MachineParts& parts, const BoardConfig& config, FirmwareSite site);
  Result<> fill_fw_cfg();
  Result<> load_image();
  Result<> read_kernel();
  [[nodiscard]] SmbiosConfig smbios() const;

  const MachineParts& parts_;
  const BoardConfig& config_;
  const FirmwareSite site_;
  memory::DmaSpace memory_;
  FwCfg fw_cfg_;
  Bytes fixed_boot_order_;  // of "bootorder" what is neither a kernel's nor in boot_devices_
  std::map<std::uint32_t, std::string> boot_devices_;
  std::optional<KernelFiles> kernel_;  // to be started without firmware
  std::optional<x86::CpuState> entry_;
};

/// What every board's tables say of its processors, NUMA nodes, serial ports and the user's own tables.
AcpiConfig common_acpi_config(const MachineParts& parts, const BoardConfig& config,
                              const std::vector<SerialPort>& serial_ports);

}  // namespace doppel::hw
