#include "hw/pci/pci_bus.h"

#include <gtest/gtest.h>

#include <memory>

#include "hw/pci/pci_test_rig.h"

namespace doppel::hw {
namespace {

using test::PciRig;
using test::TestFunction;
using Edges = std::vector<std::pair<unsigned, bool>>;

struct PciBusTest : testing::Test {
  PciRig rig;
  TestFunction first{rig, "first"};
  TestFunction second{rig, "second"};
};

TEST_F(PciBusTest, AbsentFunctionsReadOnes) {
  EXPECT_EQ(rig.bus.config_read({0, 5, 0}, 0, 4), 0xffff'ffffU);
  EXPECT_EQ(rig.bus.config_read({0, 5, 0}, 0, 2), 0xffffU);
  EXPECT_EQ(rig.bus.config_read({0, 5, 0}, 0, 1), 0xffU);
  EXPECT_EQ(rig.bus.config_read({1, 0, 0}, 0, 4), 0xffff'ffffU);
  rig.bus.config_write({255, 31, 7}, 0xff, 4, 0);
}

TEST_F(PciBusTest, GivesOutTheFirstFreeSlot) {
  ASSERT_TRUE(rig.bus.attach(first, PciAddress{0, 0}));
  EXPECT_EQ(rig.bus.attach(second).value(), (PciAddress{1, 0}));
  EXPECT_EQ(rig.bus.config_read({0, 1, 0}, 0, 2), 0x1234U);
  EXPECT_EQ(second.address(), (PciAddress{1, 0}));
  EXPECT_EQ(rig.bus.functions().size(), 2U);
}

TEST_F(PciBusTest, SaysWhoHasTheSlot) {
  ASSERT_TRUE(rig.bus.attach(first, PciAddress{6, 0}));
  const auto result = rig.bus.attach(second, PciAddress{6, 0});
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().message(), "'second' cannot have 06.0 of bus 'pci.0': 'first' is there");
  EXPECT_EQ(result.error().kind(), ErrorKind::kAlreadyExists);
}

TEST_F(PciBusTest, SaysWhenItIsFull) {
  std::vector<std::unique_ptr<TestFunction>> functions;
  for (unsigned i = 0; i < PciAddress::kDevices; ++i) {
    functions.push_back(std::make_unique<TestFunction>(rig));
    ASSERT_TRUE(rig.bus.attach(*functions.back()));
  }
  const auto result = rig.bus.attach(first);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().message(), "bus 'pci.0' has no free slot for 'first'");
}

TEST_F(PciBusTest, OtherFunctionsNeedAMultifunctionDevice) {
  ASSERT_TRUE(rig.bus.attach(first, PciAddress{4, 0}));
  EXPECT_EQ(rig.bus.attach(second, PciAddress{4, 1}).error().message(),
            "'second' cannot have 04.1: 'first' in that slot is not multifunction=on");
  rig.bus.detach(first);
  ASSERT_TRUE(rig.bus.attach(second, PciAddress{4, 1}));
  EXPECT_EQ(rig.bus.attach(first, PciAddress{4, 0}).error().message(),
            "'first' at 04.0 must be multifunction=on: other functions are in its slot");
  first.set_multifunction(true);
  EXPECT_TRUE(rig.bus.attach(first, PciAddress{4, 0}));
  EXPECT_EQ(rig.bus.config_read({0, 4, 0}, 0x0e, 1), 0x80U);
  EXPECT_EQ(rig.bus.config_read({0, 4, 1}, 0x0e, 1), 0U);
}

TEST_F(PciBusTest, ASlotWithAnyFunctionIsNotFree) {
  ASSERT_TRUE(rig.bus.attach(first, PciAddress{0, 3}));
  EXPECT_EQ(rig.bus.attach(second).value(), (PciAddress{1, 0}));
}

TEST_F(PciBusTest, DestroyedFunctionsLeave) {
  {
    TestFunction passing{rig, "passing"};
    ASSERT_TRUE(rig.bus.attach(passing, PciAddress{9, 0}));
  }
  EXPECT_EQ(rig.bus.at({9, 0}), nullptr);
}

TEST_F(PciBusTest, ADestroyedBusLetsItsFunctionsGo) {
  auto bus = std::make_unique<PciBus>("pci.9", rig.memory, rig.io, rig.lines, bridge_swizzle);
  ASSERT_TRUE(bus->attach(first));
  bus.reset();
  EXPECT_EQ(first.bus(), nullptr);
}

TEST_F(PciBusTest, RoutesPinsAsTheFirmwareExpects) {
  EXPECT_EQ(i440fx_swizzle(1, 0), 0U);
  EXPECT_EQ(i440fx_swizzle(3, 0), 2U);
  EXPECT_EQ(i440fx_swizzle(0, 0), 3U);
  EXPECT_EQ(i440fx_swizzle(31, 3), 1U);
  EXPECT_EQ(bridge_swizzle(3, 2), 1U);
}

TEST_F(PciBusTest, SharedWiresAreOred) {
  ASSERT_TRUE(rig.bus.attach(first, PciAddress{1, 0}));
  ASSERT_TRUE(rig.bus.attach(second, PciAddress{5, 0}));
  first.intx(true);
  second.intx(true);
  first.intx(false);
  EXPECT_TRUE(rig.wires[0]);
  second.intx(false);
  EXPECT_EQ(rig.edges, (Edges{{0, true}, {0, false}}));
}

TEST_F(PciBusTest, RepeatedLevelsCountOnce) {
  rig.bus.set_intx({1, 0}, 0, true);
  rig.bus.set_intx({1, 0}, 0, true);
  rig.bus.set_intx({1, 0}, 4, true);
  rig.bus.set_intx({1, 0}, 0, false);
  EXPECT_EQ(rig.edges, (Edges{{0, true}, {0, false}}));
}

TEST_F(PciBusTest, ResetReachesEveryFunction) {
  ASSERT_TRUE(rig.bus.attach(first));
  ASSERT_TRUE(rig.bus.attach(second));
  rig.bus.reset();
  EXPECT_EQ(first.resets, 1U);
  EXPECT_EQ(second.resets, 1U);
}

}  // namespace
}  // namespace doppel::hw
