#include "hw/pci/msi.h"

#include <gtest/gtest.h>

#include "hw/pci/pci_test_rig.h"

namespace doppel::hw {
namespace {

using Messages = std::vector<MsiMessage>;

constexpr unsigned kAt = 0x40;

struct MsiTest : testing::Test {
  test::PciRig rig;
  test::TestFunction function{rig};

  void build(const MsiOptions& options) {
    ASSERT_TRUE(function.add_msi(options, kAt));
    ASSERT_TRUE(rig.bus.attach(function, PciAddress{1, 0}));
    function.reset();
    function.command(pci::kCommandMaster);
  }
  void program_64(std::uint16_t control) {
    function.config_write(kAt + 4, 4, 0xfee0'1003);
    function.config_write(kAt + 8, 4, 0x1);
    function.config_write(kAt + 12, 4, 0x41f8);
    function.config_write(kAt + 2, 2, control);
  }
};

TEST_F(MsiTest, ShowsWhatItOffers) {
  build({.vectors = 8, .address_64 = true, .per_vector_mask = true});
  EXPECT_EQ(function.config_read(kAt, 4), 0x0186'0005U);
  function.config_write(kAt + 2, 2, 0xffff);
  EXPECT_EQ(function.config_read(kAt + 2, 2), 0x01f7U);
  function.config_write(kAt + 0x10, 4, 0xffff'ffff);
  EXPECT_EQ(function.config_read(kAt + 0x10, 4), 0xffU);
  function.config_write(kAt + 0x14, 4, 0xffff'ffff);
  EXPECT_EQ(function.config_read(kAt + 0x14, 4), 0U) << "pending bits are read-only";
}

TEST_F(MsiTest, SizesMatchTheFourLayouts) {
  EXPECT_EQ(MsiCapability::size({1, false, false}), 0x0a);
  EXPECT_EQ(MsiCapability::size({1, true, false}), 0x0e);
  EXPECT_EQ(MsiCapability::size({1, false, true}), 0x14);
  EXPECT_EQ(MsiCapability::size({1, true, true}), 0x18);
}

TEST_F(MsiTest, SaysNoUntilEnabled) {
  build({});
  EXPECT_FALSE(function.signal(0));
  EXPECT_TRUE(rig.msi.messages.empty());
}

TEST_F(MsiTest, SendsToTheProgrammedAddress) {
  build({});
  program_64(1);
  EXPECT_TRUE(function.signal(0));
  EXPECT_EQ(rig.msi.messages, (Messages{{0x1'fee0'1000, 0x41f8}}));
}

TEST_F(MsiTest, ThirtyTwoBitLayout) {
  build({.vectors = 1, .address_64 = false, .per_vector_mask = true});
  function.config_write(kAt + 4, 4, 0xfee0'0000);
  function.config_write(kAt + 8, 2, 0x30);
  function.config_write(kAt + 12, 4, 1);
  function.config_write(kAt + 2, 2, 1);
  function.signal(0);
  EXPECT_TRUE(rig.msi.messages.empty());
  EXPECT_EQ(function.config_read(kAt + 16, 4), 1U);
  function.config_write(kAt + 12, 4, 0);
  EXPECT_EQ(rig.msi.messages, (Messages{{0xfee0'0000, 0x30}}));
}

TEST_F(MsiTest, NumbersMessagesInTheLowBitsOfWhatIsAllocated) {
  build({.vectors = 8});
  program_64(0x0021);  // four of eight
  function.signal(3);
  function.signal(6);
  EXPECT_EQ(rig.msi.messages, (Messages{{0x1'fee0'1000, 0x41fb}, {0x1'fee0'1000, 0x41fa}}));
  program_64(0x0071);  // a reserved count: no more than offered
  function.signal(7);
  EXPECT_EQ(rig.msi.messages.back().data, 0x41ffU);
}

TEST_F(MsiTest, MaskedVectorsWaitAndFireOnce) {
  build({.vectors = 4, .address_64 = true, .per_vector_mask = true});
  program_64(0x0021);
  function.config_write(kAt + 0x10, 4, 0x6);
  function.signal(1);
  function.signal(1);
  function.signal(2);
  function.signal(0);
  EXPECT_EQ(rig.msi.messages.size(), 1U);
  EXPECT_EQ(function.config_read(kAt + 0x14, 4), 0x6U);
  function.config_write(kAt + 0x10, 4, 0x4);
  EXPECT_EQ(rig.msi.messages.size(), 2U);
  EXPECT_EQ(rig.msi.messages.back().data, 0x41f9U);
  EXPECT_EQ(function.config_read(kAt + 0x14, 4), 0x4U);
}

TEST_F(MsiTest, NothingLeavesWithoutBusMastering) {
  build({});
  program_64(1);
  function.command(0);
  EXPECT_TRUE(function.signal(0)) << "still not an INTx matter";
  EXPECT_TRUE(rig.msi.messages.empty());
}

TEST_F(MsiTest, KeepsIntxQuietWhileEnabled) {
  build({});
  function.intx(true);
  EXPECT_TRUE(rig.wires[0]);
  program_64(1);
  EXPECT_FALSE(rig.wires[0]);
  program_64(0);
  EXPECT_TRUE(rig.wires[0]);
}

TEST_F(MsiTest, RefusesOddCounts) {
  EXPECT_FALSE(function.add_msi({.vectors = 3}));
  EXPECT_FALSE(function.add_msi({.vectors = 64}));
  EXPECT_FALSE(function.add_msi({.vectors = 0}));
}

TEST_F(MsiTest, MessagesLeaveAfterTheLockIsDropped) {
  build({.vectors = 2});
  program_64(0x0011);
  {
    const DeviceGuard guard(function);
    function.msi()->signal(0);
    function.msi()->signal(1);
    function.msi()->signal(0);
    EXPECT_TRUE(rig.msi.messages.empty());
  }
  EXPECT_EQ(rig.msi.messages, (Messages{{0x1'fee0'1000, 0x41f8}, {0x1'fee0'1000, 0x41f9}}));
}

}  // namespace
}  // namespace doppel::hw
