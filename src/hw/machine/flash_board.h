// A board's flash chips: their places right below 4 GiB.
#pragma once

#include <memory>
#include <vector>

#include "hw/flash/cfi_flash01.h"
#include "hw/machine/board_config.h"
#include "hw/machine/machine.h"

namespace doppel::hw {

/// The chips that CONFIG's pflash0 and pflash1 ask for, in ROM_SPACE: the first one ends at 4 GiB, and its end shows
/// below 1 MiB as well, for real mode; the second one ends where the first begins. Empty without pflash0.
Result<std::vector<std::unique_ptr<CfiFlash01>>> build_flash(const MachineParts& parts, const BoardConfig& config,
                                                             memory::Region& rom_space);

}  // namespace doppel::hw
