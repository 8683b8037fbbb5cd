#include "hw/pci/piix3.h"

#include <gtest/gtest.h>

#include "hw/pci/pci_test_rig.h"

namespace doppel::hw {
namespace {

struct Piix3Test : testing::Test {
  test::PciRig rig;
  std::array<bool, 16> irqs{};
  std::vector<std::pair<unsigned, bool>> edges;
  IrqFunction isa{[this](unsigned irq, bool level) {
    irqs.at(irq) = level;
    edges.emplace_back(irq, level);
  }};
  unsigned hard_resets = 0;
  Piix3 piix3{rig.services(), isa, [this] { ++hard_resets; }};

  void SetUp() override {
    ASSERT_TRUE(rig.bus.attach(piix3, PciAddress{1, 0}));
    piix3.reset();
  }
  void route(unsigned pirq, std::uint8_t value) { piix3.config_write(0x60 + pirq, 1, value); }
};

TEST_F(Piix3Test, IdentifiesItself) {
  EXPECT_EQ(piix3.config_read(0x00, 4), 0x7000'8086U);
  EXPECT_EQ(piix3.config_read(0x0a, 2), 0x0601U);
  EXPECT_EQ(piix3.config_read(0x0e, 1), 0x80U);
  EXPECT_EQ(piix3.config_read(0x04, 2), 0x0007U);
}

TEST_F(Piix3Test, RoutesNothingAfterReset) {
  EXPECT_EQ(piix3.config_read(0x60, 4), 0x8080'8080U);
  piix3.set_irq(0, true);
  EXPECT_TRUE(edges.empty());
}

TEST_F(Piix3Test, RoutesAsProgrammed) {
  piix3.config_write(0x60, 4, 0x0b0b'0a0a);
  piix3.set_irq(0, true);
  EXPECT_TRUE(irqs[10]);
  piix3.set_irq(3, true);
  EXPECT_TRUE(irqs[11]);
  piix3.set_irq(0, false);
  EXPECT_FALSE(irqs[10]);
}

TEST_F(Piix3Test, PirqsThatShareAnIrqAreOred) {
  piix3.config_write(0x60, 4, 0x0a0a'0a0a);
  piix3.set_irq(0, true);
  piix3.set_irq(2, true);
  piix3.set_irq(0, false);
  EXPECT_TRUE(irqs[10]);
  piix3.set_irq(2, false);
  EXPECT_EQ(edges, (std::vector<std::pair<unsigned, bool>>{{10, true}, {10, false}}));
}

TEST_F(Piix3Test, ReroutingMovesAnAssertedInterrupt) {
  route(0, 5);
  piix3.set_irq(0, true);
  route(0, 11);
  EXPECT_FALSE(irqs[5]);
  EXPECT_TRUE(irqs[11]);
  route(0, 0x8b);
  EXPECT_FALSE(irqs[11]);
}

TEST_F(Piix3Test, ReservedIrqsAreNeverDriven) {
  for (unsigned irq = 0; irq < 16; ++irq) {
    route(0, static_cast<std::uint8_t>(irq));
    piix3.set_irq(0, true);
    const bool reserved = irq <= 2 || irq == 8 || irq == 13;
    EXPECT_EQ(irqs.at(irq), !reserved) << irq;
    piix3.set_irq(0, false);
  }
  piix3.set_irq(4, true);
}

TEST_F(Piix3Test, ReservedRouteBitsReadZero) {
  route(1, 0xff);
  EXPECT_EQ(piix3.config_read(0x61, 1), 0x8fU);
}

TEST_F(Piix3Test, ResetControlAsksForAReset) {
  memory::IoHandler& control = piix3.reset_control();
  control.write(0, 1, 0x02);
  EXPECT_EQ(hard_resets, 0U);
  EXPECT_EQ(control.read(0, 1), 0x02U);
  control.write(0, 1, 0x06);
  EXPECT_EQ(hard_resets, 1U);
  EXPECT_EQ(control.read(0, 1), 0x02U);
  piix3.reset();
  EXPECT_EQ(control.read(0, 1), 0U);
}

TEST_F(Piix3Test, ResetDropsTheIrq) {
  route(0, 10);
  piix3.set_irq(0, true);
  piix3.reset();
  EXPECT_FALSE(irqs[10]);
}

TEST_F(Piix3Test, WiredToABusItSharesSlots) {
  PciBus bus{"pci.7", rig.topology.container("m", 0), rig.topology.container("i", 0x10000), piix3, i440fx_swizzle};
  test::TestFunction one{rig};
  test::TestFunction two{rig};
  ASSERT_TRUE(bus.attach(one, PciAddress{3, 0}));
  ASSERT_TRUE(bus.attach(two, PciAddress{7, 0}));
  route(2, 11);
  one.intx(true);
  two.intx(true);
  one.intx(false);
  EXPECT_TRUE(irqs[11]);
  two.intx(false);
  EXPECT_FALSE(irqs[11]);
}

TEST_F(Piix3Test, StateRestoresRouting) {
  route(0, 10);
  piix3.reset_control().write(0, 1, 0x02);
  Piix3 loaded{rig.services(), isa, {}};
  loaded.set_irq(0, true);
  EXPECT_FALSE(irqs[10]);
  ASSERT_TRUE(test::transfer(piix3, loaded));
  EXPECT_TRUE(irqs[10]);
  EXPECT_EQ(loaded.reset_control().read(0, 1), 0x02U);
}

}  // namespace
}  // namespace doppel::hw
