#include "hw/intc/i8259.h"

#include <gtest/gtest.h>

#include <vector>

namespace doppel::hw {
namespace {

constexpr std::uint8_t kEoi = 0x20;
constexpr std::uint8_t kSpecificEoi = 0x60;

class I8259Test : public testing::Test {
 protected:
  I8259Test() {
    initialise();
    unmask_all();
  }

  void command(bool slave, std::uint8_t value) {
    (slave ? pair.slave_ports() : pair.master_ports()).write(0, 1, value);
  }
  void data(bool slave, std::uint8_t value) { (slave ? pair.slave_ports() : pair.master_ports()).write(1, 1, value); }
  std::uint64_t read_command(bool slave) { return (slave ? pair.slave_ports() : pair.master_ports()).read(0, 1); }
  std::uint64_t read_data(bool slave) { return (slave ? pair.slave_ports() : pair.master_ports()).read(1, 1); }
  std::uint64_t isr(bool slave) {
    command(slave, 0x0b);
    return read_command(slave);
  }
  std::uint64_t irr(bool slave) {
    command(slave, 0x0a);
    return read_command(slave);
  }

  /// As PC firmware and systems do, vectors 0x20 and 0x28.
  void initialise(std::uint8_t master_icw4 = 0x01) {
    command(false, 0x11);
    data(false, 0x20);
    data(false, 0x04);
    data(false, master_icw4);
    command(true, 0x11);
    data(true, 0x28);
    data(true, 0x02);
    data(true, 0x01);
  }
  void unmask_all() {
    data(false, 0);
    data(true, 0);
  }
  void pulse(unsigned pin) {
    pair.set_irq(pin, true);
    pair.set_irq(pin, false);
  }

