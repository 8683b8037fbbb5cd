#include "vm/accelerator_irqs.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>

#include "hw/intc/apic_message.h"
#include "vm/fake_accelerator.h"

namespace doppel::vm {
namespace {

using Target = accel::IrqRoute::Target;

TEST(PcIrqRoutes, IsaInterruptsReachBothControllersAndTheTimerPinTwo) {
  const auto routes = pc_irq_routes();
  const auto pin = [&](std::uint32_t gsi, Target target) {
    const auto found = std::ranges::find_if(
        routes, [&](const accel::IrqRoute& route) { return route.gsi == gsi && route.target == target; });
    return found == routes.end() ? -1 : static_cast<int>(found->pin);
  };
  EXPECT_EQ(pin(0, Target::kPicMaster), 0);
  EXPECT_EQ(pin(0, Target::kIoapic), 2);
  EXPECT_EQ(pin(4, Target::kPicMaster), 4);
  EXPECT_EQ(pin(4, Target::kIoapic), 4);
  EXPECT_EQ(pin(9, Target::kPicSlave), 1);
  EXPECT_EQ(pin(23, Target::kIoapic), 23);
  EXPECT_EQ(pin(16, Target::kPicMaster), -1);
  EXPECT_TRUE(std::ranges::none_of(routes, [](const auto& route) { return route.gsi == 2; })) << "the cascade";
  EXPECT_EQ(routes.size(), 15U + 23U);
}

class AcceleratorIrqsTest : public testing::Test {
 protected:
  FakeHost host_;
  FakeVm vm_{host_};
};

TEST_F(AcceleratorIrqsTest, LinesAndMessagesPassThrough) {
  AcceleratorIrqs irqs(vm_, accel::IrqchipMode::kKernel, {});
  irqs.set_irq(4, true);
  irqs.set_irq(4, false);
  irqs.set_irq(99, true);  // refused, and only logged
  irqs.signal(0xfee00000, 0x8041);
  ASSERT_EQ(host_.irq_lines.size(), 3U);
  EXPECT_EQ(host_.irq_lines[0], (std::pair<std::uint32_t, bool>{4, true}));
  EXPECT_EQ(host_.messages, (std::vector<accel::MsiMessage>{{0xfee00000, 0x8041}}));
  EXPECT_EQ(host_.routings, 0U);
}

TEST_F(AcceleratorIrqsTest, SplitModeHearsOfTheEndOfLevelTriggeredMessages) {
  AcceleratorIrqs irqs(vm_, accel::IrqchipMode::kSplit, {});
  irqs.signal(0xfee00000, 0x41);  // an edge needs no end
  EXPECT_EQ(host_.routings, 0U);
  const hw::MsiWrite level =
      hw::encode_msi({.destination = 1, .trigger_mode = hw::TriggerMode::kLevel, .vector = 0x51});
  for (int i = 0; i < 3; ++i) irqs.signal(level.address, level.data);
  EXPECT_EQ(host_.routings, 1U) << "once per message";
  ASSERT_EQ(host_.routes.size(), 1U);
  EXPECT_EQ(host_.routes[0].target, Target::kMsi);
  EXPECT_LT(host_.routes[0].gsi, 24U);
  EXPECT_EQ(host_.routes[0].msi, (accel::MsiMessage{level.address, level.data}));
  EXPECT_EQ(host_.messages.size(), 4U);
}

TEST_F(AcceleratorIrqsTest, TheLastTwentyFourMessagesAreKept) {
  AcceleratorIrqs irqs(vm_, accel::IrqchipMode::kSplit, {});
  for (std::uint32_t vector = 0x30; vector < 0x30 + 40; ++vector) irqs.signal(0xfee00000, 0xc000 | vector);
  ASSERT_EQ(host_.routes.size(), 24U);
  std::vector<std::uint32_t> data;
  std::vector<std::uint32_t> gsis;
  for (const accel::IrqRoute& route : host_.routes) {
    data.push_back(route.msi.data & 0xff);
    gsis.push_back(route.gsi);
  }
  std::ranges::sort(data);
  std::ranges::sort(gsis);
  EXPECT_EQ(data.front(), 0x30U + 16);
  EXPECT_EQ(data.back(), 0x30U + 39);
  for (std::uint32_t gsi = 0; gsi < 24; ++gsi) EXPECT_EQ(gsis[gsi], gsi);
}

/// How often the event of GSI was signalled since the last time.
std::uint64_t signals(const FakeHost& host, std::uint32_t gsi) {
  std::uint64_t count = 0;
  if (host.irqfds.contains(gsi) && ::read(host.irqfds.at(gsi), &count, sizeof count) != sizeof count) return 0;
  return count;
}

TEST_F(AcceleratorIrqsTest, AMessageThatComesOftenGoesByEvent) {
  AcceleratorIrqs irqs(vm_, accel::IrqchipMode::kKernel, {}, true);
  for (unsigned i = 0; i < MsiEvents::kSentBefore; ++i) irqs.signal(0xfee00000, 0x41);
  irqs.signal(0xfee01000, 0x42);
  EXPECT_EQ(host_.messages.size(), MsiEvents::kSentBefore + 1U);
  EXPECT_TRUE(host_.irqfds.empty());
  for (int i = 0; i < 3; ++i) irqs.signal(0xfee00000, 0x41);
  EXPECT_EQ(host_.messages.size(), MsiEvents::kSentBefore + 1U);
  ASSERT_EQ(host_.irqfds.size(), 1U);
  EXPECT_EQ(host_.irqfds.begin()->first, 24U);
  EXPECT_EQ(signals(host_, 24), 3U);
  EXPECT_EQ(host_.routings, 1U);
  ASSERT_EQ(host_.routes.size(), pc_irq_routes().size() + 1);  // the wires have theirs still
  EXPECT_EQ(host_.routes.back().gsi, 24U);
  EXPECT_EQ(host_.routes.back().msi, (accel::MsiMessage{0xfee00000, 0x41}));
}

TEST_F(AcceleratorIrqsTest, EventsAndLevelTriggeredMessagesShareTheTable) {
  AcceleratorIrqs irqs(vm_, accel::IrqchipMode::kSplit, {}, true);
  for (unsigned i = 0; i <= MsiEvents::kSentBefore; ++i) {
    irqs.signal(0xfee00000, 0x41);
    irqs.signal(0xfee00000, 0xc051);
  }
  EXPECT_EQ(host_.messages.size(), 2 * MsiEvents::kSentBefore + 1U);  // the level's each time
  ASSERT_EQ(host_.routes.size(), 2U);
  EXPECT_EQ(host_.routes[0].gsi, 0U);
  EXPECT_EQ(host_.routes[0].msi.data, 0xc051U);
  EXPECT_EQ(host_.routes[1].gsi, 24U);
  EXPECT_EQ(host_.routes[1].msi.data, 0x41U);
}

/// A guest that never stops thinking of new messages.
TEST_F(AcceleratorIrqsTest, TheMessageLongestUnusedMakesRoom) {
  AcceleratorIrqs irqs(vm_, accel::IrqchipMode::kKernel, {}, true);
  const auto send_often = [&](std::uint32_t data) {
    for (unsigned i = 0; i <= MsiEvents::kSentBefore; ++i) irqs.signal(0xfee00000, data);
  };
  const auto most = static_cast<std::uint32_t>(MsiEvents::kMostMessages);
  for (std::uint32_t data = 0; data < most; ++data) send_often(data);
  irqs.signal(0xfee00000, 0);  // used again, by its event
  EXPECT_EQ(host_.irqfds.size(), most);
  host_.messages.clear();
  irqs.signal(0xfee00000, 0x1000);
  EXPECT_EQ(host_.irqfds.size(), most - 1);
  EXPECT_FALSE(host_.irqfds.contains(25));  // of message 1
  irqs.signal(0xfee00000, 1);
  EXPECT_EQ(host_.messages.size(), 2U);
  send_often(0x1000);
  EXPECT_EQ(host_.routes.size(), pc_irq_routes().size() + host_.irqfds.size());
  for (std::uint32_t data = 0x2000; data < 0x2000 + 3 * most; ++data) irqs.signal(0xfee00000, data);
  EXPECT_TRUE(host_.irqfds.empty());
}

TEST_F(AcceleratorIrqsTest, AnAcceleratorThatRefusesIsNotAskedAgain) {
  host_.refuses_irqfds = true;
  AcceleratorIrqs irqs(vm_, accel::IrqchipMode::kKernel, {}, true);
  for (unsigned i = 0; i < 3 * MsiEvents::kSentBefore; ++i) irqs.signal(0xfee00000, 0x41);
  EXPECT_EQ(host_.messages.size(), 3U * MsiEvents::kSentBefore);
  EXPECT_EQ(host_.routings, 1U);
}

TEST_F(AcceleratorIrqsTest, EndsWithNoEventLeft) {
  {
    AcceleratorIrqs irqs(vm_, accel::IrqchipMode::kKernel, {}, true);
    for (unsigned i = 0; i <= MsiEvents::kSentBefore; ++i) irqs.signal(0xfee00000, 0x41);
    EXPECT_EQ(host_.irqfds.size(), 1U);
  }
  EXPECT_TRUE(host_.irqfds.empty());
}

}  // namespace
}  // namespace doppel::vm
