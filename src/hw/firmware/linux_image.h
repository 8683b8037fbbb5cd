// Linux bzImages (Documentation/arch/x86/boot.rst of the kernel, protocols 2.00 to 2.15).
#pragma once

#include <cstdint>

#include "hw/firmware/boot_plan.h"
#include "hw/firmware/fw_cfg.h"

namespace doppel::hw {

/// The setup header's fields that matter here, with the defaults of the protocols that lack them.
struct LinuxHeader {
  std::uint16_t protocol = 0;             // 0x20f is 2.15
  std::uint32_t setup_size = 0;           // bytes of boot sector and setup code; the kernel proper follows
  bool loaded_high = false;               // LOADED_HIGH: at 1 MiB, not at 64 KiB
  std::uint32_t initrd_max = 0x37ffffff;  // last byte an initial RAM disk may occupy
  std::uint32_t cmdline_size = 255;       // bytes, without the terminating zero
  std::uint16_t xloadflags = 0;
  std::uint32_t init_size = 0;  // RAM the kernel needs from its final address on, before it reads the map
  std::uint64_t preferred_address = 0;
};

/// Whether KERNEL has a setup header at all.
bool is_linux_image(const Blob& kernel);

/// Checks the header against the file. NAME is for errors.
Result<LinuxHeader> parse_linux_header(const Blob& kernel, std::string_view name);

/// Fills fw_cfg's numbered items, from which firmware or our boot ROM starts the real-mode entry.
Result<> add_linux(FwCfg& fw_cfg, const KernelFiles& files, const BootMemory& memory);

/// The 64-bit entry where the kernel has one, else the 32-bit one.
Result<BootPlan> plan_linux(const KernelFiles& files, const BootMemory& memory);

}  // namespace doppel::hw
