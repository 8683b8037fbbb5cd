#include "hw/pci/acpi_pm1.h"

#include <gtest/gtest.h>

#include "event/fake_clock.h"

namespace doppel::hw {
namespace {

constexpr std::int64_t kCarryNs = event::ticks_to_ns(1U << 23U, AcpiPm1::kTimerHz) + 1;

struct AcpiPm1Test : testing::Test {
  event::FakeClock clock;
  unsigned due = 0;
  AcpiPm1 pm1{clock, [this] {
                ++due;
                pm1.update();
              }};
};

TEST_F(AcpiPm1Test, TimerCountsAtItsFrequency) {
  EXPECT_EQ(pm1.read(8, 4), 0U);
  clock.advance(event::kNsPerSecond);
  EXPECT_EQ(pm1.read(8, 4), 3'579'545U);
  EXPECT_EQ(pm1.read(8, 2), 3'579'545U & 0xffffU);
  EXPECT_EQ(pm1.read(10, 1), 3'579'545U >> 16U);
  EXPECT_EQ(pm1.read(11, 1), 0U);
}

TEST_F(AcpiPm1Test, TimerIsTwentyFourBitsWideAndReadOnly) {
  clock.advance(2 * kCarryNs);
  EXPECT_LT(pm1.read(8, 4), 10U);
  pm1.write(8, 4, 0x1234);
  EXPECT_LT(pm1.read(8, 4), 10U);
}

TEST_F(AcpiPm1Test, CarrySetsStatusBothWays) {
  EXPECT_EQ(pm1.read(0, 2), 0U);
  clock.advance(kCarryNs);
  EXPECT_EQ(pm1.read(0, 2), 1U);
  pm1.write(0, 2, 1);
  EXPECT_EQ(pm1.read(0, 2), 0U);
  clock.advance(kCarryNs);
  EXPECT_EQ(pm1.read(0, 2), 1U);
}

TEST_F(AcpiPm1Test, InterruptsOnlyWhenEnabled) {
  clock.advance(kCarryNs);
  EXPECT_EQ(due, 0U);
  EXPECT_FALSE(pm1.event_pending());
  pm1.write(0, 4, 0x0001'0001);
  EXPECT_FALSE(pm1.event_pending());
  clock.advance(kCarryNs);
  EXPECT_EQ(due, 1U);
  EXPECT_TRUE(pm1.event_pending());
  EXPECT_EQ(clock.next_deadline_ns(), -1) << "no need to fire again before the guest answers";
  pm1.write(0, 2, 1);
  EXPECT_FALSE(pm1.event_pending());
  clock.advance(10 * kCarryNs);
  EXPECT_EQ(due, 2U);
}

TEST_F(AcpiPm1Test, PartialWritesTouchTheirBytes) {
  pm1.write(2, 2, 0x0521);
  EXPECT_EQ(pm1.read(2, 2), 0x0521U);
  pm1.write(3, 1, 0);
  EXPECT_EQ(pm1.read(2, 2), 0x0021U);
  pm1.set_status(PmEvent::kPowerButton);
  pm1.set_status(PmEvent::kGlobal);
  pm1.write(1, 1, 0x01);
  EXPECT_EQ(pm1.read(0, 2), 0x0020U);
  pm1.write(2, 2, 0xffff);
  EXPECT_EQ(pm1.read(2, 2), 0x0521U);
}

TEST_F(AcpiPm1Test, SleepEnableReturnsTheTypeAndDoesNotStay) {
  EXPECT_FALSE(pm1.write(4, 2, 0x1401));
  EXPECT_EQ(pm1.read(4, 2), 0x1401U);
  EXPECT_EQ(pm1.write(5, 1, 0x34), 5U);
  EXPECT_EQ(pm1.write(4, 2, 0x2001), 0U);
  EXPECT_EQ(pm1.read(4, 2), 0x0001U);
  EXPECT_EQ(pm1.write(4, 4, 0xffff'ffff), 7U);
  EXPECT_EQ(pm1.read(4, 4), 0x1c03U);
}

TEST_F(AcpiPm1Test, AcpiModeIsSciEnable) {
  EXPECT_FALSE(pm1.acpi_mode());
  pm1.set_acpi_mode(true);
  EXPECT_EQ(pm1.read(4, 2), 1U);
  pm1.write(4, 1, 0);
  EXPECT_FALSE(pm1.acpi_mode());
}

TEST_F(AcpiPm1Test, ResetClearsAllButTheTimer) {
  pm1.write(2, 2, 1);
  pm1.write(4, 2, 1);
  clock.advance(kCarryNs + 1000);
  pm1.reset();
  EXPECT_EQ(pm1.read(0, 4), 0U);
  EXPECT_EQ(pm1.read(4, 2), 0U);
  EXPECT_GT(pm1.read(8, 4), 0U);
  EXPECT_EQ(clock.next_deadline_ns(), -1);
}

TEST_F(AcpiPm1Test, StateIsCleanedOnTheWayIn) {
  pm1.set_state({0xffff, 0xffff, 0xffff});
  EXPECT_EQ(pm1.read(0, 4), 0x0521'8531U);
  EXPECT_EQ(pm1.read(4, 2), 0x1c03U);
}

}  // namespace
}  // namespace doppel::hw
