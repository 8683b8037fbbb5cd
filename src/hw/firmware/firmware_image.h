// `-bios` and option ROMs: finding the files, checking them, and laying the system firmware out below 4 GiB.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "hw/firmware/blob.h"
#include "hw/firmware/fw_cfg.h"
#include "memory/ram_block.h"
#include "memory/region.h"

namespace doppel::hw {

/// Looks for NAME: as a path if it has a slash or exists as given, then in each of DIRS (`-L`), then where the
/// distribution's packages put firmware. The error lists where it was sought.
Result<std::string> find_firmware(std::string_view name, const std::vector<std::string>& dirs);

/// The directories of the distribution, in the order searched.
std::vector<std::string> default_firmware_dirs();

/// The firmware in its own memory block, and where it shows.
struct SystemFirmware {
  std::shared_ptr<memory::RamBlock> block;
  memory::GuestPhysAddr base;      // below 4 GiB; the last byte is that before 4 GiB
  memory::GuestPhysAddr low_base;  // where its end shows once more, below 1 MiB
  std::uint64_t low_offset = 0;    // what of the block shows there
  std::uint64_t low_size = 0;
};

/// Checks an image: a multiple of 64 KiB, at most 16 MiB. NAME is for errors.
Result<> check_firmware_size(std::uint64_t size, std::string_view name);
Result<SystemFirmware> make_system_firmware(const Blob& image, std::string_view name);
Result<SystemFirmware> load_system_firmware(const std::string& path);

/// Adds the ROM at both places to the container SYSTEM_MEMORY, the low one with LOW_PRIORITY (under the PAM regions).
void map_firmware(memory::Topology& topology, memory::Region& system_memory, const SystemFirmware& firmware,
                  int low_priority = 0);

/// `-option-rom PATH`: offered to the firmware as "genroms/NAME", with BOOT_INDEX's line left to the caller.
Result<> add_option_rom(FwCfg& fw_cfg, const std::string& path);

}  // namespace doppel::hw
