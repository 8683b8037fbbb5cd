#include "hw/pci/pci_bridge.h"

#include <gtest/gtest.h>

#include "base/bits.h"
#include "hw/pci/pci_test_rig.h"

namespace doppel::hw {
namespace {

using test::ConstantPort;
using test::PciRig;
using test::TestFunction;

struct PciBridgeTest : testing::Test {
  PciRig rig;
  ConstantPort port{0x11};
  PciBridge bridge{rig.services(), {"pci.1", 7}};
  TestFunction behind{rig, "behind"};

  void SetUp() override {
    ASSERT_TRUE(behind.add_bar(0, BarKind::kMemory32, rig.topology.io("bar", 0x1000, port)));
    ASSERT_TRUE(behind.add_bar(1, BarKind::kIo, rig.topology.io("ports", 0x20, port)));
    ASSERT_TRUE(behind.add_bar(2, BarKind::kMemory64, rig.topology.io("wide", 0x1000, port), Prefetch::kYes));
    ASSERT_TRUE(rig.bus.attach(bridge, PciAddress{4, 0}));
    ASSERT_TRUE(bridge.secondary().attach(behind, PciAddress{2, 0}));
    rig.bus.reset();
  }
  void number(std::uint8_t secondary, std::uint8_t subordinate) {
    bridge.config_write(0x18, 4, static_cast<std::uint32_t>(subordinate << 16 | secondary << 8));
  }
  void enable(std::uint32_t command = 7) {
    bridge.config_write(0x04, 2, command);
    behind.config_write(0x04, 2, 7);
  }
};

TEST_F(PciBridgeTest, LooksLikeABridge) {
  EXPECT_EQ(bridge.config_read(0x00, 4), 0x0001'1b36U);
  EXPECT_EQ(bridge.config_read(0x0a, 2), 0x0604U);
  EXPECT_EQ(bridge.config_read(0x0e, 1), 0x01U);
  const unsigned slot_id = bridge.config_read(0x34, 1);
  EXPECT_EQ(bridge.config_read(slot_id, 1), 0x04U);
  EXPECT_EQ(bridge.config_read(slot_id + 3, 1), 7U);
  bridge.config_write(0x1c, 4, 0xffff'ffff);
  EXPECT_EQ(bridge.config_read(0x1c, 2), 0xf0f0U);
  bridge.config_write(0x24, 4, 0xffff'ffff);
  EXPECT_EQ(bridge.config_read(0x24, 4), 0xfff1'fff1U);
  bridge.config_write(0x20, 4, 0xffff'ffff);
  EXPECT_EQ(bridge.config_read(0x20, 4), 0xfff0'fff0U);
}

TEST_F(PciBridgeTest, ForwardsConfigurationCyclesByNumber) {
  EXPECT_EQ(rig.bus.config_read({1, 2, 0}, 0, 4), 0xffff'ffffU);
  number(1, 1);
  EXPECT_EQ(rig.bus.config_read({1, 2, 0}, 0, 4), 0x5678'1234U);
  EXPECT_EQ(rig.bus.config_read({2, 2, 0}, 0, 4), 0xffff'ffffU);
  rig.bus.config_write({1, 2, 0}, 0x3c, 1, 0x0a);
  EXPECT_EQ(behind.config_read(0x3c, 1), 0x0aU);
  number(5, 4);
  EXPECT_EQ(rig.bus.config_read({5, 2, 0}, 0, 4), 0xffff'ffffU) << "an empty range of buses";
}

TEST_F(PciBridgeTest, NestsThroughSubordinateNumbers) {
  PciBridge inner{rig.services(), {"pci.2", 8}};
  TestFunction deep{rig, "deep"};
  ASSERT_TRUE(bridge.secondary().attach(inner, PciAddress{1, 0}));
  ASSERT_TRUE(inner.secondary().attach(deep, PciAddress{3, 0}));
  number(1, 2);
  inner.config_write(0x18, 4, 0x0002'0201);
  EXPECT_EQ(rig.bus.config_read({2, 3, 0}, 0, 4), 0x5678'1234U);
  // Pin A of slot 3, then slot 1, then slot 4 on the board: (3 + 1) % 4 = 0, (0 + 4 + 3) % 4 = 3 with the inner at 1.
  deep.intx(true);
  EXPECT_TRUE(rig.wires[(((0 + 3) + 1) % 4 + 4 + 3) % 4]);
  EXPECT_EQ(rig.edges.size(), 1U);
  deep.intx(false);
  EXPECT_EQ(rig.edges.size(), 2U);
}

TEST_F(PciBridgeTest, MemoryWindowShowsOnlyItsRange) {
  behind.config_write(0x10, 4, 0xfe10'0000);
  enable();
  EXPECT_EQ(rig.read(0xfe10'0000), 0xffU);
  bridge.config_write(0x20, 4, 0xfe10'fe10);
  EXPECT_EQ(rig.read(0xfe10'0000), 0x11U);
  EXPECT_EQ(rig.read(0xfe10'1000), 0xffU);
  bridge.config_write(0x20, 4, 0xfe20'fe20);
  EXPECT_EQ(rig.read(0xfe10'0000), 0xffU);
  bridge.config_write(0x20, 4, 0xfe20'fe00);
  EXPECT_EQ(rig.read(0xfe10'0000), 0x11U);
  bridge.config_write(0x20, 4, 0xfe00'fe20);
  EXPECT_EQ(rig.read(0xfe10'0000), 0xffU) << "base above limit closes the window";
}

TEST_F(PciBridgeTest, WindowsObeyTheCommandRegister) {
  behind.config_write(0x10, 4, 0xfe10'0000);
  behind.config_write(0x14, 4, 0xc000);
  bridge.config_write(0x20, 4, 0xfe10'fe10);
  bridge.config_write(0x1c, 2, 0xc0c0);
  enable(0);
  EXPECT_EQ(rig.read(0xfe10'0000), 0xffU);
  EXPECT_EQ(rig.in(0xc000), 0xffU);
  enable(pci::kCommandIo);
  EXPECT_EQ(rig.read(0xfe10'0000), 0xffU);
  EXPECT_EQ(rig.in(0xc000), 0x11U);
  enable(pci::kCommandMemory);
  EXPECT_EQ(rig.read(0xfe10'0000), 0x11U);
  EXPECT_EQ(rig.in(0xc000), 0xffU);
}

TEST_F(PciBridgeTest, PrefetchableWindowReachesHigh) {
  behind.config_write(0x18, 4, 0x0010'0000);
  behind.config_write(0x1c, 4, 0x80);
  enable();
  bridge.config_write(0x24, 4, 0x0010'0010);
  bridge.config_write(0x28, 4, 0x80);
  EXPECT_EQ(rig.read(0x80'0010'0000), 0xffU) << "the limit is still low";
  bridge.config_write(0x2c, 4, 0x80);
  EXPECT_EQ(rig.read(0x80'0010'0000), 0x11U);
}

TEST_F(PciBridgeTest, TheWidestWindowIsHarmless) {
  enable();
  bridge.config_write(0x24, 4, 0xfff0'0000);
  bridge.config_write(0x28, 4, 0);
  bridge.config_write(0x2c, 4, 0xffff'ffff);
  bridge.config_write(0x1c, 2, 0xf000);
  EXPECT_EQ(rig.read(0xfe10'0000), 0xffU);
  bridge.config_write(0x28, 4, 0xffff'ffff);
  EXPECT_EQ(rig.read(0xfe10'0000), 0xffU);
}

TEST_F(PciBridgeTest, VgaRangesPassWhenAsked) {
  ConstantPort vga{0x77};
  const auto frame = rig.topology.io("vga", 0x20000, vga);
  const auto ports = rig.topology.io("vga-ports", 0x20, vga);
  bridge.secondary().memory()->add(frame, 0xa0000);
  bridge.secondary().io()->add(ports, 0x3c0);
  for (const unsigned window : {0x20U, 0x24U})
    bridge.config_write(window, 4, 0x0000'fff0);  // as reset leaves them, the windows cover the first megabyte
  bridge.config_write(0x1c, 2, 0x00f0);
  enable();
  EXPECT_EQ(rig.read(0xa0000), 0xffU);
  bridge.config_write(0x3e, 2, pci::kBridgeControlVga);
  EXPECT_EQ(rig.read(0xa0000), 0x77U);
  EXPECT_EQ(rig.in(0x3df), 0x77U);
  bridge.config_write(0x3e, 2, 0);
  EXPECT_EQ(rig.in(0x3c0), 0xffU);
}

TEST_F(PciBridgeTest, SwizzlesInterrupts) {
  behind.intx(true);  // slot 2 pin A: pin C of the bridge in slot 4, so PIRQ (2 + 4 - 1) % 4
  EXPECT_TRUE(rig.wires[1]);
  behind.intx(false);
  EXPECT_FALSE(rig.wires[1]);
}

TEST_F(PciBridgeTest, SecondaryResetResetsWhatIsBehind) {
  behind.config_write(0x10, 4, 0xfe10'0000);
  const unsigned resets = behind.resets;
  bridge.config_write(0x3e, 2, pci::kBridgeControlReset);
  EXPECT_EQ(behind.resets, resets + 1);
  EXPECT_EQ(behind.config_read(0x10, 4), 0U);
  bridge.config_write(0x3e, 2, pci::kBridgeControlReset);
  EXPECT_EQ(behind.resets, resets + 1) << "held, not asserted again";
  bridge.config_write(0x3e, 2, 0);
  bridge.config_write(0x3e, 2, pci::kBridgeControlReset);
  EXPECT_EQ(behind.resets, resets + 2);
}

TEST_F(PciBridgeTest, ItsOwnResetPassesOnAndForgetsNumbers) {
  number(1, 1);
  const unsigned resets = behind.resets;
  bridge.reset();
  EXPECT_EQ(behind.resets, resets + 1);
  EXPECT_EQ(rig.bus.config_read({1, 2, 0}, 0, 4), 0xffff'ffffU);
}

TEST_F(PciBridgeTest, MastersBehindNeedTheBridgeToo) {
  enable(0);
  EXPECT_FALSE(behind.dma());
  enable(pci::kCommandMaster);
  EXPECT_TRUE(behind.dma());
}

TEST_F(PciBridgeTest, StateRestoresWindowsAndNumbers) {
  number(1, 1);
  behind.config_write(0x10, 4, 0xfe10'0000);
  bridge.config_write(0x20, 4, 0xfe10'fe10);
  enable();
  state::Writer writer;
  bridge.save(writer);
  behind.save(writer);
  rig.bus.reset();
  EXPECT_EQ(rig.read(0xfe10'0000), 0xffU);
  state::Reader reader(writer.bytes());
  ASSERT_TRUE(bridge.load(reader));
  ASSERT_TRUE(behind.load(reader));
  EXPECT_EQ(rig.read(0xfe10'0000), 0x11U);
  EXPECT_EQ(rig.bus.config_read({1, 2, 0}, 0, 2), 0x1234U);
}

}  // namespace
}  // namespace doppel::hw
