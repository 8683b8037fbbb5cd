#include "hw/pci/msix.h"

#include <gtest/gtest.h>

#include "hw/pci/pci_test_rig.h"

namespace doppel::hw {
namespace {

using Messages = std::vector<MsiMessage>;

constexpr unsigned kAt = 0x40;
constexpr std::uint64_t kBar = 0xfebd'0000;
constexpr std::uint64_t kPba = kBar + 0x800;

struct MsixTest : testing::Test {
  test::PciRig rig;
  test::TestFunction function{rig};

  void SetUp() override {
    ASSERT_TRUE(function.add_msix_bar(1, 5, kAt));
    ASSERT_TRUE(rig.bus.attach(function, PciAddress{1, 0}));
    function.reset();
    function.config_write(0x14, 4, static_cast<std::uint32_t>(kBar));
    function.command(pci::kCommandMaster | pci::kCommandMemory);
  }
  void control(std::uint16_t value) { function.config_write(kAt + 2, 2, value); }
  void write(std::uint64_t address, std::uint32_t value) { rig.memory_space.write({address}, 4, value); }
  void program(unsigned vector, std::uint32_t mask) {
    write(kBar + vector * 16, 0xfee0'0000 + vector * 0x1000);
    write(kBar + vector * 16 + 4, 0);
    write(kBar + vector * 16 + 8, 0x40 + vector);
    write(kBar + vector * 16 + 12, mask);
  }
};

TEST_F(MsixTest, ShowsTableAndPendingBits) {
  EXPECT_EQ(function.config_read(kAt, 4), 0x0004'0011U);
  EXPECT_EQ(function.config_read(kAt + 4, 4), 0x0000'0001U);
  EXPECT_EQ(function.config_read(kAt + 8, 4), 0x0000'0801U);
  control(0xffff);
  EXPECT_EQ(function.config_read(kAt + 2, 2), 0xc004U);
}

TEST_F(MsixTest, EveryVectorIsMaskedAtReset) {
  for (unsigned vector = 0; vector < 5; ++vector) EXPECT_EQ(rig.read(kBar + vector * 16 + 12, 4), 1U);
  program(0, 0);
  function.reset();
  EXPECT_TRUE(function.msix()->masked(0));
  EXPECT_EQ(function.msix()->message(0), MsiMessage{});
}

TEST_F(MsixTest, SendsEachVectorsOwnMessage) {
  control(0x8000);
  program(2, 0);
  program(4, 0);
  EXPECT_TRUE(function.signal(4));
  EXPECT_TRUE(function.signal(2));
  EXPECT_EQ(rig.msi.messages, (Messages{{0xfee0'4000, 0x44}, {0xfee0'2000, 0x42}}));
}

TEST_F(MsixTest, DisabledMeansUseIntx) {
  program(0, 0);
  EXPECT_FALSE(function.signal(0));
}

TEST_F(MsixTest, MaskedVectorIsPendingUntilUnmasked) {
  control(0x8000);
  program(3, 1);
  function.signal(3);
  EXPECT_TRUE(rig.msi.messages.empty());
  EXPECT_EQ(rig.read(kPba, 8), 0x8U);
  write(kBar + 3 * 16 + 12, 0);
  EXPECT_EQ(rig.msi.messages, (Messages{{0xfee0'3000, 0x43}}));
  EXPECT_EQ(rig.read(kPba, 8), 0U);
}

TEST_F(MsixTest, FunctionMaskHoldsAllBack) {
  program(0, 0);
  program(1, 0);
  program(2, 1);
  control(0xc000);
  for (unsigned vector = 0; vector < 3; ++vector) function.signal(vector);
  EXPECT_TRUE(rig.msi.messages.empty());
  EXPECT_EQ(rig.read(kPba, 4), 7U);
  control(0x8000);
  EXPECT_EQ(rig.msi.messages.size(), 2U);
  EXPECT_EQ(rig.read(kPba, 4), 4U);
}

TEST_F(MsixTest, PendingBitsAreReadOnly) {
  write(kPba, 0xffff'ffff);
  EXPECT_EQ(rig.read(kPba, 4), 0U);
}

TEST_F(MsixTest, QuadwordWritesProgramTheTable) {
  rig.memory_space.write({kBar}, 8, 0x0000'0002'fee0'0000);
  rig.memory_space.write({kBar + 8}, 8, 0x0000'0000'0000'0055);
  control(0x8000);
  function.signal(0);
  EXPECT_EQ(rig.msi.messages, (Messages{{0x2'fee0'0000, 0x55}}));
}

TEST_F(MsixTest, HostileTableAccessesStayInside) {
  for (std::uint64_t offset = 0; offset < 0x1000; offset += 3) {
    rig.memory_space.write({kBar + offset}, 8, ~0ULL);
    (void)rig.read(kBar + offset, 8);
  }
  control(0xffff);
  control(0x8000);
  EXPECT_TRUE(function.signal(5000)) << "no such vector, no effect";
  EXPECT_TRUE(rig.msi.messages.empty());
}

TEST_F(MsixTest, StateCarriesTableAndPendingBits) {
  control(0x8000);
  program(1, 1);
  function.signal(1);
  test::PciRig other;
  test::TestFunction loaded{other};
  ASSERT_TRUE(loaded.add_msix_bar(1, 5, kAt));
  ASSERT_TRUE(other.bus.attach(loaded));
  ASSERT_TRUE(test::transfer(function, loaded));
  EXPECT_EQ(other.read(kPba, 4), 2U);
  other.memory_space.write({kBar + 16 + 12}, 4, 0);
  EXPECT_EQ(other.msi.messages, (Messages{{0xfee0'1000, 0x41}}));
}

TEST_F(MsixTest, RefusesATableOfAnotherSize) {
  test::TestFunction smaller{rig};
  ASSERT_TRUE(smaller.add_msix_bar(1, 4, kAt));
  const auto result = test::transfer(function, smaller);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().message(), "the saved MSI-X table has 5 entries, this one 4");
}

TEST_F(MsixTest, RefusesBadLayouts) {
  test::TestFunction fresh{rig};
  EXPECT_FALSE(fresh.add_msix({.vectors = 0}));
  EXPECT_FALSE(fresh.add_msix({.vectors = 2049}));
  EXPECT_FALSE(fresh.add_msix({.vectors = 1, .table_bar = 6}));
  EXPECT_FALSE(fresh.add_msix({.vectors = 1, .table_offset = 4}));
}

TEST_F(MsixTest, LargeTablesGetALargerBar) {
  test::TestFunction large{rig};
  ASSERT_TRUE(large.add_msix_bar(0, 2048));
  large.config_write(0x10, 4, 0xffff'ffff);
  EXPECT_EQ(large.config_read(0x10, 4), 0xffff'0000U);
}

}  // namespace
}  // namespace doppel::hw
