#include "hw/intc/local_apic_timer.h"

#include <gtest/gtest.h>

#include "hw/intc/local_apic_fixture.h"

namespace doppel::hw {
namespace {

using lapic::Register;

constexpr std::uint32_t kPeriodic = 1U << 17U;
constexpr std::uint32_t kDeadline = 2U << 17U;
constexpr std::uint32_t kMasked = 1U << 16U;
constexpr std::uint32_t kByOne = 0xb;

class LocalApicTimerTest : public testing::Test {
 protected:
  LocalApicTimerTest() { cpu.write(Register::kDivide, kByOne); }

  std::uint64_t count() { return cpu.read(Register::kCurrentCount); }
  bool set_deadline(std::uint64_t tsc) { return cpu.apic.write_msr(lapic::kMsrTscDeadline, tsc); }

  event::FakeClock clock;
  ApicBus bus{{}};
  TestCpu cpu{bus, clock, {}};
};

TEST_F(LocalApicTimerTest, OneShot) {
  cpu.write(Register::kLvtTimer, 0x30);
  cpu.write(Register::kInitialCount, 1000);
  EXPECT_EQ(count(), 1000U);
  clock.advance(400);
  EXPECT_EQ(count(), 600U);
  EXPECT_FALSE(cpu.apic.has_interrupt());
  clock.advance(600);
  EXPECT_EQ(count(), 0U);
  EXPECT_EQ(cpu.drain(), Vectors{0x30});
  clock.advance(10'000);
  EXPECT_FALSE(cpu.apic.has_interrupt());
  EXPECT_EQ(cpu.read(Register::kInitialCount), 1000U);
}

TEST_F(LocalApicTimerTest, Periodic) {
  cpu.write(Register::kLvtTimer, 0x30 | kPeriodic);
  cpu.write(Register::kInitialCount, 200'000);
  for (int i = 0; i < 3; ++i) {
    clock.advance(200'000);
    EXPECT_EQ(cpu.drain(), Vectors{0x30});
    EXPECT_EQ(count(), 200'000U);
  }
  clock.advance(50'000);
  EXPECT_EQ(count(), 150'000U);
}

TEST_F(LocalApicTimerTest, DivideConfigurations) {
  const std::uint32_t codes[] = {0xb, 0x0, 0x1, 0x2, 0x3, 0x8, 0x9, 0xa};
  for (unsigned i = 0; i < 8; ++i) {
    cpu.write(Register::kDivide, codes[i] | 0xfffffff4U);
    EXPECT_EQ(cpu.read(Register::kDivide), codes[i]);
    cpu.write(Register::kInitialCount, 1000);
    clock.advance(128 * 500);
    EXPECT_EQ(count(), i == 7 ? 500U : i == 6 ? 0U : 0U) << i;
  }
}

TEST_F(LocalApicTimerTest, NewDividerGoesOnFromTheSameCount) {
  cpu.write(Register::kInitialCount, 1000);
  clock.advance(400);
  cpu.write(Register::kDivide, 0x0);
  EXPECT_EQ(count(), 600U);
  clock.advance(400);
  EXPECT_EQ(count(), 400U);
}

TEST_F(LocalApicTimerTest, MaskedTimerRunsSilently) {
  cpu.write(Register::kLvtTimer, 0x30 | kMasked);
  cpu.write(Register::kInitialCount, 1000);
  clock.advance(500);
  EXPECT_EQ(count(), 500U);
  clock.advance(500);
  EXPECT_EQ(count(), 0U);
  cpu.write(Register::kLvtTimer, 0x30);
  EXPECT_FALSE(cpu.apic.has_interrupt());
}

TEST_F(LocalApicTimerTest, ZeroStops) {
  cpu.write(Register::kLvtTimer, 0x30 | kPeriodic);
  cpu.write(Register::kInitialCount, 1000);
  cpu.write(Register::kInitialCount, 0);
  clock.advance(event::kNsPerSecond);
  EXPECT_FALSE(cpu.apic.has_interrupt());
  EXPECT_EQ(clock.next_deadline_ns(), -1);
}

TEST_F(LocalApicTimerTest, SwitchingBetweenPeriodicAndOneShotKeepsCounting) {
  cpu.write(Register::kLvtTimer, 0x30 | kPeriodic);
  cpu.write(Register::kInitialCount, 200'000);
  clock.advance(300'000);
  cpu.drain();
  cpu.write(Register::kLvtTimer, 0x30);
  EXPECT_EQ(count(), 100'000U);
  clock.advance(100'000);
  EXPECT_EQ(cpu.drain(), Vectors{0x30});
  clock.advance(event::kNsPerSecond);
  EXPECT_FALSE(cpu.apic.has_interrupt());
}

TEST_F(LocalApicTimerTest, AbsurdlyShortPeriodIsThrottled) {
  cpu.write(Register::kLvtTimer, 0x30 | kPeriodic);
  cpu.write(Register::kInitialCount, 1);
  int interrupts = 0;
  for (std::int64_t now = clock.now_ns(), end = now + event::kNsPerMillisecond; now < end;
       now = clock.next_deadline_ns()) {
    clock.advance_to(now);
    interrupts += static_cast<int>(cpu.drain().size());
  }
  EXPECT_LE(interrupts, event::kNsPerMillisecond / LocalApicTimer::kMinimumPeriodNs + 1);
  EXPECT_GE(interrupts, 9);
  EXPECT_EQ(count(), 1U);
}

TEST_F(LocalApicTimerTest, LongestCount) {
  cpu.write(Register::kDivide, 0xa);
  cpu.write(Register::kLvtTimer, 0x30);
  cpu.write(Register::kInitialCount, 0xffffffff);
  EXPECT_EQ(count(), 0xffffffffU);
  clock.advance(128 * 0xfffffffeLL);
  EXPECT_EQ(count(), 1U);
  clock.advance(128);
  EXPECT_EQ(cpu.drain(), Vectors{0x30});
}

TEST_F(LocalApicTimerTest, TscDeadline) {
  cpu.write(Register::kLvtTimer, 0x30 | kDeadline);
  EXPECT_TRUE(set_deadline(2000));  // 1000 ns
  EXPECT_EQ(cpu.apic.read_msr(lapic::kMsrTscDeadline), 2000U);
  EXPECT_EQ(count(), 0U);
  clock.advance(999);
  EXPECT_FALSE(cpu.apic.has_interrupt());
  clock.advance(2);
  EXPECT_EQ(cpu.drain(), Vectors{0x30});
  EXPECT_EQ(cpu.apic.read_msr(lapic::kMsrTscDeadline), 0U);
  clock.advance(event::kNsPerSecond);
  EXPECT_FALSE(cpu.apic.has_interrupt());
}

TEST_F(LocalApicTimerTest, PastTscDeadlineFiresAtOnce) {
  cpu.write(Register::kLvtTimer, 0x30 | kDeadline);
  clock.advance(1000);
  EXPECT_TRUE(set_deadline(5));
  EXPECT_EQ(cpu.drain(), Vectors{0x30});
}

TEST_F(LocalApicTimerTest, TscDeadlineIsDisarmedByZeroAndByOtherModes) {
  cpu.write(Register::kLvtTimer, 0x30 | kDeadline);
  EXPECT_TRUE(set_deadline(2000));
  EXPECT_TRUE(set_deadline(0));
  EXPECT_EQ(clock.next_deadline_ns(), -1);
  EXPECT_TRUE(set_deadline(2000));
  cpu.write(Register::kLvtTimer, 0x30);
  EXPECT_EQ(cpu.apic.read_msr(lapic::kMsrTscDeadline), 0U);
  EXPECT_TRUE(set_deadline(2000)) << "ignored, but no fault";
  EXPECT_EQ(cpu.apic.read_msr(lapic::kMsrTscDeadline), 0U);
  cpu.write(Register::kInitialCount, 100);
  cpu.write(Register::kLvtTimer, 0x30 | kDeadline);
  cpu.write(Register::kInitialCount, 100);
  clock.advance(event::kNsPerSecond);
  EXPECT_FALSE(cpu.apic.has_interrupt());
}

TEST_F(LocalApicTimerTest, FarthestTscDeadlineNeverComes) {
  cpu.write(Register::kLvtTimer, 0x30 | kDeadline);
  EXPECT_TRUE(set_deadline(~0ULL));
  clock.advance(10'000 * event::kNsPerSecond);
  EXPECT_FALSE(cpu.apic.has_interrupt());
  EXPECT_EQ(cpu.apic.read_msr(lapic::kMsrTscDeadline), ~0ULL);
}

TEST_F(LocalApicTimerTest, WrittenTscMovesTheDeadline) {
  cpu.write(Register::kLvtTimer, 0x30 | kDeadline);
  EXPECT_TRUE(set_deadline(10'000));
  cpu.tsc_offset = 8'000;
  cpu.apic.tsc_changed();
  clock.advance(1001);
  EXPECT_EQ(cpu.drain(), Vectors{0x30});
  EXPECT_TRUE(set_deadline(20'000));
  cpu.tsc_offset = 30'000;
  cpu.apic.tsc_changed();
  EXPECT_EQ(cpu.drain(), Vectors{0x30});
}

TEST_F(LocalApicTimerTest, TscThatLagsBehindIsWaitedFor) {
  cpu.tsc_offset = 0 - std::uint64_t{4000};  // will read small numbers late
  cpu.write(Register::kLvtTimer, 0x30 | kDeadline);
  cpu.tsc_offset = 0;
  EXPECT_TRUE(set_deadline(2000));
  cpu.tsc_offset = 0 - std::uint64_t{1900};  // moved behind the APIC's back
  clock.advance(1001);
  EXPECT_FALSE(cpu.apic.has_interrupt());
  clock.advance(2000);
  EXPECT_EQ(cpu.drain(), Vectors{0x30});
}

TEST_F(LocalApicTimerTest, InitStopsTheTimer) {
  cpu.write(Register::kLvtTimer, 0x30 | kPeriodic);
  cpu.write(Register::kInitialCount, 1000);
  cpu.apic.init();
  EXPECT_EQ(clock.next_deadline_ns(), -1);
}

TEST_F(LocalApicTimerTest, SavedDeadlineThatHasPassedFiresAfterLoading) {
  cpu.write(Register::kLvtTimer, 0x30 | kDeadline);
  EXPECT_TRUE(set_deadline(2000));
  state::Writer writer;
  cpu.apic.save(writer);
  cpu.apic.reset();
  clock.advance(5000);
  state::Reader reader(writer.bytes());
  ASSERT_TRUE(cpu.apic.load(reader));
  clock.advance(0);
  EXPECT_EQ(cpu.drain(), Vectors{0x30});
}

}  // namespace
}  // namespace doppel::hw
