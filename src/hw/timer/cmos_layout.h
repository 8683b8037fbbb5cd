// What a PC's firmware expects to find in CMOS memory.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "base/error.h"

namespace doppel::hw {

class Mc146818;

/// CMOS's own numbers for floppy drives.
enum class FloppyDrive : std::uint8_t { kNone = 0, k1200K = 2, k1440K = 4, k2880K = 5 };

struct CmosSetup {
  std::uint64_t ram_below_4g = 0;  // bytes, from address 0
  std::uint64_t ram_above_4g = 0;  // bytes
  unsigned cpus = 1;
  std::array<FloppyDrive, 2> floppies{};
  std::string_view boot_order = "cad";  // `-boot order=`: letters of a (floppy), c (disk), d (CD-ROM), n (network)
  bool check_floppy_signature = true;   // `-boot menu...`: false boots floppies without 55AA
};

/// The order alone, as fill_cmos() writes it.
Result<> set_boot_order(Mc146818& chip, std::string_view order, bool check_floppy_signature);

/// The drives alone, as fill_cmos() writes them.
void set_floppies(Mc146818& chip, const std::array<FloppyDrive, 2>& floppies);

/// Fills CHIP's memory; an error names a letter of BOOT_ORDER that is none.
Result<> fill_cmos(Mc146818& chip, const CmosSetup& setup);

}  // namespace doppel::hw
