// For the tests of this folder: the controller on a bus with RAM, disks in memory, and a guest that talks to them.
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "base/endian.h"
#include "block/fake_disk.h"
#include "hw/ide/piix3_ide.h"
#include "hw/pci/pci_test_rig.h"

namespace doppel::hw::test {

inline constexpr std::uint8_t kReadyStatus = 0x50;  // DRDY, DSC
inline constexpr std::uint8_t kDataStatus = 0x58;   // and DRQ
inline constexpr std::uint8_t kErrorStatus = 0x51;  // and ERR

/// A disk is master of the first channel, a CD-ROM drive master of the second.
struct IdeRig {
  static constexpr std::uint64_t kDiskSize = 4 << 20;
  static constexpr std::uint64_t kMediumSize = 64 * 2048;
  static constexpr std::uint64_t kRamSize = 4 << 20;
  static constexpr std::uint16_t kDisk = 0x1f0;
  static constexpr std::uint16_t kCdrom = 0x170;
  static constexpr std::uint16_t kBusMaster = 0xc000;

  IdeRig() {
    pci.memory->add(pci.topology.ram("ram", block, 0, kRamSize), 0);
    for (std::size_t i = 0; i < disk.contents.size(); ++i) disk.contents[i] = pattern(i);
    for (std::size_t i = 0; i < medium.contents.size(); ++i) medium.contents[i] = pattern(i + 7);
    EXPECT_TRUE(ide->channel(0).add_disk(0, disk, {.serial = "QM00001"}));
    EXPECT_TRUE(ide->channel(1).add_cdrom(0, &medium, {.serial = "QM00003"}));
    attach();
  }
  /// Puts the function on the bus and does what firmware does.
  void attach() {
    EXPECT_TRUE(pci.bus.attach(*ide, PciAddress{1, 1}));
    ide->reset();
    ide->config_write(0x20, 4, kBusMaster);
    ide->config_write(0x04, 2, 0x0005);
  }

  static std::byte pattern(std::size_t at) { return static_cast<std::byte>(at / 512 * 7 + at % 512); }

  // ---- The guest's accesses

  std::uint8_t in(unsigned port) { return static_cast<std::uint8_t>(pci.in(port)); }
  void out(unsigned port, std::uint8_t value) { pci.out(port, 1, value); }
  std::uint8_t status(unsigned base) { return in(base + 7U); }
  std::uint8_t alternate_status(unsigned base) { return in(base + 0x206U); }
  std::uint8_t error(unsigned base) { return in(base + 1U); }
  bool irq(unsigned base) const { return irqs.at(base == kDisk ? 14 : 15); }

  void registers(unsigned base, std::array<std::uint8_t, 5> values, std::uint8_t device = 0xe0) {
    out(base + 6, device);
    for (unsigned i = 0; i < values.size(); ++i) out(base + 1 + i, values[i]);
  }
  void command(unsigned base, std::uint8_t opcode) { out(base + 7, opcode); }
  /// A command with a 28-bit LBA.
  void command28(std::uint8_t opcode, std::uint32_t lba, std::uint8_t count, std::uint8_t features = 0) {
    registers(kDisk, {features, count, byte(lba, 0), byte(lba, 1), byte(lba, 2)},
              static_cast<std::uint8_t>(0xe0U | (lba >> 24U & 0xfU)));
    command(kDisk, opcode);
  }
  void command48(std::uint8_t opcode, std::uint64_t lba, std::uint16_t count, std::uint8_t features = 0) {
    registers(kDisk, {0, byte(count, 1), byte(lba, 3), byte(lba, 4), byte(lba, 5)});
    registers(kDisk, {features, byte(count, 0), byte(lba, 0), byte(lba, 1), byte(lba, 2)});
    command(kDisk, opcode);
  }
  /// A PACKET command, with its packet.
  void packet(std::vector<std::uint8_t> bytes, std::uint16_t byte_limit = 0xfffe, bool dma = false) {
    bytes.resize(12);
    registers(kCdrom, {static_cast<std::uint8_t>(dma), 0, 0, byte(byte_limit, 0), byte(byte_limit, 1)}, 0xa0);
    command(kCdrom, 0xa0);
    EXPECT_EQ(alternate_status(kCdrom), kDataStatus);
    EXPECT_EQ(in(kCdrom + 2), 0x01) << "the packet is asked for";
    for (unsigned i = 0; i < bytes.size(); i += 2) pci.out(kCdrom, 2, load_le<std::uint16_t>(bytes.data() + i));
  }

