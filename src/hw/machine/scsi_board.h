// The SCSI buses of a board's adapters, and the drives on them.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "hw/core/property.h"
#include "hw/scsi/scsi_bus.h"

namespace doppel::hw {

class Board;

/// Where a drive goes, what it is called, and what is in it: properties that every SCSI drive has.
struct ScsiPlace {
  std::string id;
  std::string bus;            // empty: the first there is
  std::uint32_t channel = 0;  // adapters have one
  std::int32_t scsi_id = -1;  // -1: the first without a drive
  std::uint32_t lun = 0;
  std::string drive;
  std::int32_t bootindex = -1;
};

inline const PropertyTable<ScsiPlace> kScsiPlace = {
    {"id", &ScsiPlace::id, "its name"},
    {"bus", &ScsiPlace::bus, "the SCSI bus it is on: the adapter's id and .0"},
    {"channel", &ScsiPlace::channel, "always 0"},
    {"scsi-id", &ScsiPlace::scsi_id, "the target, 0 to 255; -1: the first that is free"},
    {"lun", &ScsiPlace::lun, "the logical unit of the target"},
    {"drive", &ScsiPlace::drive, "id of the -drive with its image"},
    {"bootindex", &ScsiPlace::bootindex, "firmware tries the lowest first"},
};

/// Checks what does not depend on the machine.
Result<> check_place(const ScsiPlace& place);

struct ScsiBusEntry {
  std::string name;
  std::string path;  // the adapter's, for firmware
  /// Finds the disks of the adapter's thread.
  std::function<Result<block::Disk*>(std::string_view id)> find_disk{};
  ScsiBus bus;
};

/// Buses outlive their adapters.
class ScsiBoard {
 public:
  /// For the adapter ID, which may be empty: the bus is called "ID.0", or "scsi.0" and so on.
  Result<ScsiBusEntry*> add_bus(std::string_view id);
  /// NAME may be empty; an unknown one is an error that names the nearest.
  [[nodiscard]] Result<ScsiBusEntry*> find(std::string_view name) const;

 private:
  std::vector<std::unique_ptr<ScsiBusEntry>> buses_;
};

/// A drive on the bus that PLACE names.
Result<> add_scsi_unit(Board& board, ScsiKind kind, ScsiDiskConfig config, const ScsiPlace& place);

}  // namespace doppel::hw
