#include "hw/machine/interrupt_board.h"

#include <gtest/gtest.h>

#include "hw/machine/machine_test_rig.h"

namespace doppel::hw {
namespace {

class InterruptBoardTest : public testing::Test {
 protected:
  void create(Irqchip irqchip) {
    rig_ = std::make_unique<MachineRig>(irqchip);
    parts_.emplace(rig_->parts());
    map_.emplace(rig_->topology, rig_->ports);
    auto board = InterruptBoard::create(*parts_, *map_);
    ASSERT_TRUE(board) << board.error().describe();
    board_ = std::move(*board);
  }
  [[nodiscard]] std::vector<std::string> device_names() {
    std::vector<std::string> names;
    for (const Device* device : board_->devices()) names.emplace_back(device->name());
    return names;
  }
  void enable_apic(std::size_t cpu) { board_->local_apic(cpu)->write(0xf0, 4, 0x1ff); }

  std::unique_ptr<MachineRig> rig_;
  std::optional<MachineParts> parts_;
  std::optional<PortMap> map_;
  std::unique_ptr<InterruptBoard> board_;
};

// ---- All chips in the accelerator

TEST_F(InterruptBoardTest, WithTheAcceleratorsChipsEverythingPassesThrough) {
  create(Irqchip::kKernel);
  EXPECT_TRUE(board_->devices().empty());
  EXPECT_EQ(board_->pic(), nullptr);
  EXPECT_EQ(board_->local_apic(0), nullptr);
  board_->set_irq(0, true);
  board_->set_irq(17, true);
  board_->set_irq(17, false);
  EXPECT_EQ(rig_->accelerator.levels, (std::map<unsigned, bool>{{0, true}, {17, false}}));
  board_->signal(0xfee00000, 0x41);
  EXPECT_EQ(rig_->accelerator.messages.size(), 1U);
  board_->end_of_interrupt(0x41);  // nobody's business here
  EXPECT_EQ(rig_->in(0x21), 0xffU) << "no 8259 of ours";
  EXPECT_FALSE(map_->reserve("x", 0x21, 1)) << "but its ports are taken";
}

// ---- Local APICs in the accelerator

TEST_F(InterruptBoardTest, SplitThePicAsksTheAccelerator) {
  create(Irqchip::kSplit);
  EXPECT_EQ(device_names().size(), 2U);
  EXPECT_EQ(board_->local_apic(0), nullptr);
  rig_->set_up_pics();
  board_->set_irq(4, true);
  EXPECT_TRUE(rig_->accelerator.levels[100]);
  EXPECT_EQ(board_->pic()->acknowledge(), 0x0c);
  EXPECT_FALSE(rig_->accelerator.levels[100]);
}

TEST_F(InterruptBoardTest, SplitTheIoapicSendsMessagesAndHearsOfTheirEnd) {
  create(Irqchip::kSplit);
  rig_->set_redirection(16, 0x8051 | 1ULL << 56U);  // level, to APIC 1
  board_->set_irq(16, true);
  ASSERT_EQ(rig_->accelerator.messages.size(), 1U);
  EXPECT_EQ(rig_->accelerator.messages[0].first, 0xfee01000U);
  EXPECT_EQ(rig_->accelerator.messages[0].second & 0x80ff, 0x8051U);
  board_->end_of_interrupt(0x51);
  EXPECT_EQ(rig_->accelerator.messages.size(), 2U) << "still asserted";
  board_->set_irq(16, false);
  board_->end_of_interrupt(0x51);
  EXPECT_EQ(rig_->accelerator.messages.size(), 2U);
}

// ---- All chips ours

TEST_F(InterruptBoardTest, OursTheTimerIsAtPinTwoAndAtThePic) {
  create(Irqchip::kOff);
  EXPECT_EQ(device_names().size(), 4U);
  EXPECT_EQ(board_->local_apic(2), nullptr);
  enable_apic(0);
  rig_->set_redirection(2, 0x40);
  board_->set_irq(0, true);
  EXPECT_EQ(board_->local_apic(0)->acknowledge(), 0x40);
  board_->set_irq(0, false);
  rig_->set_redirection(0, 0x41);
  board_->set_irq(2, true);  // the cascade is no input
  EXPECT_FALSE(board_->local_apic(0)->has_interrupt());
}

TEST_F(InterruptBoardTest, OursThePicReachesTheBootProcessorByLint0) {
  create(Irqchip::kOff);
  rig_->set_up_pics();
  board_->set_irq(8, true);  // by way of the slave
  ASSERT_TRUE(board_->local_apic(0)->has_interrupt());
  EXPECT_EQ(rig_->cpus[0].interrupts, 1);
  EXPECT_EQ(rig_->cpus[1].interrupts, 0);
  EXPECT_EQ(board_->local_apic(0)->acknowledge(), 0x70);
  EXPECT_FALSE(board_->local_apic(0)->has_interrupt());
}

TEST_F(InterruptBoardTest, OursPciPinsReachTheIoapicAloneAndEndByEoi) {
  create(Irqchip::kOff);
  enable_apic(1);
  rig_->set_redirection(20, 0x8061 | 1ULL << 56U);
  board_->set_irq(20, true);
  LocalApic& apic = *board_->local_apic(1);
  ASSERT_EQ(apic.acknowledge(), 0x61);
  EXPECT_FALSE(apic.has_interrupt());
  apic.end_of_interrupt();
  EXPECT_TRUE(apic.has_interrupt()) << "the line is still high";
  apic.acknowledge();
  board_->set_irq(20, false);
  apic.end_of_interrupt();
  EXPECT_FALSE(apic.has_interrupt());
}

TEST_F(InterruptBoardTest, OursMessagesFindTheirProcessor) {
  create(Irqchip::kOff);
  enable_apic(0);
  enable_apic(1);
  board_->signal(0xfee01000, 0x71);
  EXPECT_FALSE(board_->local_apic(0)->has_interrupt());
  EXPECT_EQ(board_->local_apic(1)->acknowledge(), 0x71);
  board_->signal(0x1000, 0x71);  // no MSI address: dropped
  board_->set_irq(23, true);     // masked
  EXPECT_FALSE(board_->local_apic(1)->has_interrupt());
}

}  // namespace
}  // namespace doppel::hw