  std::vector<std::byte> read_data(unsigned base, std::size_t size, unsigned width = 2) {
    std::vector<std::byte> data(size);
    for (std::size_t i = 0; i < size; i += width) store_le_sized(data.data() + i, width, pci.in(base, width));
    return data;
  }
  void write_data(unsigned base, std::span<const std::byte> data) {
    for (std::size_t i = 0; i < data.size(); i += 2) pci.out(base, 2, load_le_sized(data.data() + i, 2));
  }
  std::array<std::uint16_t, 256> identify(unsigned base, std::uint8_t opcode, std::uint8_t device = 0xa0) {
    out(base + 6, device);
    command(base, opcode);
    EXPECT_EQ(status(base), kDataStatus);
    std::array<std::uint16_t, 256> words{};
    for (auto& word : words) word = static_cast<std::uint16_t>(pci.in(base, 2));
    return words;
  }

  // ---- Bus mastering

  struct Region {
    std::uint32_t address;
    std::uint32_t size;
  };
  static constexpr std::uint32_t kTable = 0x1000;

  /// Writes a table of REGIONS to guest memory.
  void write_table(const std::vector<Region>& regions) {
    for (std::size_t i = 0; i < regions.size(); ++i) {
      const std::uint32_t last = i + 1 == regions.size() ? 0x8000'0000U : 0U;
      store(kTable + 8 * i, regions[i].address);
      store(kTable + 8 * i + 4, (regions[i].size & 0xffffU) | last);
    }
  }
  void start_dma(unsigned base, bool to_memory) {
    const unsigned port = kBusMaster + (base == kDisk ? 0U : 8U);
    pci.out(port + 4, 4, kTable);
    out(port + 2, 0x06);
    out(port, to_memory ? 0x08 : 0x00);
    out(port, to_memory ? 0x09 : 0x01);
  }
  void stop_dma(unsigned base) { out(kBusMaster + (base == kDisk ? 0U : 8U), 0); }
  std::uint8_t dma_status(unsigned base) { return in(kBusMaster + (base == kDisk ? 2U : 10U)); }

  void store(std::uint64_t address, std::uint32_t value) { pci.memory_space.write({address}, 4, value); }
  std::vector<std::byte> memory(std::uint64_t address, std::size_t size) {
    std::vector<std::byte> bytes(size);
    EXPECT_TRUE(memory::DmaSpace(pci.memory_space).read({address}, bytes));
    return bytes;
  }
  void set_memory(std::uint64_t address, std::span<const std::byte> bytes) {
    EXPECT_TRUE(memory::DmaSpace(pci.memory_space).write({address}, bytes));
  }
  [[nodiscard]] std::vector<std::byte> sectors(std::size_t first, std::size_t count) const {
    const auto* begin = disk.contents.data() + first * 512;
    return {begin, begin + count * 512};
  }

  static std::uint8_t byte(std::uint64_t value, unsigned index) {
    return static_cast<std::uint8_t>(value >> (8 * index));
  }

  PciRig pci;
  std::shared_ptr<memory::RamBlock> block = memory::RamBlock::create({.size = kRamSize}).value();
  std::array<bool, 16> irqs{};
  std::vector<unsigned> irq_edges;  // each time one rose
  IrqFunction isa{[this](unsigned irq, bool level) {
    if (level && !irqs.at(irq)) irq_edges.push_back(irq);
    irqs.at(irq) = level;
  }};
  block::FakeDisk disk{kDiskSize};
  block::FakeDisk medium{kMediumSize};
  std::unique_ptr<Piix3Ide> ide = Piix3Ide::create(pci.services(), isa).value();
};

struct IdeTest : testing::Test, IdeRig {};

}  // namespace doppel::hw::test
