#include "hw/machine/isa_board.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "hw/machine/machine_test_rig.h"

namespace doppel::hw {
namespace {

using testing::HasSubstr;

class IsaBoardTest : public testing::Test {
 protected:
  void create(const IsaBoardConfig& config = {}) {
    auto interrupts = InterruptBoard::create(parts_, map_);
    ASSERT_TRUE(interrupts);
    interrupts_ = std::move(*interrupts);
    auto board = IsaBoard::create(parts_, config, *interrupts_, map_);
    ASSERT_TRUE(board) << board.error().describe();
    board_ = std::move(*board);
    for (Device* device : board_->devices()) device->reset();
  }
  std::string serial_error(IsaSerialConfig config) {
    const auto added = board_->add_serial(std::move(config), nullptr);
    return added ? "" : added.error().describe();
  }

  MachineRig rig_{Irqchip::kKernel};
  MachineParts parts_ = rig_.parts();
  PortMap map_{rig_.topology, rig_.ports};
  std::unique_ptr<InterruptBoard> interrupts_;
  std::unique_ptr<IsaBoard> board_;
};

TEST_F(IsaBoardTest, HasAPcsChipsAtTheirPlaces) {
  create({.cmos = {.ram_below_4g = 64 * kMiB}});
  EXPECT_EQ(rig_.in(0x64) & 0x10, 0x10U) << "8042: keyboard not locked";
  rig_.out(0x70, 0x30);
  EXPECT_EQ(rig_.in(0x71), ((64 - 1) * 1024) & 0xffU) << "CMOS";
  EXPECT_EQ(rig_.load(0xfed00004, 4), 10'000'000U) << "HPET's period in femtoseconds";
  EXPECT_EQ(rig_.in(0x92) & 1U, 0U);
  rig_.out(0x03, 0x12);  // DMA channel 1's count, low and high byte
  rig_.out(0x03, 0x34);
  rig_.out(0x0c, 0);
  EXPECT_EQ(rig_.in(0x03), 0x12U);
  EXPECT_EQ(rig_.in(0x03), 0x34U);
}

TEST_F(IsaBoardTest, ThePitTicksOnInterrupt0) {
  create();
  rig_.out(0x43, 0x34);
  rig_.out(0x40, 0xa9);
  rig_.out(0x40, 0x04);  // 1 kHz
  bool seen = false;
  for (int i = 0; i < 30 && !seen; ++i) {
    rig_.clock.advance(100'000);
    seen = rig_.accelerator.levels.contains(0);
  }
  EXPECT_TRUE(seen);
}

TEST_F(IsaBoardTest, TheHpetTakesOverThePitsAndTheClocksInterrupts) {
  create();
  rig_.out(0x43, 0x34);
  rig_.out(0x40, 0xa9);
  rig_.out(0x40, 0x04);
  rig_.store(0xfed00010, 2, 8);  // legacy replacement, not counting
  rig_.accelerator.levels.clear();
  rig_.clock.advance(50'000'000);
  EXPECT_FALSE(rig_.accelerator.levels[0]);
}

TEST_F(IsaBoardTest, Port92AndTheKeyboardControllerResetTheMachine) {
  create();
  rig_.out(0x92, 0x01);
  EXPECT_EQ(rig_.events.resets, 1);
  rig_.out(0x92, 0x01);  // no rising edge
  EXPECT_EQ(rig_.events.resets, 1);
  rig_.out(0x64, 0xfe);
  EXPECT_EQ(rig_.events.resets, 2);
}

TEST_F(IsaBoardTest, WhatIsLeftOutIsNotThere) {
  create({.pit = false, .rtc = false, .hpet = false, .dma = false, .i8042 = false, .cmos = {}});
  for (const std::uint64_t port : {0x40U, 0x60U, 0x61U, 0x64U, 0x70U, 0x71U, 0x92U, 0x00U})
    EXPECT_EQ(rig_.in(port), 0xffU) << port;
  EXPECT_EQ(rig_.load(0xfed00000, 4), 0xffffffffU);
  EXPECT_EQ(board_->rtc(), nullptr);
  EXPECT_EQ(board_->keyboard_controller(), nullptr);
}

TEST_F(IsaBoardTest, SerialPortsTakeTheStandardPlacesInOrder) {
  create();
  for (int i = 0; i < 4; ++i) EXPECT_EQ(serial_error({}), "");
  ASSERT_EQ(board_->serial_ports().size(), 4U);
  EXPECT_EQ(board_->serial_ports()[0].port, 0x3f8);
  EXPECT_EQ(board_->serial_ports()[0].irq, 4U);
  EXPECT_EQ(board_->serial_ports()[3].port, 0x2e8);
  EXPECT_EQ(board_->serial_ports()[3].irq, 3U);
  EXPECT_NE(serial_error({}), "") << "a fifth";
}

TEST_F(IsaBoardTest, ASerialPortInAnothersPlaceIsRefused) {
  create();
  EXPECT_EQ(serial_error({}), "");
  IsaSerialConfig same;
  same.index = 1;
  same.iobase = 0x3f8;
  EXPECT_THAT(serial_error(same), HasSubstr("overlap"));
  EXPECT_EQ(board_->serial_ports().size(), 1U);
}

}  // namespace
}  // namespace doppel::hw
