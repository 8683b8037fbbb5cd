// The board of the IDE fuzz target: a disk, one that cannot be written, a CD-ROM and an empty drive.
#pragma once

#include <array>
#include <memory>
#include <optional>

#include "block/fake_disk.h"
#include "fuzz/fuzz_input.h"
#include "hw/ide/piix3_ide.h"
#include "hw/pci/pci_test_rig.h"

namespace doppel::fuzz {

inline constexpr std::uint16_t kBases[] = {0x1f0, 0x170};
inline constexpr std::uint16_t kBusMaster = 0xc000;

struct IdeBoard {
  IdeBoard() {
    pci.memory->add(pci.topology.ram("ram", ram, 0, kRamSize), 0);
    require(ide->channel(0).add_disk(0, disk, {}) && ide->channel(0).add_disk(1, read_only, {}) &&
                ide->channel(1).add_cdrom(0, &medium, {}) && ide->channel(1).add_cdrom(1, nullptr, {}) &&
                pci.bus.attach(*ide, hw::PciAddress{1, 1}),
            "the board can be built");
    read_only.is_read_only = true;
    power_up();
  }
  void power_up() {
    ide->reset();
    ide->config_write(0x20, 4, kBusMaster);
    ide->config_write(0x04, 2, 5);
  }
  /// A whole command: parameters, opcode, and for a packet its bytes.
  void command(FuzzInput& input) {
    const std::uint16_t base = kBases[input.below(2)];
    pci.out(base + 6U, 1, input.take<std::uint8_t>());
    for (unsigned reg = 1; reg < 6; ++reg) pci.out(base + reg, 1, input.take<std::uint8_t>() & 0x1fU);
    const bool packet = input.take_bool();
    pci.out(base + 7U, 1, packet ? 0xa0 : input.take<std::uint8_t>());
    for (unsigned i = 0; packet && i < 3; ++i) pci.out(base, 4, input.take<std::uint32_t>());
  }
  /// The drive with the data, as long as it wants or has some.
  void pump(FuzzInput& input) {
    const std::uint16_t base = kBases[input.below(2)];
    for (unsigned words = input.take<std::uint8_t>() * 16U; words > 0; --words) {
      if ((pci.in(base + 0x206U) & 0x08U) == 0) return;
      pci.out(base, 2, words);
      (void)pci.in(base, 4);
    }
  }
  void dma(FuzzInput& input) {
    const std::uint16_t port = kBusMaster + (input.take_bool() ? 8U : 0U);
    const std::uint32_t table = input.take<std::uint16_t>() & 0xfff8U;
    for (unsigned i = 0; i < 4; ++i) {
      pci.memory_space.write({table + 8 * i}, 4, input.take<std::uint32_t>() % (2 * kRamSize));
      pci.memory_space.write({table + 8 * i + 4}, 4, input.take<std::uint32_t>());
    }
    pci.out(port + 4U, 4, table);
    pci.out(port, 1, input.take<std::uint8_t>());
  }
  void answer(FuzzInput& input) {
    block::FakeDisk& which = *disks[input.below(disks.size())];
    const bool fails = input.below(4) == 0;
    which.failure = fails ? std::optional(static_cast<ErrorKind>(input.below(10))) : std::nullopt;
    which.finish_one();
  }

  static constexpr std::uint32_t kRamSize = 1U << 20U;
  hw::test::PciRig pci;
  std::shared_ptr<memory::RamBlock> ram = memory::RamBlock::create({.size = kRamSize}).value();
  hw::IrqFunction isa{[](unsigned irq, bool) { require(irq == 14 || irq == 15, "only these are IDE's"); }};
  block::FakeDisk disk{1 << 18};
  block::FakeDisk read_only{1 << 16};
  block::FakeDisk medium{1 << 18};
  std::array<block::FakeDisk*, 3> disks{&disk, &read_only, &medium};
  std::unique_ptr<hw::Piix3Ide> ide = hw::Piix3Ide::create(pci.services(), isa).value();
};

}  // namespace doppel::fuzz
