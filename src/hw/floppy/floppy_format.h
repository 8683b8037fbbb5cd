// Floppy formats: what an image of a certain size is, and what drive it belongs into.
#pragma once

#include <cstdint>

#include "hw/timer/cmos_layout.h"

namespace doppel::hw {

struct FloppyFormat {
  std::uint8_t sectors = 0;  // on a track; 0: no medium
  std::uint8_t tracks = 0;
  std::uint8_t heads = 0;
  std::uint8_t rate = 0;  // as CCR has it: 0 is 500 kbit/s, 1 300, 2 250, 3 1000
  FloppyDrive drive = FloppyDrive::kNone;

  [[nodiscard]] std::uint64_t total() const { return std::uint64_t{sectors} * tracks * heads; }
  bool operator==(const FloppyFormat&) const = default;
};

/// The format of an image of SECTORS sectors of 512 bytes. An image of no usual size is a part of the smallest usual
/// floppy that it fits on, or the beginning is one of 2.88 MB; what is not there cannot be found on it.
FloppyFormat floppy_format(std::uint64_t sectors);

}  // namespace doppel::hw
