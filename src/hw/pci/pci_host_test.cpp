#include "hw/pci/pci_host.h"

#include <gtest/gtest.h>

#include "hw/pci/pci_test_rig.h"

namespace doppel::hw {
namespace {

struct PciHostTest : testing::Test {
  test::PciRig rig;
  test::ConstantPort reset_control{0x02};
  PciHost host{rig.topology, rig.bus, &reset_control};
  test::TestFunction function{rig};

  void SetUp() override {
    rig.io->add(host.address_region(), PciHost::kAddressPort);
    rig.io->add(host.data_region(), PciHost::kDataPort);
    ASSERT_TRUE(rig.bus.attach(function, PciAddress{3, 0}));
    function.config().define<std::uint32_t>(0x40, 0x4433'2211, 0xffff'ffff);
    host.reset();
  }
  void select(std::uint32_t address) { rig.out(0xcf8, 4, address); }
};

TEST_F(PciHostTest, ReadsBytesWordsAndDwords) {
  select(0x8000'1840);
  EXPECT_EQ(rig.in(0xcfc, 4), 0x4433'2211U);
  EXPECT_EQ(rig.in(0xcfc, 2), 0x2211U);
  EXPECT_EQ(rig.in(0xcfe, 2), 0x4433U);
  for (unsigned i = 0; i < 4; ++i) EXPECT_EQ(rig.in(0xcfc + i, 1), 0x11U * (i + 1));
}

TEST_F(PciHostTest, WritesBytesWordsAndDwords) {
  select(0x8000'1840);
  rig.out(0xcfd, 1, 0xaa);
  rig.out(0xcfe, 2, 0xbbcc);
  EXPECT_EQ(rig.in(0xcfc, 4), 0xbbcc'aa11U);
  rig.out(0xcfc, 4, 0x1234'5678);
  EXPECT_EQ(rig.in(0xcfc, 4), 0x1234'5678U);
}

TEST_F(PciHostTest, AddressKeepsOnlyItsBits) {
  select(0xffff'ffff);
  EXPECT_EQ(rig.in(0xcf8, 4), 0x80ff'fffcU);
  host.reset();
  EXPECT_EQ(rig.in(0xcf8, 4), 0U);
}

TEST_F(PciHostTest, NothingHappensWhileDisabled) {
  select(0x0000'1840);
  EXPECT_EQ(rig.in(0xcfc, 4), 0xffff'ffffU);
  rig.out(0xcfc, 4, 0);
  select(0x8000'1840);
  EXPECT_EQ(rig.in(0xcfc, 4), 0x4433'2211U);
}

TEST_F(PciHostTest, AbsentFunctionsReadOnes) {
  select(0x8000'1940);
  EXPECT_EQ(rig.in(0xcfc, 4), 0xffff'ffffU);
  select(0x8001'1840);
  EXPECT_EQ(rig.in(0xcfc, 4), 0xffff'ffffU);
  EXPECT_EQ(rig.in(0xcfc, 2), 0xffffU);
}

TEST_F(PciHostTest, OnlyADwordIsTheAddress) {
  select(0x8000'1840);
  rig.out(0xcf8, 1, 0xff);
  rig.out(0xcf8, 2, 0xffff);
  rig.out(0xcfa, 2, 0xffff);
  EXPECT_EQ(rig.in(0xcf8, 4), 0x8000'1840U);
  EXPECT_EQ(rig.in(0xcf8, 2), 0xffffU);
}

TEST_F(PciHostTest, TheByteAtCf9IsResetControl) {
  select(0x8000'1840);
  EXPECT_EQ(rig.in(0xcf9, 1), 0x02U);
  rig.out(0xcf9, 1, 0x06);
  EXPECT_EQ(reset_control.last_value, 0x06U);
  EXPECT_EQ(reset_control.last_offset, 0U);
  EXPECT_EQ(rig.in(0xcf8, 4), 0x8000'1840U);
}

TEST_F(PciHostTest, ADwordAcrossCf9DoesNotReset) {
  rig.out(0xcf8, 4, 0x0000'0600);
  EXPECT_EQ(reset_control.last_value, 0U);
}

TEST_F(PciHostTest, UnalignedAccessesAreHarmless) {
  select(0x8000'18fc);
  for (std::uint64_t port = 0xcf0; port < 0xd08; ++port) {
    if (port >= 0xcf5 && port <= 0xcfb) continue;  // would write address or reset control
    for (const unsigned size : {1U, 2U, 4U}) {
      (void)rig.in(port, size);
      rig.out(port, size, 0xffff'ffff);
    }
  }
  rig.out(0xcf9, 4, 0xffff'ffff);
  rig.out(0xcf9, 2, 0xffff);
  EXPECT_EQ(rig.in(0xcf8, 4), 0x8000'18fcU);
  select(0x8000'1840);
  EXPECT_EQ(rig.in(0xcfd, 2), 0x3322U);
}

TEST_F(PciHostTest, StateCarriesTheAddress) {
  select(0x8000'1840);
  PciHost loaded(rig.topology, rig.bus, nullptr);
  ASSERT_TRUE(test::transfer(host, loaded));
  rig.io->remove(host.address_region());
  rig.io->add(loaded.address_region(), PciHost::kAddressPort);
  EXPECT_EQ(rig.in(0xcf8, 4), 0x8000'1840U);
  EXPECT_EQ(rig.in(0xcf9, 1), 0xffU) << "without a reset control register";
}

}  // namespace
}  // namespace doppel::hw
