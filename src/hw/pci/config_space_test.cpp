#include "hw/pci/config_space.h"

#include <gtest/gtest.h>

namespace doppel::hw {
namespace {

TEST(ConfigSpace, IsReadOnlyZeroesAtFirst) {
  ConfigSpace space;
  space.write(0x40, 4, 0xffff'ffff);
  EXPECT_EQ(space.read(0x40, 4), 0U);
}

TEST(ConfigSpace, WritesOnlyWritableBits) {
  ConfigSpace space;
  space.define<std::uint16_t>(0x40, 0x8001, 0x00f0);
  space.write(0x40, 2, 0xffff);
  EXPECT_EQ(space.read(0x40, 2), 0x80f1U);
  space.write(0x40, 2, 0);
  EXPECT_EQ(space.read(0x40, 2), 0x8001U);
}

TEST(ConfigSpace, ClearsBitsByWritingOnes) {
  ConfigSpace space;
  space.define<std::uint16_t>(0x06, 0, 0, 0xf900);
  space.set<std::uint16_t>(0x06, 0xf910);
  space.write(0x06, 2, 0x8010);
  EXPECT_EQ(space.read(0x06, 2), 0x7910U);
  space.write(0x07, 1, 0xff);
  EXPECT_EQ(space.read(0x06, 2), 0x0010U);
}

TEST(ConfigSpace, AccessesMayCrossRegisters) {
  ConfigSpace space;
  space.define<std::uint8_t>(0x41, 0x11, 0xff);
  space.define<std::uint16_t>(0x42, 0x2233, 0x0ff0);
  space.write(0x40, 4, 0xffff'ffff);
  EXPECT_EQ(space.read(0x40, 4), 0x2ff3'ff00U);
  EXPECT_EQ(space.read(0x41, 2), 0xf3ffU);
}

TEST(ConfigSpace, BeyondTheEndReadsOnesAndDropsWrites) {
  ConfigSpace space;
  space.define<std::uint8_t>(0xff, 0x12, 0xff);
  EXPECT_EQ(space.read(0xfe, 4), 0xffff'1200U);
  space.write(0xff, 4, 0xaabb'ccdd);
  EXPECT_EQ(space.read(0xff, 1), 0xddU);
  EXPECT_EQ(space.read(0x1000, 4), 0xffff'ffffU);
  space.write(0x1000, 4, 0);
}

TEST(ConfigSpace, ResetRestoresDefinedValues) {
  ConfigSpace space;
  space.define<std::uint32_t>(0x10, 0x8, 0xffff'f000);
  space.write(0x10, 4, 0xfebd'0000);
  space.set<std::uint8_t>(0x80, 7);
  space.reset();
  EXPECT_EQ(space.read(0x10, 4), 0x8U);
  EXPECT_EQ(space.read(0x80, 1), 0U);
}

}  // namespace
}  // namespace doppel::hw
