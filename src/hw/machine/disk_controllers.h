// Disk controllers on PCI, of `-device`, and the drives that go to them by bus=.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "hw/ahci/ahci.h"
#include "hw/machine/ide_board.h"
#include "hw/machine/pci_place.h"
#include "hw/nvme/nvme.h"

namespace doppel::hw {

class Board;

/// The controllers of one board, by id. They are the board's.
struct DiskControllers {
  struct NvmeEntry {
    std::string id;
    Nvme* controller = nullptr;
  };
  struct AhciEntry {
    std::string id;
    Ahci* controller = nullptr;
  };
  std::vector<NvmeEntry> nvme;
  std::vector<AhciEntry> ahci;
};

/// Where a namespace goes, and what is in it.
struct NvmeNamespacePlace {
  std::string id;
  std::string bus;  // the controller's id; empty: the last one
  std::string drive;
  std::int32_t bootindex = -1;
};

inline const PropertyTable<NvmeNamespacePlace> kNvmeNamespacePlace = {
    {"id", &NvmeNamespacePlace::id, "its name"},
    {"bus", &NvmeNamespacePlace::bus, "id of the nvme device it belongs to"},
    {"drive", &NvmeNamespacePlace::drive, "id of the -drive with its image"},
    {"bootindex", &NvmeNamespacePlace::bootindex, "firmware tries the lowest first"},
};
inline Result<> check_place(const NvmeNamespacePlace& /*place*/) {
  return {};
}

/// With PLACE.drive, it has a namespace at once.
Result<> add_nvme(Board& board, NvmeConfig config, const DiskPlace& place);
Result<> add_nvme_namespace(Board& board, NvmeNamespaceConfig config, const NvmeNamespacePlace& place);

Result<> add_ahci(Board& board, const PciPlace& place);
/// On the board's IDE controller or, as PLACE.bus says, at a port of an AHCI adapter.
Result<> add_ide_disk(Board& board, AtaDriveConfig config, const IdePlace& place);
Result<> add_ide_cdrom(Board& board, AtapiDriveConfig config, const IdePlace& place);

}  // namespace doppel::hw
