// Where a PCI device of `-device` goes and what it is called: properties that every one has.
#pragma once

#include <cstdint>
#include <string>

#include "hw/core/property.h"
#include "hw/pci/pci_address.h"
#include "hw/pci/pci_function.h"

namespace doppel::hw {

struct PciPlace {
  std::string id;
  std::string bus;   // empty: the root bus
  std::string addr;  // empty: the next free slot
  bool multifunction = false;
};

inline const PropertyTable<PciPlace> kPciPlace = {
    {"id", &PciPlace::id, "its name"},
    {"bus", &PciPlace::bus, "the PCI bus it is on"},
    {"addr", &PciPlace::addr, "slot and optional function, such as 06.0 or 06"},
    {"multifunction", &PciPlace::multifunction, "are there other functions in its slot?"},
};

/// And with an image in it.
struct DiskPlace : PciPlace {
  std::string drive;
  std::int32_t bootindex = -1;
};

inline const PropertyTable<DiskPlace> kDiskPlace = {
    {"id", &DiskPlace::id, "its name"},
    {"bus", &DiskPlace::bus, "the PCI bus it is on"},
    {"addr", &DiskPlace::addr, "slot and optional function, such as 06.0 or 06"},
    {"multifunction", &DiskPlace::multifunction, "are there other functions in its slot?"},
    {"drive", &DiskPlace::drive, "id of the -drive with its image"},
    {"bootindex", &DiskPlace::bootindex, "firmware tries the lowest first"},
};

/// Checks what does not depend on the machine.
inline Result<> check_place(const PciPlace& place) {
  if (!place.addr.empty()) DOPPEL_TRY(parse_pci_address(place.addr));
  return {};
}

/// FUNCTION, which is attached, in Open Firmware's spelling, as SeaBIOS and OVMF know it: "/pci@i0cf8/NAME@4" or, with
/// the bridges in front of it, "/pci@i0cf8/pci-bridge@3/NAME@4,1".
std::string firmware_path(const PciFunction& function, std::string_view name);

}  // namespace doppel::hw
