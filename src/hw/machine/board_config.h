// What a board is told besides its parts: properties, firmware and kernel, identity, serial ports.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "chardev/chardev.h"
#include "hw/firmware/blob.h"
#include "hw/firmware/smbios.h"
#include "hw/machine/pc_config.h"

namespace doppel::hw {

struct NamedBlob {
  std::string name;
  Blob data;
};

/// One serial port, in the order of COM1 to COM4.
struct SerialSlot {
  bool present = false;
  chardev::Chardev* chardev = nullptr;  // nobody at the other end, if null
};

struct BoardConfig {
  PcConfig properties;

  std::string kernel;  // host paths; empty: none
  std::string initrd;
  std::string command_line;
  std::string bios;
  std::vector<std::string> firmware_directories;

  std::string boot_order = "cad";
  std::string boot_once;  // instead of boot_order until the first reset; empty: none
  bool offers_s3 = true;  // to the guest, of the sleep states
  bool offers_s4 = true;
  bool has_display = false;  // firmware need not show itself on the serial port
  bool boot_menu = false;
  bool boot_strict = false;
  std::uint16_t boot_menu_wait_ms = 0;
  std::optional<std::uint32_t> reboot_timeout_ms;
  std::vector<NamedBlob> fw_cfg_files;

  std::array<std::byte, 16> uuid{};
  SmbiosConfig smbios;             // but for the memory, which the board fills in
  std::vector<Bytes> acpi_tables;  // of the user

  std::int64_t rtc_start_ns = 0;
  bool rtc_slew = false;
  std::vector<SerialSlot> serial;
};

}  // namespace doppel::hw
