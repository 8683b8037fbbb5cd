#include "hw/pci/pci_function.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "base/bits.h"
#include "hw/pci/pci_test_rig.h"

namespace doppel::hw {
namespace {

using test::ConstantPort;
using test::PciRig;
using test::TestFunction;

struct PciFunctionTest : testing::Test {
  PciRig rig;
  ConstantPort port{0x11};
  ConstantPort other_port{0x22};
  TestFunction function{rig};

  memory::RegionPtr region(std::uint64_t size) { return rig.topology.io("bar", size, port); }
  memory::RegionPtr other_region(std::uint64_t size) { return rig.topology.io("other", size, other_port); }
  void attach() {
    ASSERT_TRUE(rig.bus.attach(function, PciAddress{3, 0}));
    function.reset();
  }
};

TEST_F(PciFunctionTest, HeaderHoldsTheIdentity) {
  EXPECT_EQ(function.config_read(0x00, 4), 0x5678'1234U);
  EXPECT_EQ(function.config_read(0x08, 4), 0x0200'009aU);
  EXPECT_EQ(function.config_read(0x0e, 1), 0U);
  EXPECT_EQ(function.config_read(0x2c, 4), 0x1100'1af4U);
  EXPECT_EQ(function.config_read(0x3d, 1), 1U);
  function.config_write(0x00, 4, 0);
  EXPECT_EQ(function.config_read(0x00, 4), 0x5678'1234U);
  function.command(0xffff);
  EXPECT_EQ(function.config_read(0x04, 2), pci::kCommandWritable);
  function.config_write(0x3c, 4, 0xffff'ff0b);
  EXPECT_EQ(function.config_read(0x3c, 4), 0x0000'010bU);
}

TEST_F(PciFunctionTest, MultifunctionShowsInTheHeaderTypeAcrossReset) {
  function.set_multifunction(true);
  function.reset();
  EXPECT_EQ(function.config_read(0x0e, 1), 0x80U);
}

TEST_F(PciFunctionTest, SizingMemoryBarsByAllOnes) {
  ASSERT_TRUE(function.add_bar(0, BarKind::kMemory32, region(0x2000)));
  ASSERT_TRUE(function.add_bar(1, BarKind::kIo, region(0x20)));
  ASSERT_TRUE(function.add_bar(2, BarKind::kMemory64, region(16 * kGiB), Prefetch::kYes));
  attach();
  function.command(0x0007);
  for (const unsigned offset : {0x10U, 0x14U, 0x18U, 0x1cU, 0x20U}) function.config_write(offset, 4, 0xffff'ffff);
  EXPECT_EQ(function.config_read(0x10, 4), 0xffff'e000U);
  EXPECT_EQ(function.config_read(0x14, 4), 0xffff'ffe1U);
  EXPECT_EQ(function.config_read(0x18, 4), 0x0000'000cU);
  EXPECT_EQ(function.config_read(0x1c, 4), 0xffff'fffcU);
  EXPECT_EQ(function.config_read(0x20, 4), 0U) << "no BAR there";
  for (unsigned bar = 0; bar < 6; ++bar) EXPECT_FALSE(function.bar_address(bar)) << bar;
}

TEST_F(PciFunctionTest, BarsDecodeWhenEnabledAndPlaced) {
  ASSERT_TRUE(function.add_bar(0, BarKind::kMemory32, region(0x1000)));
  ASSERT_TRUE(function.add_bar(1, BarKind::kIo, region(0x20)));
  attach();
  function.config_write(0x10, 4, 0xfebd'0000);
  function.config_write(0x14, 4, 0xc000);
  EXPECT_EQ(rig.read(0xfebd'0000), 0xffU);
  function.command(pci::kCommandMemory);
  EXPECT_EQ(rig.read(0xfebd'0000), 0x11U);
  EXPECT_EQ(rig.read(0xfebd'1000), 0xffU);
  EXPECT_EQ(rig.in(0xc000), 0xffU);
  function.command(pci::kCommandIo);
  EXPECT_EQ(rig.read(0xfebd'0000), 0xffU);
  EXPECT_EQ(rig.in(0xc01f), 0x11U);
  EXPECT_EQ(rig.in(0xc020), 0xffU);
}

TEST_F(PciFunctionTest, WritesReachTheBarAtTheirOffset) {
  ASSERT_TRUE(function.add_bar(0, BarKind::kMemory32, region(0x1000)));
  attach();
  function.config_write(0x10, 4, 0xfebd'0000);
  function.command(pci::kCommandMemory);
  rig.memory_space.write({0xfebd'0124}, 4, 0xcafe);
  EXPECT_EQ(port.last_offset, 0x124U);
  EXPECT_EQ(port.last_value, 0xcafeU);
}

TEST_F(PciFunctionTest, BarsMoveByPartialWritesToo) {
  ASSERT_TRUE(function.add_bar(0, BarKind::kMemory32, region(0x1000)));
  attach();
  function.command(pci::kCommandMemory);
  function.config_write(0x12, 2, 0xe000);
  EXPECT_EQ(function.bar_address(0), 0xe000'0000U);
  function.config_write(0x11, 1, 0x30);
  EXPECT_EQ(function.bar_address(0), 0xe000'3000U);
  EXPECT_EQ(rig.read(0xe000'3000), 0x11U);
  EXPECT_EQ(rig.read(0xe000'0000), 0xffU);
}

TEST_F(PciFunctionTest, WideBarGoesAboveFourGiB) {
  ASSERT_TRUE(function.add_bar(4, BarKind::kMemory64, region(0x4000), Prefetch::kYes));
  attach();
  function.command(pci::kCommandMemory);
  function.config_write(0x24, 4, 0x12);
  EXPECT_EQ(function.bar_address(4), 0x12'0000'0000U);
  EXPECT_EQ(rig.read(0x12'0000'3fff), 0x11U);
  function.config_write(0x24, 4, 0x8000'0000);
  EXPECT_FALSE(function.bar_address(4)) << "no processor reaches there";
}

TEST_F(PciFunctionTest, AddressZeroAndOverflowsAreNotDecoded) {
  ASSERT_TRUE(function.add_bar(0, BarKind::kMemory32, region(0x1000)));
  ASSERT_TRUE(function.add_bar(1, BarKind::kIo, region(0x100)));
  attach();
  function.command(0x3);
  EXPECT_FALSE(function.bar_address(0));
  EXPECT_FALSE(function.bar_address(1));
  function.config_write(0x10, 4, 0xffff'f000);
  EXPECT_FALSE(function.bar_address(0));
  function.config_write(0x14, 4, 0x0001'0000);
  EXPECT_FALSE(function.bar_address(1));
  function.config_write(0x14, 4, 0xff00);
  EXPECT_EQ(function.bar_address(1), 0xff00U);
}

TEST_F(PciFunctionTest, OverlappingBarsComeApartAgain) {
  TestFunction second(rig, "second");
  ASSERT_TRUE(function.add_bar(0, BarKind::kMemory32, region(0x1000)));
  ASSERT_TRUE(second.add_bar(0, BarKind::kMemory32, other_region(0x1000)));
  attach();
  ASSERT_TRUE(rig.bus.attach(second));
  for (TestFunction* each : {&function, &second}) {
    each->config_write(0x10, 4, 0xfebd'0000);
    each->command(pci::kCommandMemory);
  }
  const std::uint64_t winner = rig.read(0xfebd'0000);
  EXPECT_TRUE(winner == 0x11 || winner == 0x22);
  second.config_write(0x10, 4, 0xfebe'0000);
  EXPECT_EQ(rig.read(0xfebd'0000), 0x11U);
  EXPECT_EQ(rig.read(0xfebe'0000), 0x22U);
}

TEST_F(PciFunctionTest, RefusesBadBars) {
  EXPECT_EQ(function.add_bar(0, BarKind::kMemory32, region(0x3000)).error().message(),
            "a 32-bit memory BAR ('bar') takes a power of two from 16 to 2147483648 bytes, not 12288");
  EXPECT_FALSE(function.add_bar(0, BarKind::kMemory32, region(8)));
  EXPECT_FALSE(function.add_bar(0, BarKind::kMemory32, region(4 * kGiB)));
  EXPECT_FALSE(function.add_bar(0, BarKind::kIo, region(2)));
  EXPECT_FALSE(function.add_bar(0, BarKind::kIo, region(0x10000)));
  EXPECT_FALSE(function.add_bar(6, BarKind::kIo, region(4)));
  EXPECT_FALSE(function.add_bar(5, BarKind::kMemory64, region(0x1000)));
  EXPECT_FALSE(function.add_rom(region(1024)));
  ASSERT_TRUE(function.add_bar(0, BarKind::kMemory64, region(0x1000)));
  EXPECT_EQ(function.add_bar(1, BarKind::kIo, region(4)).error().kind(), ErrorKind::kAlreadyExists);
  EXPECT_EQ(function.add_bar(0, BarKind::kIo, region(4)).error().kind(), ErrorKind::kAlreadyExists);
}

TEST_F(PciFunctionTest, RomNeedsItsOwnEnableAndMemoryDecoding) {
  ASSERT_TRUE(function.add_rom(region(0x10000)));
  EXPECT_FALSE(function.add_rom(region(0x10000)));
  attach();
  function.config_write(0x30, 4, 0xffff'ffff);
  EXPECT_EQ(function.config_read(0x30, 4), 0xffff'0001U);
  function.config_write(0x30, 4, 0xfeb0'0000);
  function.command(pci::kCommandMemory);
  EXPECT_EQ(rig.read(0xfeb0'0000), 0xffU);
  function.config_write(0x30, 4, 0xfeb0'0001);
  EXPECT_EQ(rig.read(0xfeb0'0000), 0x11U);
  function.command(0);
  EXPECT_EQ(rig.read(0xfeb0'0000), 0xffU);
}

TEST_F(PciFunctionTest, ResetTakesBarsOffTheBus) {
  ASSERT_TRUE(function.add_bar(0, BarKind::kMemory32, region(0x1000)));
  attach();
  function.config_write(0x10, 4, 0xfebd'0000);
  function.command(7);
  function.intx(true);
  EXPECT_TRUE(rig.wires[2]);
  const unsigned resets = function.resets;
  function.reset();
  EXPECT_EQ(function.resets, resets + 1);
  EXPECT_EQ(rig.read(0xfebd'0000), 0xffU);
  EXPECT_EQ(function.config_read(0x10, 4), 0U);
  EXPECT_FALSE(rig.wires[2]);
  EXPECT_FALSE(function.dma());
}

TEST_F(PciFunctionTest, DetachingTakesBarsAndInterruptAway) {
  ASSERT_TRUE(function.add_bar(0, BarKind::kMemory32, region(0x1000)));
  attach();
  function.config_write(0x10, 4, 0xfebd'0000);
  function.command(7);
  function.intx(true);
  rig.bus.detach(function);
  EXPECT_EQ(rig.read(0xfebd'0000), 0xffU);
  EXPECT_FALSE(rig.wires[2]);
  EXPECT_EQ(rig.bus.at({3, 0}), nullptr);
  EXPECT_EQ(function.bus(), nullptr);
}

TEST_F(PciFunctionTest, IntxObeysDisableAndShowsInStatus) {
  attach();
  function.intx(true);
  EXPECT_TRUE(rig.wires[2]);
  EXPECT_NE(function.status() & pci::kStatusInterrupt, 0);
  function.command(pci::kCommandIntxDisable);
  EXPECT_FALSE(rig.wires[2]);
  EXPECT_NE(function.status() & pci::kStatusInterrupt, 0) << "the source is still asserted";
  function.command(0);
  EXPECT_TRUE(rig.wires[2]);
  function.intx(false);
  EXPECT_FALSE(rig.wires[2]);
  EXPECT_EQ(function.status() & pci::kStatusInterrupt, 0);
}

TEST_F(PciFunctionTest, DmaNeedsBusMasterEnable) {
  attach();
  ASSERT_FALSE(function.dma());
  EXPECT_EQ(function.dma().error().message(), "test is not enabled as a bus master");
  function.command(pci::kCommandMaster);
  EXPECT_TRUE(function.dma());
}

TEST_F(PciFunctionTest, CapabilitiesFormAList) {
  EXPECT_EQ(function.config_read(pci::kStatus, 2) & pci::kStatusCapabilities, 0U);
  EXPECT_EQ(function.add_capability(0x12, 7).value(), 0x40);
  EXPECT_EQ(function.add_capability(0x13, 4, 0x80).value(), 0x80);
  const std::array<std::uint8_t, 3> body = {1, 2, 3};
  EXPECT_EQ(function.add_vendor_capability(body).value(), 0x48);
  EXPECT_NE(function.config_read(pci::kStatus, 2) & pci::kStatusCapabilities, 0U);
  EXPECT_EQ(function.config_read(0x34, 1), 0x48U);
  EXPECT_EQ(function.config_read(0x48, 4), 0x0106'8009U);
  EXPECT_EQ(function.config_read(0x4c, 2), 0x0302U);
  EXPECT_EQ(function.config_read(0x80, 2), 0x4013U);
  EXPECT_EQ(function.config_read(0x40, 2), 0x0012U);
}

TEST_F(PciFunctionTest, CapabilitiesNeedRoom) {
  ASSERT_TRUE(function.add_capability(0x12, 8, 0x40));
  EXPECT_FALSE(function.add_capability(0x12, 4, 0x44));
  EXPECT_FALSE(function.add_capability(0x12, 4, 0x10));
  EXPECT_FALSE(function.add_capability(0x12, 4, 0x4a));
  EXPECT_FALSE(function.add_capability(0x12, 8, 0xfc));
  ASSERT_TRUE(function.add_capability(0x12, 0xb8));
  EXPECT_EQ(function.add_capability(0x12, 4).error().kind(), ErrorKind::kNoSpace);
  const std::vector<std::uint8_t> huge(4096);
  EXPECT_FALSE(function.add_vendor_capability(huge));
}

TEST_F(PciFunctionTest, D3HotStopsDecodingMasteringAndInterrupts) {
  ASSERT_TRUE(function.add_power_management(0x40));
  ASSERT_TRUE(function.add_bar(0, BarKind::kMemory32, region(0x1000)));
  attach();
  function.config_write(0x10, 4, 0xfebd'0000);
  function.command(7);
  function.intx(true);
  function.config_write(0x44, 2, 3);
  EXPECT_EQ(function.config_read(0x44, 2), 0x000bU);
  EXPECT_EQ(rig.read(0xfebd'0000), 0xffU);
  EXPECT_FALSE(function.dma());
  EXPECT_FALSE(rig.wires[2]);
  function.config_write(0x44, 2, 1);
  EXPECT_EQ(function.config_read(0x44, 2) & 3U, 3U) << "D1 is not offered";
  function.config_write(0x44, 2, 0);
  EXPECT_EQ(rig.read(0xfebd'0000), 0x11U);
  EXPECT_TRUE(rig.wires[2]);
}

TEST_F(PciFunctionTest, HooksRunForTouchedRegistersOnly) {
  unsigned writes = 0;
  unsigned reads = 0;
  function.config().define<std::uint32_t>(0x50, 0, 0xffff'ffff);
  function.on_config_write(0x52, 1, [&] { ++writes; });
  function.on_config_read(0x50, 4, [&] { function.config().set<std::uint32_t>(0x50, 100 + ++reads); });
  function.config_write(0x50, 2, 1);
  function.config_write(0x53, 1, 1);
  EXPECT_EQ(writes, 0U);
  function.config_write(0x50, 4, 1);
  function.config_write(0x52, 1, 1);
  EXPECT_EQ(writes, 2U);
  EXPECT_EQ(function.config_read(0x50, 4), 101U);
  EXPECT_EQ(function.config_read(0x54, 4), 0U);
  EXPECT_EQ(reads, 1U);
}

TEST_F(PciFunctionTest, StateCarriesMappingsAndInterrupt) {
  ASSERT_TRUE(function.add_bar(0, BarKind::kMemory32, region(0x1000)));
  function.config_write(0x10, 4, 0xfebd'0000);
  function.command(7);
  function.intx(true);
  TestFunction loaded(rig);
  ASSERT_TRUE(loaded.add_bar(0, BarKind::kMemory32, other_region(0x1000)));
  ASSERT_TRUE(rig.bus.attach(loaded, PciAddress{1, 0}));
  ASSERT_TRUE(test::transfer(function, loaded));
  EXPECT_EQ(rig.read(0xfebd'0000), 0x22U);
  EXPECT_TRUE(rig.wires[0]);
  EXPECT_TRUE(loaded.dma());
}

TEST_F(PciFunctionTest, RefusesTheStateOfAnotherDevice) {
  PciIdentity identity = test::kTestIdentity;
  identity.device_id = 0x1111;
  TestFunction stranger(rig, "stranger", identity);
  const auto result = test::transfer(stranger, function);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().kind(), ErrorKind::kCorrupt);
  TestFunction richer(rig);
  ASSERT_TRUE(richer.add_capability(0x12, 4));
  EXPECT_FALSE(test::transfer(richer, function));
  EXPECT_FALSE(test::transfer(function, richer));
}

TEST_F(PciFunctionTest, BarsMoveWhileOthersRead) {
  ASSERT_TRUE(function.add_bar(0, BarKind::kMemory32, region(0x1000)));
  attach();
  function.command(pci::kCommandMemory);
  std::atomic<bool> stop{false};
  std::atomic<std::uint64_t> bad{0};
  std::thread reader([&] {
    while (!stop.load()) {
      const std::uint64_t value = rig.read(0xe000'0000);
      if (value != 0x11 && value != 0xff) ++bad;
    }
  });
  for (unsigned i = 0; i < 500; ++i) function.config_write(0x10, 4, 0xe000'0000 + (i % 2) * 0x1000);
  stop = true;
  reader.join();
  EXPECT_EQ(bad.load(), 0U);
}

}  // namespace
}  // namespace doppel::hw
