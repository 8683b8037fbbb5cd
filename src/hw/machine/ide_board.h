// The drives of a board's IDE controller: which place they take, and what firmware is told of them.
#pragma once

#include <cstdint>
#include <string>

#include "hw/core/property.h"
#include "hw/ide/piix3_ide.h"
#include "hw/machine/board_firmware.h"
#include "hw/machine/machine.h"
#include "hw/timer/mc146818.h"

namespace doppel::hw {

/// Where a drive goes, what it is called, and what is in it: properties that every IDE drive has.
struct IdePlace {
  std::string id;
  std::string bus;         // "ide.0", "ide.1", "ahci0.5"; empty: the first place that is free on ide.0 and ide.1
  std::int32_t unit = -1;  // 0 the master, 1 the slave; -1: the first that is free
  std::string drive;       // the image; empty: none
  std::int32_t bootindex = -1;
};

inline const PropertyTable<IdePlace> kIdePlace = {
    {"id", &IdePlace::id, "its name"},
    {"bus", &IdePlace::bus, "the cable it is on: ide.0 or ide.1, or a port such as ID.0 of an ahci device"},
    {"unit", &IdePlace::unit, "0: master, 1: slave; at a port 0"},
    {"drive", &IdePlace::drive, "id of the -drive with its image"},
    {"bootindex", &IdePlace::bootindex, "firmware tries the lowest first"},
};

/// Checks what does not depend on the machine.
Result<> check_place(const IdePlace& place);

/// The image of a disk, which must be there, or of what is in a CD-ROM drive, which need not (nullptr).
Result<block::Disk*> claim_disk(const MachineParts& parts, const IdePlace& place);
Result<block::Disk*> claim_medium(const MachineParts& parts, const IdePlace& place);
/// The serial number that QEMU gives the drive number INDEX, from 0.
std::string default_ide_serial(unsigned index);

/// Built, and drives added, before the machine runs.
class IdeBoard {
 public:
  IdeBoard(const MachineParts& parts, Piix3Ide& controller, Mc146818& rtc, BoardFirmware& firmware)
      : parts_(parts), controller_(controller), rtc_(rtc), firmware_(firmware) {}

  Result<> add_disk(AtaDriveConfig config, const IdePlace& place);
  Result<> add_cdrom(AtapiDriveConfig config, const IdePlace& place);

 private:
  struct Slot {
    unsigned channel;
    unsigned unit;
  };
  [[nodiscard]] Result<Slot> choose(const IdePlace& place) const;
  Result<> note_boot_index(const IdePlace& place, Slot slot);
  void note_translation(Slot slot, const IdeGeometry& geometry);

  const MachineParts& parts_;
  Piix3Ide& controller_;
  Mc146818& rtc_;
  BoardFirmware& firmware_;
  std::uint8_t translations_ = 0;  // two bits for each of the four drives, as CMOS has them
};

}  // namespace doppel::hw
