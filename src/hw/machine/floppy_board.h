// The PC's floppy controller and its drives: which plug they are on, what firmware is told of them.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "hw/core/property.h"
#include "hw/floppy/i82077.h"
#include "hw/machine/board_firmware.h"
#include "hw/machine/interrupt_board.h"
#include "hw/machine/isa_board.h"
#include "hw/machine/machine.h"
#include "hw/machine/port_map.h"

namespace doppel::hw {

struct FloppyConfig {
  std::string drive;  // the image; empty: none
  std::int32_t bootindex = -1;
};

inline const PropertyTable<FloppyConfig> kFloppyProperties = {
    {"drive", &FloppyConfig::drive, "id of the -drive with its image"},
    {"bootindex", &FloppyConfig::bootindex, "firmware tries the lowest first"},
};

struct FloppyPlace {
  std::string id;
  std::string bus = "floppy-bus.0";
  std::int32_t unit = -1;  // 0 is A:, 1 is B:; -1: the first that is free
};

inline const PropertyTable<FloppyPlace> kFloppyPlace = {
    {"id", &FloppyPlace::id, "its name"},
    {"bus", &FloppyPlace::bus, "the cable it is on"},
    {"unit", &FloppyPlace::unit, "0: A:, 1: B:"},
};

/// Checks what does not depend on the machine.
Result<> check_place(const FloppyPlace& place);

/// Built, and drives added, before the machine runs.
class FloppyBoard {
 public:
  static Result<std::unique_ptr<FloppyBoard>> create(const MachineParts& parts, InterruptBoard& interrupts,
                                                     IsaBoard& isa, PortMap& ports, BoardFirmware& firmware);

  Result<> add_drive(const FloppyConfig& config, const FloppyPlace& place);
  [[nodiscard]] I82077& controller() { return controller_; }

 private:
  FloppyBoard(const MachineParts& parts, InterruptBoard& interrupts, IsaBoard& isa, BoardFirmware& firmware);
  [[nodiscard]] Result<unsigned> choose(const FloppyPlace& place) const;

  const MachineParts& parts_;
  Mc146818& rtc_;
  BoardFirmware& firmware_;
  I82077 controller_;
};

}  // namespace doppel::hw