  bool intr = false;
  IrqFunction sink{[this](unsigned, bool level) { intr = level; }};
  I8259Pair pair{{&sink, 0}, {}};
};

TEST_F(I8259Test, DeliversAnEdgeOnce) {
  pair.set_irq(1, true);
  EXPECT_TRUE(intr);
  EXPECT_EQ(pair.acknowledge(), 0x21);
  EXPECT_FALSE(intr);
  EXPECT_EQ(isr(false), 0x02U);
  command(false, kEoi);
  EXPECT_EQ(isr(false), 0U);
  EXPECT_FALSE(intr) << "the line is still high, but that is no new edge";
  pair.set_irq(1, false);
  pair.set_irq(1, true);
  EXPECT_TRUE(intr);
}

TEST_F(I8259Test, SilentUntilInitialised) {
  pair.reset();
  pair.set_irq(0, true);
  EXPECT_FALSE(intr);
  command(false, 0x11);
  data(false, 0x20);
  data(false, 0x04);
  pulse(1);
  EXPECT_FALSE(intr) << "ICW4 is missing";
  data(false, 0x01);
  EXPECT_TRUE(intr);
}

TEST_F(I8259Test, HigherPriorityInterruptsLower) {
  pulse(4);
  EXPECT_EQ(pair.acknowledge(), 0x24);
  pulse(5);
  EXPECT_FALSE(intr);
  pulse(3);
  EXPECT_TRUE(intr);
  EXPECT_EQ(pair.acknowledge(), 0x23);
  command(false, kEoi);
  EXPECT_EQ(isr(false), 0x10U) << "the non-specific EOI ends the most urgent one";
  command(false, kEoi);
  EXPECT_TRUE(intr);
  EXPECT_EQ(pair.acknowledge(), 0x25);
}

TEST_F(I8259Test, MaskHoldsBackAndKeepsTheRequest) {
  data(false, 0x02);
  EXPECT_EQ(read_data(false), 0x02U);
  pulse(1);
  EXPECT_FALSE(intr);
  EXPECT_EQ(irr(false), 0x02U);
  data(false, 0);
  EXPECT_TRUE(intr);
}

TEST_F(I8259Test, CascadeNeedsBothEois) {
  pulse(8);
  EXPECT_EQ(pair.acknowledge(), 0x28);
  EXPECT_EQ(isr(false), 0x04U);
  EXPECT_EQ(isr(true), 0x01U);
  pulse(9);
  command(true, kEoi);
  EXPECT_FALSE(intr) << "the master still serves pin 2";
  command(false, kEoi);
  EXPECT_TRUE(intr);
  EXPECT_EQ(pair.acknowledge(), 0x29);
}

TEST_F(I8259Test, EoisInReverseOrder) {
  pulse(8);
  pulse(9);
  EXPECT_EQ(pair.acknowledge(), 0x28);
  command(false, kEoi);
  EXPECT_FALSE(intr);
  command(true, kEoi);
  EXPECT_TRUE(intr);
  EXPECT_EQ(pair.acknowledge(), 0x29);
}

TEST_F(I8259Test, LevelLineFiresUntilItDrops) {
  pair.elcr_ports().write(1, 1, 0x08);  // pin 11
  pair.set_irq(11, true);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(pair.acknowledge(), 0x2b);
    command(true, kEoi);
    command(false, kEoi);
    EXPECT_TRUE(intr);
  }
  EXPECT_EQ(pair.acknowledge(), 0x2b);
  pair.set_irq(11, false);
  command(true, kEoi);
  command(false, kEoi);
  EXPECT_FALSE(intr);
}

TEST_F(I8259Test, ElcrRefusesTheFixedPins) {
  pair.elcr_ports().write(0, 1, 0xff);
  pair.elcr_ports().write(1, 1, 0xff);
  EXPECT_EQ(pair.elcr_ports().read(0, 1), 0xf8U);
  EXPECT_EQ(pair.elcr_ports().read(1, 1), 0xdeU);
}

TEST_F(I8259Test, SpuriousOnTheMaster) {
  pair.elcr_ports().write(0, 1, 0x20);
  pair.set_irq(5, true);
  pair.set_irq(5, false);
  EXPECT_FALSE(intr);
  EXPECT_EQ(pair.acknowledge(), 0x27);
  EXPECT_EQ(isr(false), 0U) << "a spurious interrupt is not in service";
}

TEST_F(I8259Test, SpuriousOnTheSlaveLeavesTheMasterInService) {
  pair.elcr_ports().write(1, 1, 0x08);
  pair.set_irq(11, true);
  pair.set_irq(11, false);
  EXPECT_EQ(pair.acknowledge(), 0x2f);
  EXPECT_EQ(isr(true), 0U);
  EXPECT_EQ(isr(false), 0x04U);
}

TEST_F(I8259Test, SpecificEoiEndsThatOne) {
  pulse(4);
  pair.acknowledge();
  pulse(2 + 1);
  pair.acknowledge();
  command(false, kSpecificEoi | 4);
  EXPECT_EQ(isr(false), 0x08U);
}

TEST_F(I8259Test, AutoEoiLeavesNothingInService) {
  initialise(0x03);
  unmask_all();
  pulse(3);
  pulse(4);
  EXPECT_EQ(pair.acknowledge(), 0x23);
  EXPECT_EQ(isr(false), 0U);
  EXPECT_TRUE(intr);
  EXPECT_EQ(pair.acknowledge(), 0x24);
}

TEST_F(I8259Test, AutoEoiGoesOnWithTheSlavesNext) {
  initialise(0x03);
  command(true, 0x11);
  for (const unsigned icw : {0x28U, 0x02U, 0x03U}) data(true, static_cast<std::uint8_t>(icw));
  unmask_all();
  pulse(9);
  pulse(10);
  EXPECT_EQ(pair.acknowledge(), 0x29);
  EXPECT_TRUE(intr);
  EXPECT_EQ(pair.acknowledge(), 0x2a);
  EXPECT_FALSE(intr);
}

TEST_F(I8259Test, RotateOnAutoEoi) {
  initialise(0x03);
  unmask_all();
  command(false, 0x80);
  pulse(3);
  pair.acknowledge();
  pulse(3);
  pulse(4);
  EXPECT_EQ(pair.acknowledge(), 0x24) << "3 has become the lowest";
  command(false, 0x00);
  pulse(5);
  EXPECT_EQ(pair.acknowledge(), 0x25);
  EXPECT_EQ(pair.acknowledge(), 0x23);
}

TEST_F(I8259Test, RotateOnEoiMakesTheServedOneLowest) {
  pulse(3);
  pair.acknowledge();
  command(false, 0xa0);
  EXPECT_EQ(isr(false), 0U);
  pulse(3);
  pulse(4);
  EXPECT_EQ(pair.acknowledge(), 0x24);
}

TEST_F(I8259Test, SetPriorityAndRotateOnSpecificEoi) {
  command(false, 0xc5);  // 5 lowest, 6 highest
  pulse(0);
  pulse(6);
  EXPECT_EQ(pair.acknowledge(), 0x26);
  command(false, 0xe6);  // end 6, which becomes lowest
  pulse(7);
  pulse(6);
  EXPECT_EQ(pair.acknowledge(), 0x27);
  command(false, kEoi);
  EXPECT_EQ(pair.acknowledge(), 0x20);
}

TEST_F(I8259Test, SpecialMaskLetsLowerOnesThrough) {
  pulse(3);
  pair.acknowledge();
  pulse(6);
  EXPECT_FALSE(intr);
  data(false, 0x08);
  command(false, 0x68);
  EXPECT_TRUE(intr);
  EXPECT_EQ(pair.acknowledge(), 0x26);
  command(false, kEoi);
  EXPECT_EQ(isr(false), 0x08U) << "the non-specific EOI skips a masked one";
  command(false, 0x48);
  command(false, kEoi);
  EXPECT_EQ(isr(false), 0U);
}

TEST_F(I8259Test, SpecialFullyNestedLetsTheSlaveInterruptItself) {
  initialise(0x11);
  unmask_all();
  pulse(12);
  EXPECT_EQ(pair.acknowledge(), 0x2c);
  pulse(9);
  EXPECT_TRUE(intr);
  EXPECT_EQ(pair.acknowledge(), 0x29);
  pulse(14);
  EXPECT_FALSE(intr);
  pulse(3);
  EXPECT_FALSE(intr) << "pin 2 is in service and comes before 3";
}

TEST_F(I8259Test, PollTakesTheInterrupt) {
  pulse(4);
  command(false, 0x0c);
  EXPECT_EQ(read_command(false), 0x84U);
  EXPECT_FALSE(intr);
  EXPECT_EQ(isr(false), 0x10U);
  command(false, 0x0c);
  EXPECT_EQ(read_command(false), 0U);
  command(true, 0x0c);
  EXPECT_EQ(read_data(true), 0U);
  EXPECT_EQ(read_data(true), 0U) << "the poll is over, this is the mask";
}

TEST_F(I8259Test, Icw1StartsOverButKeepsLevels) {
  pair.elcr_ports().write(0, 1, 0x20);
  pair.set_irq(3, true);
  pair.set_irq(5, true);
  pair.acknowledge();
  data(false, 0xff);
  initialise();
  EXPECT_EQ(read_data(false), 0U);
  EXPECT_EQ(isr(false), 0U);
  EXPECT_EQ(irr(false), 0x20U) << "the edge is forgotten, the level is not";
  EXPECT_EQ(pair.acknowledge(), 0x25);
}

TEST_F(I8259Test, SingleModeSkipsIcw3) {
  command(false, 0x12);
  data(false, 0x47);
  pulse(1);
  EXPECT_EQ(pair.acknowledge(), 0x41) << "the low bits of ICW2 do not count";
}

TEST_F(I8259Test, OddPinsAndSizesAreDropped) {
  pair.set_irq(2, true);
  pair.set_irq(16, true);
  pair.set_irq(~0U, true);
  EXPECT_FALSE(intr);
  EXPECT_EQ(pair.master_ports().read(2, 1), 0xffU);
  EXPECT_EQ(pair.master_ports().read(0, 4), 0xffffffffU);
  EXPECT_EQ(pair.elcr_ports().read(7, 2), 0xffffU);
  pair.master_ports().write(5, 1, 0x11);
  pair.elcr_ports().write(0, 8, 0xff);
  EXPECT_EQ(pair.elcr_ports().read(0, 1), 0U);
}

TEST_F(I8259Test, SavesAndLoads) {
  pulse(4);
  pair.acknowledge();
  pulse(9);
  pulse(1);
  data(true, 0x80);
  state::Writer writer;
  pair.save(writer);

  bool other_intr = false;
  IrqFunction other_sink{[&](unsigned, bool level) { other_intr = level; }};
  I8259Pair other({&other_sink, 0}, {});
  state::Reader reader(writer.bytes());
  ASSERT_TRUE(other.load(reader));
  EXPECT_TRUE(other_intr);
  EXPECT_EQ(other.slave_ports().read(1, 1), 0x80U);
  EXPECT_EQ(other.acknowledge(), 0x21);
  other.master_ports().write(0, 1, kEoi);
  EXPECT_EQ(other.acknowledge(), 0x29);
}

TEST_F(I8259Test, RefusesAnImpossibleState) {
  I8259PairState state;
  state.chips[1].lowest_priority = 9;
  state::Writer writer;
  state::save(writer, state);
  state::Reader reader(writer.bytes());
  EXPECT_EQ(pair.load(reader).error().kind(), ErrorKind::kCorrupt);
}

}  // namespace
}  // namespace doppel::hw
