// The board of the PCI fuzz target: a host bridge, the PIIX3 and PIIX4, two nested bridges, two test functions.
#pragma once

#include <memory>

#include "base/bits.h"
#include "event/fake_clock.h"
#include "fuzz/fuzz_input.h"
#include "hw/pci/i440fx.h"
#include "hw/pci/pci_bridge.h"
#include "hw/pci/pci_host.h"
#include "hw/pci/pci_test_rig.h"
#include "hw/pci/piix3.h"
#include "hw/pci/piix4_pm.h"

namespace doppel::fuzz {

struct PciBoard {
  PciBoard() {
    i440fx = std::move(*hw::I440fx::create(rig.services(), {system, ram, ram, 2 * kMiB, kMiB, rig.memory}));
    define_functions();
    rig.io->add(host.address_region(), hw::PciHost::kAddressPort);
    rig.io->add(host.data_region(), hw::PciHost::kDataPort);
    attach(rig.bus, *i440fx, {0, 0});
    attach(rig.bus, isa, {1, 0});
    attach(rig.bus, power, {1, 3});
    attach(rig.bus, outer, {2, 0});
    attach(rig.bus, plain, {3, 0});
    attach(outer.secondary(), inner, {0, 0});
    attach(inner.secondary(), hidden, {1, 0});
    rig.bus.reset();
    enumerate();
  }

  /// One access through CF8h and CFCh, half of them to where there is something.
  void configuration_cycle(FuzzInput& input) {
    static constexpr std::uint32_t kPlaces[] = {0x0000, 0x0800, 0x0b00, 0x1000, 0x1800, 0x1'0000, 0x2'0800};
    const auto kind = input.take<std::uint8_t>();
    const std::uint32_t address =
        (kind & 1U) == 0 ? kPlaces[input.below(std::size(kPlaces))] | input.below(256) : input.take<std::uint32_t>();
    const unsigned size = 1U << (kind >> 1U) % 3;
    const unsigned lane = (address & 3U) / size * size;
    rig.out(hw::PciHost::kAddressPort, 4, 0x8000'0000U | address);
    if ((kind & 0x80U) == 0) return static_cast<void>(rig.in(hw::PciHost::kDataPort + lane, size));
    rig.out(hw::PciHost::kDataPort + lane, size, input.take<std::uint32_t>());
  }

  hw::test::PciRig rig;
  event::FakeClock clock;
  hw::test::ConstantPort port{0x11};
  hw::IrqFunction sink{[](unsigned, bool) {}};
  memory::RegionPtr system = rig.topology.container("system", 0);
  std::shared_ptr<memory::RamBlock> block = memory::RamBlock::create({.size = 3 * kMiB}).value();
  memory::RegionPtr ram = rig.topology.ram("ram", block, 0, 3 * kMiB);
  memory::AddressSpace memory{rig.topology, system, "memory"};
  std::unique_ptr<hw::I440fx> i440fx;
  hw::Piix3 isa{rig.services(), sink, [] {}};
  hw::Piix4Pm power{rig.services(), clock, {&sink, 9}, {.smm = true}, {[](hw::SleepState) {}, [] {}}};
  hw::test::TestFunction plain{rig, "plain"};
  hw::test::TestFunction hidden{rig, "hidden"};
  hw::PciBridge outer{rig.services(), {}};
  hw::PciBridge inner{rig.services(), {.bus_name = "pci.2"}};
  hw::PciHost host{rig.topology, rig.bus, &isa.reset_control()};
  std::vector<hw::Device*> devices;

 private:
  void define_functions() {
    using hw::BarKind;
    const auto region = [this](std::uint64_t size) { return rig.topology.io("bar", size, port); };
    bool made = plain.add_bar(0, BarKind::kIo, region(0x20)) && plain.add_bar(1, BarKind::kMemory32, region(0x2000)) &&
                plain.add_bar(2, BarKind::kMemory64, region(16 * kGiB), hw::Prefetch::kYes) &&
                plain.add_rom(rig.topology.rom("rom", block, 0, 0x1000)) && plain.add_power_management() &&
                plain.add_msi({.vectors = 32, .per_vector_mask = true}) && hidden.add_msix_bar(0, 8) &&
                hidden.add_msi({.vectors = 4, .address_64 = false}) && hidden.add_bar(2, BarKind::kIo, region(0x100));
    require(made, "the test functions can be built");
  }
  void attach(hw::PciBus& bus, hw::PciFunction& function, hw::PciAddress where) {
    require(bus.attach(function, where).has_value(), "a slot is free");
    devices.push_back(&function);
  }
  /// What firmware does first, so that everything is within reach.
  void enumerate() {
    outer.config_write(0x18, 4, 0x0002'0100);
    inner.config_write(0x18, 4, 0x0002'0201);
    for (hw::PciFunction* bridge : {&outer, &inner}) {
      bridge->config_write(0x20, 4, 0xe0f0'e000);
      bridge->config_write(0x1c, 2, 0xc0c0);
      bridge->config_write(0x04, 2, 7);
    }
    plain.config_write(0x10, 4, 0xd000);
    plain.config_write(0x14, 4, 0xe400'0000);
    hidden.config_write(0x10, 4, 0xe080'0000);
    plain.command(7);
    hidden.command(7);
  }
};

}  // namespace doppel::fuzz
