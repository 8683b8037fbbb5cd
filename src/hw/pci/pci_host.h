// Configuration mechanism 1: CONFADD at CF8h, CONFDATA at CFCh (PCI Local Bus 3.0, section 3.2.2.3.2; 82441FX, 3.1).
#pragma once

#include <cstdint>
#include <string_view>

#include "base/log.h"
#include "hw/core/device.h"
#include "hw/pci/io_function.h"
#include "hw/pci/pci_bus.h"
#include "memory/region.h"

namespace doppel::hw {

/// Only a dword at CF8h is CONFADD; a byte at CF9h belongs to the PIIX3's reset control register, to which it is
/// passed on, because two overlapping regions could not tell the two apart. The root bus is called with no lock held.
class PciHost final : public Device {
 public:
  static constexpr std::uint64_t kAddressPort = 0xcf8;
  static constexpr std::uint64_t kDataPort = 0xcfc;

  /// RESET_CONTROL, if any, gets byte accesses to CF9h, at offset 0.
  PciHost(memory::Topology& topology, PciBus& root, memory::IoHandler* reset_control, Logger log = {});

  /// Four ports each, for kAddressPort and kDataPort.
  [[nodiscard]] const memory::RegionPtr& address_region() const { return address_region_; }
  [[nodiscard]] const memory::RegionPtr& data_region() const { return data_region_; }

  [[nodiscard]] std::string_view name() const override { return "i440FX-pcihost"; }
  void reset() override;
  void save(state::Writer& writer) override;
  Result<> load(state::Reader& reader) override;

 private:
  [[nodiscard]] std::uint64_t read_address(std::uint64_t offset, unsigned size);
  void write_address(std::uint64_t offset, unsigned size, std::uint64_t value);
  [[nodiscard]] std::uint64_t read_data(std::uint64_t offset, unsigned size);
  void write_data(std::uint64_t offset, unsigned size, std::uint64_t value);
  [[nodiscard]] std::uint32_t address();

  PciBus& root_;
  memory::IoHandler* const reset_control_;
  Logger log_;
  std::uint32_t address_ = 0;
  IoFunction address_ports_;
  IoFunction data_ports_;
  memory::RegionPtr address_region_;
  memory::RegionPtr data_region_;
};

}  // namespace doppel::hw
