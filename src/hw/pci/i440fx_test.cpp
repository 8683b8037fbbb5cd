#include "hw/pci/i440fx.h"

#include <gtest/gtest.h>

#include "base/bits.h"
#include "hw/pci/pci_test_rig.h"

namespace doppel::hw {
namespace {

constexpr std::uint64_t kBelow = 2 * kMiB;
constexpr std::uint64_t kAbove = 1 * kMiB;
constexpr std::uint8_t kRomByte = 0x99;
constexpr std::uint8_t kRamByte = 0x55;

/// RAM is full of 55h; PCI has a ROM of 99h at E0000-FFFFF and a VGA that answers 77h.
struct I440fxTest : testing::Test {
  test::PciRig rig;
  test::ConstantPort vga{0x77};
  memory::RegionPtr system = rig.topology.container("system", 0);
  std::shared_ptr<memory::RamBlock> ram = make_block("ram", kBelow + kAbove, kRamByte);
  std::shared_ptr<memory::RamBlock> rom = make_block("bios", 256 * kKiB, kRomByte);
  memory::RegionPtr ram_region = rig.topology.ram("ram", ram, 0, ram->size());
  memory::AddressSpace space{rig.topology, system, "memory"};
  std::unique_ptr<I440fx> bridge;

  static std::shared_ptr<memory::RamBlock> make_block(const char* name, std::uint64_t size, std::uint8_t fill) {
    memory::RamOptions options;
    options.name = name;
    options.size = size;
    auto block = memory::RamBlock::create(options).value();
    std::fill(block->bytes().begin(), block->bytes().end(), std::byte{fill});
    return block;
  }
  void SetUp() override {
    rig.memory->add(rig.topology.rom("isa-bios", rom, 128 * kKiB, 128 * kKiB), 0xe0000);
    rig.memory->add(rig.topology.io("vga", 0x20000, vga), 0xa0000);
    auto created = I440fx::create(rig.services(), {system, ram_region, ram_region, kBelow, kAbove, rig.memory});
    ASSERT_TRUE(created);
    bridge = std::move(*created);
    ASSERT_TRUE(rig.bus.attach(*bridge, PciAddress{0, 0}));
    bridge->reset();
  }
  std::uint64_t at(std::uint64_t address) { return space.read({address}, 1); }
  void put(std::uint64_t address, std::uint8_t value) { space.write({address}, 1, value); }
  std::uint8_t in_ram(std::uint64_t offset) { return static_cast<std::uint8_t>(ram->host()[offset]); }
  void pam(unsigned index, std::uint8_t value) { bridge->config_write(0x59 + index, 1, value); }
  void smram(std::uint8_t value) { bridge->config_write(0x72, 1, value); }
};

TEST_F(I440fxTest, IdentifiesItself) {
  EXPECT_EQ(bridge->config_read(0x00, 4), 0x1237'8086U);
  EXPECT_EQ(bridge->config_read(0x08, 4), 0x0600'0002U);
  EXPECT_EQ(bridge->config_read(0x04, 2), 0x0006U);
  bridge->config_write(0x04, 2, 0);
  EXPECT_EQ(bridge->config_read(0x04, 2), 0x0006U);
  EXPECT_EQ(bridge->config_read(0x72, 1), 0x02U);
}

TEST_F(I440fxTest, LaysOutRamAndPci) {
  EXPECT_EQ(at(0), kRamByte);
  EXPECT_EQ(at(0x9ffff), kRamByte);
  EXPECT_EQ(at(0xa0000), 0x77U);
  EXPECT_EQ(at(0xc0000), 0xffU) << "nothing on PCI there";
  EXPECT_EQ(at(0xf0000), kRomByte);
  EXPECT_EQ(at(kMiB), kRamByte);
  EXPECT_EQ(at(kBelow - 1), kRamByte);
  EXPECT_EQ(at(kBelow), 0xffU);
  EXPECT_EQ(at(4 * kGiB), kRamByte);
  EXPECT_EQ(at(4 * kGiB + kAbove), 0xffU);
  put(4 * kGiB, 0xab);
  EXPECT_EQ(in_ram(kBelow), 0xab);
}

TEST_F(I440fxTest, PciShowsWhereverRamDoesNot) {
  test::ConstantPort device{0x33};
  rig.memory->add(rig.topology.io("low", 0x1000, device), 0xfebd'0000);
  rig.memory->add(rig.topology.io("high", 0x1000, device), 0x80'0000'0000);
  rig.memory->add(rig.topology.io("under-ram", 0x1000, device), 0x10'0000);
  EXPECT_EQ(at(0xfebd'0000), 0x33U);
  EXPECT_EQ(at(0x80'0000'0000), 0x33U);
  EXPECT_EQ(at(0x10'0000), kRamByte);
}

struct PamCase {
  unsigned index;
  bool high;
  std::uint64_t base;
  std::uint64_t size;
};
constexpr PamCase kPamCases[] = {
    {0, true, 0xf0000, 0x10000}, {1, false, 0xc0000, 0x4000}, {1, true, 0xc4000, 0x4000}, {2, false, 0xc8000, 0x4000},
    {2, true, 0xcc000, 0x4000},  {3, false, 0xd0000, 0x4000}, {3, true, 0xd4000, 0x4000}, {4, false, 0xd8000, 0x4000},
    {4, true, 0xdc000, 0x4000},  {5, false, 0xe0000, 0x4000}, {5, true, 0xe4000, 0x4000}, {6, false, 0xe8000, 0x4000},
    {6, true, 0xec000, 0x4000},
};

TEST_F(I440fxTest, PamMatrix) {
  for (const PamCase& segment : kPamCases) {
    const std::uint64_t last = segment.base + segment.size - 1;
    const std::uint64_t pci = segment.base >= 0xe0000 ? kRomByte : 0xff;
    for (unsigned mode = 0; mode < 4; ++mode) {
      SCOPED_TRACE(fmt::format("segment {:#x} mode {}", segment.base, mode));
      pam(segment.index, static_cast<std::uint8_t>(segment.high ? mode << 4U : mode));
      const bool reads_ram = (mode & 1U) != 0;
      const bool writes_ram = (mode & 2U) != 0;
      for (const std::uint64_t address : {segment.base, last}) {
        ram->host()[address] = std::byte{kRamByte};
        EXPECT_EQ(at(address), reads_ram ? kRamByte : pci);
        put(address, 0xab);
        EXPECT_EQ(in_ram(address), writes_ram ? 0xab : kRamByte);
        EXPECT_EQ(at(address), !reads_ram ? pci : writes_ram ? 0xab : kRamByte);
        ram->host()[address] = std::byte{kRamByte};
      }
      // Neighbours keep to themselves.
      EXPECT_EQ(at(last + 1), last + 1 == kMiB ? kRamByte : last + 1 >= 0xe0000 ? kRomByte : 0xffU);
    }
    pam(segment.index, 0);
  }
}

TEST_F(I440fxTest, FirmwareShadowsItselfBySixteenBytesAtATime) {
  pam(0, 0x20);
  for (std::uint64_t address = 0xf0000; address < 0x100000; address += 8)
    space.write({address}, 8, space.read({address}, 8));
  pam(0, 0x10);
  EXPECT_EQ(at(0xf0000), kRomByte);
  EXPECT_EQ(in_ram(0xfffff), kRomByte);
  put(0xf0000, 0);
  EXPECT_EQ(at(0xf0000), kRomByte);
}

TEST_F(I440fxTest, WriteOnlySegmentOverRomIsReadDirectly) {
  pam(0, 0x20);
  const auto view = space.view();
  const memory::FlatRange* range = view->find({0xf0000});
  ASSERT_NE(range, nullptr);
  EXPECT_TRUE(range->readable_ram) << "the firmware executes from there";
  EXPECT_FALSE(range->writable_ram);
}

TEST_F(I440fxTest, ReadOnlyRamIsReadDirectly) {
  pam(0, 0x10);
  const auto view = space.view();
  const memory::FlatRange* range = view->find({0xf0000});
  ASSERT_NE(range, nullptr);
  EXPECT_TRUE(range->readable_ram);
  EXPECT_FALSE(range->writable_ram);
  EXPECT_EQ(range->ram_offset(), 0xf0000U);
}

TEST_F(I440fxTest, WriteOnlyMarksPagesDirty) {
  ram->dirty().start(memory::DirtyClient::kMigration);
  pam(1, 0x02);
  put(0xc1234, 1);
  EXPECT_TRUE(ram->dirty().test(memory::DirtyClient::kMigration, 0xc1));
  EXPECT_FALSE(ram->dirty().test(memory::DirtyClient::kMigration, 0xc2));
}

TEST_F(I440fxTest, DwordWriteSetsSeveralPamRegisters) {
  bridge->config_write(0x58, 4, 0x1111'1000);
  EXPECT_EQ(bridge->config_read(0x58, 4), 0x1111'1000U);
  EXPECT_EQ(at(0xf0000), kRamByte);
  EXPECT_EQ(at(0xc0000), kRamByte);
  EXPECT_EQ(at(0xcc000), kRamByte);
  EXPECT_EQ(at(0xd0000), 0xffU);
  bridge->config_write(0x59, 1, 0xff);
  EXPECT_EQ(bridge->config_read(0x59, 1), 0x70U);
}

TEST_F(I440fxTest, SmramOpenShowsRamToEverybody) {
  smram(0x4a);
  EXPECT_EQ(at(0xa0000), kRamByte);
  put(0xbffff, 0x42);
  EXPECT_EQ(in_ram(0xbffff), 0x42);
  smram(0x0a);
  EXPECT_EQ(at(0xa0000), 0x77U);
  smram(0x42);
  EXPECT_EQ(at(0xa0000), 0x77U) << "open without enable";
  smram(0x6a);
  EXPECT_EQ(at(0xa0000), 0x77U) << "open and closed at once";
}

TEST_F(I440fxTest, SmramContainerFollowsEnable) {
  memory::AddressSpace smm(rig.topology, bridge->smram(), "smm");
  EXPECT_EQ(smm.read({0xa0000}, 1), 0xffU);
  smram(0x08);
  EXPECT_EQ(smm.read({0xa0000}, 1), kRamByte);
  EXPECT_EQ(smm.read({0x90000}, 1), 0xffU);
}

TEST_F(I440fxTest, SmramLockHoldsUntilReset) {
  smram(0x5a);
  EXPECT_EQ(bridge->config_read(0x72, 1), 0x1aU) << "locking closes";
  EXPECT_EQ(at(0xa0000), 0x77U);
  smram(0x4a);
  EXPECT_EQ(bridge->config_read(0x72, 1), 0x1aU);
  EXPECT_EQ(at(0xa0000), 0x77U);
  bridge->config_write(0x70, 4, 0x0048'0000);
  EXPECT_EQ(bridge->config_read(0x72, 1), 0x1aU);
  bridge->reset();
  EXPECT_EQ(bridge->config_read(0x72, 1), 0x02U);
  smram(0x4a);
  EXPECT_EQ(at(0xa0000), kRamByte);
}

TEST_F(I440fxTest, ResetShowsPciAgain) {
  for (unsigned i = 0; i < 7; ++i) pam(i, 0x33);
  smram(0x4a);
  EXPECT_EQ(at(0xf0000), kRamByte);
  bridge->reset();
  EXPECT_EQ(at(0xf0000), kRomByte);
  EXPECT_EQ(at(0xc0000), 0xffU);
  EXPECT_EQ(at(0xa0000), 0x77U);
}

TEST_F(I440fxTest, StateRestoresTheMap) {
  pam(0, 0x10);
  pam(1, 0x21);
  smram(0x1a);
  state::Writer writer;
  bridge->save(writer);
  bridge->reset();
  state::Reader reader(writer.bytes());
  ASSERT_TRUE(bridge->load(reader));
  EXPECT_EQ(at(0xf0000), kRamByte);
  EXPECT_EQ(at(0xc0000), kRamByte);
  put(0xc4000, 0x12);
  EXPECT_EQ(in_ram(0xc4000), 0x12);
  smram(0x4a);
  EXPECT_EQ(bridge->config_read(0x72, 1), 0x1aU) << "the lock is restored too";
}

TEST_F(I440fxTest, RefusesImpossibleSizes) {
  const auto sizes = [&](std::uint64_t below, std::uint64_t above) {
    return I440fx::create(rig.services(), {system, ram_region, ram_region, below, above, rig.memory});
  };
  EXPECT_FALSE(sizes(512 * kKiB, 0));
  EXPECT_FALSE(sizes(5 * kGiB, 0));
  EXPECT_EQ(sizes(kBelow, 2 * kMiB).error().kind(), ErrorKind::kOutOfRange);
  EXPECT_EQ(sizes(kBelow, ~0ULL).error().kind(), ErrorKind::kOutOfRange);
  EXPECT_FALSE(I440fx::create(rig.services(), {system, ram_region, rig.memory, kBelow, 0, rig.memory}));
}

TEST_F(I440fxTest, RamMayBeMadeOfSeveralBlocks) {
  test::PciRig other;
  const auto high = make_block("node1", kMiB, 0x66);
  const auto low_ram = other.topology.ram("node0", ram, 0, kMiB);
  const auto all = other.topology.container("nodes", 2 * kMiB);
  all->add(low_ram, 0);
  all->add(other.topology.ram("node1", high, 0, kMiB), kMiB);
  const auto view = other.topology.container("system", 0);
  memory::AddressSpace memory(other.topology, view, "memory");
  const auto split = I440fx::create(other.services(), {view, all, low_ram, 2 * kMiB, 0, other.memory}).value();
  split->reset();
  EXPECT_EQ(memory.read({0x9ffff}, 1), kRamByte);
  EXPECT_EQ(memory.read({kMiB}, 1), 0x66U);
  split->config_write(0x59, 1, 0x10);
  EXPECT_EQ(memory.read({0xfffff}, 1), kRamByte);
}

}  // namespace
}  // namespace doppel::hw
