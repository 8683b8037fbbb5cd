// For the tests of this folder: an adapter on a bus with RAM, a disk at port 0, a CD-ROM drive at port 2, and a small
// driver.
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <vector>

#include "block/fake_disk.h"
#include "hw/ahci/ahci.h"
#include "hw/pci/pci_test_rig.h"

namespace doppel::hw::test {

struct AhciRig {
  static constexpr std::uint64_t kRamSize = 8 << 20;
  static constexpr std::uint32_t kBar = 0x8000'0000;
  static constexpr unsigned kDisk = 0;
  static constexpr unsigned kCdrom = 2;
  // Where the driver keeps things: for each port a list and a place for frames, for each slot a table.
  static constexpr std::uint64_t kLists = 0x1'0000;
  static constexpr std::uint64_t kFrames = 0x2'0000;
  static constexpr std::uint64_t kTables = 0x4'0000;
  static constexpr std::uint64_t kData = 0x10'0000;

  AhciRig() {
    pci.memory->add(pci.topology.ram("ram", block, 0, kRamSize), 0);
    for (std::size_t i = 0; i < disk.contents.size(); ++i) disk.contents[i] = pattern(i);
    for (std::size_t i = 0; i < medium.contents.size(); ++i) medium.contents[i] = pattern(i + 3);
    EXPECT_TRUE(ahci->port(kDisk).add_disk(disk, {.serial = "QM00005"}));
    EXPECT_TRUE(ahci->port(kCdrom).add_cdrom(&medium, {.serial = "QM00009"}));
    EXPECT_TRUE(pci.bus.attach(*ahci));
    power_up();
  }
  void power_up() {
    ahci->reset();
    ahci->config_write(0x24, 4, kBar);
    ahci->config_write(0x04, 2, 6);
    set_reg(0x04, 0x8000'0002);
    for (const unsigned port : {kDisk, kCdrom}) start(port);
  }
  static std::byte pattern(std::size_t at) { return static_cast<std::byte>(at / 512 * 7 + at % 512); }

  std::uint32_t reg(std::uint32_t offset) { return static_cast<std::uint32_t>(pci.read(kBar + offset, 4)); }
  void set_reg(std::uint32_t offset, std::uint32_t value) { pci.memory_space.write({kBar + offset}, 4, value); }
  static std::uint32_t at(unsigned port, std::uint32_t offset) { return 0x100 + 0x80 * port + offset; }
  std::uint32_t port_reg(unsigned port, std::uint32_t offset) { return reg(at(port, offset)); }
  void set_port_reg(unsigned port, std::uint32_t offset, std::uint32_t value) { set_reg(at(port, offset), value); }

  static std::uint64_t list(unsigned port) { return kLists + 0x400ULL * port; }
  static std::uint64_t frames(unsigned port) { return kFrames + 0x100ULL * port; }
  static std::uint64_t table(unsigned slot) { return kTables + 0x1000ULL * slot; }
  void start(unsigned port) {
    set_port_reg(port, 0x00, static_cast<std::uint32_t>(list(port)));
    set_port_reg(port, 0x08, static_cast<std::uint32_t>(frames(port)));
    set_port_reg(port, 0x14, 0xffff'ffff);
    set_port_reg(port, 0x18, 0x11);
  }
  void stop(unsigned port) { set_port_reg(port, 0x18, 0x10); }

  struct Region {
    std::uint64_t address;
    std::uint32_t size;
  };
  /// Lays out a command in SLOT.
  void prepare(unsigned port, unsigned slot, std::array<std::uint8_t, 20> frame, const std::vector<Region>& regions,
               const std::array<std::uint8_t, 16>& packet = {}) {
    EXPECT_TRUE(ram.write({table(slot)}, frame));
    EXPECT_TRUE(ram.write({table(slot) + 0x40}, packet));
    for (std::size_t i = 0; i < regions.size(); ++i)
      EXPECT_TRUE(ram.write({table(slot) + 0x80 + 16 * i},
                            ahci::Descriptor{.address = regions[i].address, .size = regions[i].size - 1}));
    ahci::CommandHeader header{};
    header.flags = 5;
    header.descriptors = static_cast<std::uint16_t>(regions.size());
    header.table = table(slot);
    EXPECT_TRUE(ram.write({list(port) + 32ULL * slot}, header));
  }
  static std::array<std::uint8_t, 20> frame(std::uint8_t opcode, std::uint64_t lba, std::uint16_t count,
                                            std::uint16_t features = 0, std::uint8_t device = 0x40) {
    const auto byte = [](std::uint64_t value, unsigned index) { return static_cast<std::uint8_t>(value >> 8 * index); };
    return {0x27,   0x80,         opcode,       byte(features, 0), byte(lba, 0),      byte(lba, 1),   byte(lba, 2),
            device, byte(lba, 3), byte(lba, 4), byte(lba, 5),      byte(features, 1), byte(count, 0), byte(count, 1)};
  }
  void issue(unsigned port, std::uint32_t slots) { set_port_reg(port, 0x38, slots); }
  void issue_queued(unsigned port, std::uint32_t slots) {
    set_port_reg(port, 0x34, slots);
    issue(port, slots);
  }
  /// A command in slot 0 of the disk, carried out.
  void execute(std::array<std::uint8_t, 20> what, const std::vector<Region>& regions = {}) {
    prepare(kDisk, 0, what, regions);
    issue(kDisk, 1);
    finish_disks();
  }
  void execute_packet(std::array<std::uint8_t, 16> packet, const std::vector<Region>& regions, bool dma) {
    prepare(kCdrom, 0, frame(0xa0, 0x00'fe00, 0, dma ? 1 : 0, 0), regions, packet);
    issue(kCdrom, 1);
    finish_disks();
  }
  static std::array<std::uint8_t, 20> queued(bool write, std::uint64_t lba, std::uint16_t count, unsigned tag,
                                             bool durable = false) {
    return frame(write ? 0x61 : 0x60, lba, static_cast<std::uint16_t>(tag << 3U), count, durable ? 0xc0 : 0x40);
  }
  void finish_disks() {
    while (disk.finish_one() || medium.finish_one()) {
    }
  }
  std::uint32_t status(unsigned port) { return port_reg(port, 0x20); }
  std::uint32_t take_interrupts(unsigned port) {
    const std::uint32_t bits = port_reg(port, 0x10);
    set_port_reg(port, 0x10, bits);
    set_reg(0x08, 1U << port);
    return bits;
  }
  bool pin() { return (ahci->config_read(6, 2) & 8U) != 0; }

  std::vector<std::byte> memory(std::uint64_t address, std::size_t size) {
    std::vector<std::byte> bytes(size);
    EXPECT_TRUE(ram.read({address}, bytes));
    return bytes;
  }
  void set_memory(std::uint64_t address, std::span<const std::byte> bytes) { EXPECT_TRUE(ram.write({address}, bytes)); }
  [[nodiscard]] std::vector<std::byte> on_disk(std::size_t offset, std::size_t size) const {
    const auto* begin = disk.contents.data() + offset;
    return {begin, begin + size};
  }

  PciRig pci;
  std::shared_ptr<memory::RamBlock> block = memory::RamBlock::create({.size = kRamSize}).value();
  block::FakeDisk disk{8 << 20};
  block::FakeDisk medium{64 * 2048};
  memory::DmaSpace ram{pci.memory_space};
  std::unique_ptr<Ahci> ahci = Ahci::create(pci.services()).value();
};

}  // namespace doppel::hw::test
