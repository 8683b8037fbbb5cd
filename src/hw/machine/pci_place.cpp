#include "hw/machine/pci_place.h"

#include "hw/pci/pci_bridge.h"
#include "hw/pci/pci_bus.h"

namespace doppel::hw {

std::string firmware_path(const PciFunction& function, std::string_view name) {
  const PciAddress address = function.address();
  const PciBus* bus = function.bus();
  std::string path = bus != nullptr && bus->bridge() != nullptr ? firmware_path(*bus->bridge(), "pci-bridge")
                                                                : std::string("/pci@i0cf8");
  path += fmt::format("/{}@{:x}", name, address.device);
  if (address.function != 0) path += fmt::format(",{:x}", address.function);
  return path;
}

}  // namespace doppel::hw
