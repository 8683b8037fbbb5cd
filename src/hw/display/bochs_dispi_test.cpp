#include "hw/display/bochs_dispi.h"

#include <gtest/gtest.h>

namespace doppel::hw {
namespace {

TEST(BochsDispi, TellsItsVersionAndMemory) {
  BochsDispi dispi(16U << 20U);
  EXPECT_EQ(dispi.read(dispi::kId), 0xb0c5);
  EXPECT_EQ(dispi.read(dispi::kMemory64k), 256);
  dispi.write(dispi::kId, 0xb0c4);
  EXPECT_EQ(dispi.read(dispi::kId), 0xb0c4);
  dispi.write(dispi::kId, 0x1234);
  EXPECT_EQ(dispi.read(dispi::kId), 0xb0c4);
  EXPECT_EQ(dispi.read(99), 0);
  EXPECT_FALSE(dispi.write(99, 1));
}

TEST(BochsDispi, CapabilitiesHideTheMode) {
  BochsDispi dispi(16U << 20U);
  dispi.write(dispi::kWidth, 1027);
  dispi.write(dispi::kHeight, 768);
  EXPECT_EQ(dispi.read(dispi::kWidth), 1024);
  dispi.write(dispi::kEnable, dispi::kGetCapabilities);
  EXPECT_EQ(dispi.read(dispi::kWidth), dispi::kMostWidth);
  EXPECT_EQ(dispi.read(dispi::kBitsPerPixel), 32);
  dispi.write(dispi::kEnable, 0);
  EXPECT_EQ(dispi.read(dispi::kHeight), 768);
}

TEST(BochsDispi, EnablingBeginsAtTheFirstPixel) {
  BochsDispi dispi(1U << 20U);
  dispi.write(dispi::kWidth, 800);
  dispi.write(dispi::kHeight, 600);
  dispi.write(dispi::kBank, 17);
  EXPECT_EQ(dispi.bank(), 0U);
  dispi.write(dispi::kXOffset, 5);
  EXPECT_TRUE(dispi.write(dispi::kEnable, dispi::kEnabled | dispi::kKeepMemory));
  EXPECT_FALSE(dispi.write(dispi::kEnable, dispi::kEnabled)) << "it was enabled before";
  EXPECT_EQ(dispi.read(dispi::kVirtualWidth), 800);
  EXPECT_EQ(dispi.read(dispi::kXOffset), 0);
  dispi.write(dispi::kBank, 17);
  EXPECT_EQ(dispi.bank(), 0x10000U) << "of 16 banks";
}

TEST(BochsDispi, ImpossibleStatesAreBroughtBack) {
  BochsDispi dispi(1U << 20U);
  BochsDispiState state;
  state.values.fill(0xffff);
  dispi.restore(state);
  EXPECT_EQ(dispi.read(dispi::kId), 0xb0c5);
  EXPECT_LE(dispi.width(), dispi::kMostWidth);
  EXPECT_LT(dispi.bank(), 1U << 20U);
}

}  // namespace
}  // namespace doppel::hw
