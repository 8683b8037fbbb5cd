// `-machine` properties of the boards.
#pragma once

#include <cstdint>
#include <string>

#include "base/bits.h"
#include "hw/core/property.h"

namespace doppel::hw {

struct PcConfig {
  OnOffAuto acpi = OnOffAuto::kAuto;
  bool hpet = true;
  bool pit = true;
  OnOffAuto rtc = OnOffAuto::kAuto;
  OnOffAuto smm = OnOffAuto::kAuto;
  OnOffAuto vmport = OnOffAuto::kAuto;
  OnOffAuto pic = OnOffAuto::kAuto;
  bool i8042 = true;
  bool usb = false;
  bool graphics = true;
  bool isa_serial = true;
  bool direct_boot = false;
  bool auto_kernel_cmdline = true;
  bool dump_guest_core = true;
  bool mem_merge = true;
  bool fd_bootchk = true;
  std::string kernel_irqchip = "auto";
  std::string memory_backend;
  SizeValue max_ram_below_4g{0};
  std::string pflash0;
  std::string pflash1;
  SizeValue max_fw_size{8 * kMiB};
};

inline const PropertyTable<PcConfig> kPcProperties = {
    {"acpi", &PcConfig::acpi, "ACPI tables and power management"},
    {"hpet", &PcConfig::hpet, "high precision event timer"},
    {"pit", &PcConfig::pit, "8254 timer"},
    {"rtc", &PcConfig::rtc, "MC146818 clock (microvm)"},
    {"pic", &PcConfig::pic, "8259 interrupt controllers (microvm)"},
    {"i8042", &PcConfig::i8042, "PS/2 keyboard and mouse"},
    {"isa-serial", &PcConfig::isa_serial, "serial ports (microvm)"},
    {"smm", &PcConfig::smm, "system management mode; there is none"},
    {"vmport", &PcConfig::vmport, "VMware's I/O port; there is none"},
    {"usb", &PcConfig::usb, "USB controller; there is none"},
    {"graphics", &PcConfig::graphics, "tell the firmware of a display"},
    {"x-direct-boot", &PcConfig::direct_boot, "start -kernel without firmware (always on microvm)"},
    {"auto-kernel-cmdline", &PcConfig::auto_kernel_cmdline, "tell the kernel of devices by its command line (microvm)"},
    {"dump-guest-core", &PcConfig::dump_guest_core, "include guest memory in a core dump"},
    {"mem-merge", &PcConfig::mem_merge, "let the host merge equal pages"},
    {"fd-bootchk", &PcConfig::fd_bootchk, "check a floppy's signature before booting it"},
    {"kernel-irqchip", &PcConfig::kernel_irqchip,
     "interrupt controllers in the accelerator: on, split, off, or the board's auto"},
    {"kernel_irqchip", &PcConfig::kernel_irqchip, "the same as kernel-irqchip"},
    {"memory-backend", &PcConfig::memory_backend, "id of the object that holds guest memory"},
    {"pflash0", &PcConfig::pflash0, "id of the drive in the flash chip right below 4 GiB, with the firmware (pc)"},
    {"pflash1", &PcConfig::pflash1, "id of the drive in the flash chip below that (pc)"},
    {"max-fw-size", &PcConfig::max_fw_size, "most room for flash chips below 4 GiB (pc)"},
    {"max-ram-below-4g", &PcConfig::max_ram_below_4g, "most memory below 4 GiB; 0: as the board has it"},
};

}  // namespace doppel::hw
