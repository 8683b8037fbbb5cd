#include "hw/timer/i8254_counter.h"

#include <gtest/gtest.h>

#include <vector>

namespace doppel::hw {
namespace {

using Tick = I8254Counter::Tick;

constexpr std::uint8_t kLowHigh = 0x30;

/// A counter and its CLK.
class CounterTest : public ::testing::Test {
 protected:
  void program(unsigned mode, std::uint16_t count, bool bcd = false) {
    counter.advance(now);
    counter.control(static_cast<std::uint8_t>(kLowHigh | mode << 1U | (bcd ? 1U : 0U)), now);
    write(count);
  }
  void write(std::uint16_t count) {
    counter.write(static_cast<std::uint8_t>(count), now);
    counter.write(static_cast<std::uint8_t>(count >> 8U), now);
  }
  std::uint16_t count() {
    const std::uint8_t low = counter.read(now);
    return static_cast<std::uint16_t>(counter.read(now) << 8U | low);
  }
  std::uint8_t status() {
    counter.latch_status(now);
    return counter.read(now);
  }
  std::uint64_t pulse(Tick ticks = 1) { return counter.advance(now += ticks); }
  void gate(bool level) {
    counter.advance(now);
    counter.set_gate(level, now);
  }
  /// OUT after each of TICKS pulses, as the data sheet's timing diagrams show it.
  std::string wave(int ticks) {
    std::string levels;
    for (int i = 0; i < ticks; ++i) {
      pulse();
      levels += counter.out(now) ? '-' : '_';
    }
    return levels;
  }

  I8254Counter counter;
  Tick now = 1000;
};

TEST_F(CounterTest, Mode0RisesOnePulseAfterTheCountAndStaysHigh) {
  program(0, 4);
  EXPECT_FALSE(counter.out(now));
  EXPECT_EQ(wave(8), "____----");
  EXPECT_EQ(counter.next_event(now), I8254Counter::kNever);
}

TEST_F(CounterTest, Mode0CountsOnPastZero) {
  program(0, 2);
  pulse(4);
  EXPECT_EQ(count(), 0xffff);
}

TEST_F(CounterTest, Mode0FirstByteOfANewCountStopsAndLowers) {
  program(0, 4);
  pulse(20);
  EXPECT_TRUE(counter.out(now));
  counter.write(3, now);
  EXPECT_FALSE(counter.out(now));
  pulse(20);
  EXPECT_FALSE(counter.out(now));
  counter.write(0, now);
  EXPECT_EQ(wave(5), "___--");
}

TEST_F(CounterTest, Mode0GateHoldsTheCount) {
  program(0, 4);
  pulse(2);
  gate(false);
  EXPECT_EQ(counter.next_event(now), I8254Counter::kNever);
  pulse(100);
  EXPECT_EQ(count(), 3);
  gate(true);
  EXPECT_EQ(wave(4), "__--");
}

TEST_F(CounterTest, Mode1WaitsForTheGateAndCanBeRetriggered) {
  gate(false);
  program(1, 3);
  EXPECT_EQ(wave(3), "---");
  gate(true);
  EXPECT_EQ(wave(2), "__");
  gate(false);
  gate(true);
  EXPECT_EQ(wave(5), "___--");
}

TEST_F(CounterTest, Mode1NewCountServesTheNextTrigger) {
  gate(false);
  program(1, 3);
  gate(true);
  pulse();
  write(5);
  EXPECT_EQ(status() & 0x40, 0x40);
  EXPECT_EQ(wave(3), "__-");
  gate(false);
  gate(true);
  EXPECT_EQ(wave(6), "_____-");
}

TEST_F(CounterTest, Mode2DipsForOnePulseEachPeriod) {
  program(2, 3);
  EXPECT_EQ(wave(9), "--_--_--_");
  EXPECT_EQ(pulse(), 1U);
}

TEST_F(CounterTest, Mode2CountsFromNDownToOne) {
  program(2, 3);
  std::vector<int> counts;
  for (int i = 0; i < 4; ++i) {
    pulse();
    counts.push_back(count());
  }
  EXPECT_EQ(counts, (std::vector{3, 2, 1, 3}));
}

TEST_F(CounterTest, Mode2NewCountWaitsForTheEndOfThePeriod) {
  program(2, 4);
  pulse(2);
  write(2);
  EXPECT_EQ(status() & 0x40, 0x40);
  EXPECT_EQ(wave(7), "-_-_-_-");
  EXPECT_EQ(status() & 0x40, 0);
}

TEST_F(CounterTest, Mode2GateRestartsThePeriod) {
  program(2, 4);
  pulse(2);
  gate(false);
  EXPECT_TRUE(counter.out(now));
  EXPECT_EQ(wave(9), "---------");
  gate(true);
  EXPECT_EQ(wave(5), "---_-");
}

TEST_F(CounterTest, Mode3EvenCountIsASquareWave) {
  program(3, 4);
  EXPECT_EQ(wave(8), "--__--__");
}

TEST_F(CounterTest, Mode3OddCountIsHighOnePulseLonger) {
  program(3, 5);
  EXPECT_EQ(wave(10), "---__---__");
}

TEST_F(CounterTest, Mode3CountsByTwo) {
  program(3, 5);
  std::vector<int> counts;
  for (int i = 0; i < 6; ++i) {
    pulse();
    counts.push_back(count());
  }
  EXPECT_EQ(counts, (std::vector{4, 2, 0, 4, 2, 4}));
}

TEST_F(CounterTest, Mode3NewCountWaitsForTheHalfPeriod) {
  program(3, 4);
  pulse(1);
  write(6);
  EXPECT_EQ(wave(7), "-___---");
  write(4);
  EXPECT_EQ(wave(6), "__--__") << "written in the last pulse of the high half";
}

TEST_F(CounterTest, Mode4StrobesOnce) {
  program(4, 3);
  EXPECT_EQ(wave(6), "---_--");
  EXPECT_EQ(counter.next_event(now), I8254Counter::kNever);
}

TEST_F(CounterTest, Mode5StrobesAfterEachTrigger) {
  gate(false);
  program(5, 2);
  EXPECT_EQ(wave(4), "----");
  for (int i = 0; i < 2; ++i) {
    gate(true);
    EXPECT_EQ(wave(4), "--_-");
    gate(false);
  }
}

TEST_F(CounterTest, Modes6And7AreModes2And3) {
  program(6, 3);
  EXPECT_EQ(counter.mode(), 2);
  program(7, 3);
  EXPECT_EQ(counter.mode(), 3);
}

TEST_F(CounterTest, CountZeroStandsForTheLargest) {
  program(2, 0);
  EXPECT_EQ(counter.period(), 65536U);
  pulse(1 + 65536);
  EXPECT_EQ(pulse(65536), 1U);
  program(2, 0, true);
  EXPECT_EQ(counter.period(), 10000U);
}

TEST_F(CounterTest, BcdCountsDecimal) {
  program(0, 0x1000, true);
  pulse(2);
  EXPECT_EQ(count(), 0x0999);
  pulse(1000);
  EXPECT_EQ(count(), 0x9999);
}

TEST_F(CounterTest, LatchedCountStandsStillUntilRead) {
  program(2, 1000);
  pulse(11);
  counter.latch_count(now);
  pulse(100);
  counter.latch_count(now);  // ignored
  EXPECT_EQ(count(), 990);
  EXPECT_EQ(count(), 890);
}

TEST_F(CounterTest, StatusComesBeforeALatchedCount) {
  program(2, 1000);
  pulse(1);
  counter.latch_count(now);
  EXPECT_EQ(status(), 0xb4);
  EXPECT_EQ(count(), 1000);
}

TEST_F(CounterTest, StatusTellsOfACountNotYetLoaded) {
  program(3, 100, true);
  EXPECT_EQ(status(), 0xf7);
  pulse();
  EXPECT_EQ(status(), 0xb7);
}

TEST_F(CounterTest, SingleByteAccess) {
  counter.control(0x14, now);  // mode 2, low byte only
  counter.write(20, now);
  pulse();
  EXPECT_EQ(counter.read(now), 20);
  EXPECT_EQ(counter.read(now), 20);
  counter.control(0x24, now);  // high byte only
  counter.write(0x12, now);
  pulse();
  EXPECT_EQ(counter.period(), 0x1200U);
  EXPECT_EQ(counter.read(now), 0x12);
}

TEST_F(CounterTest, RisesAreCountedHoweverLongOneWaits) {
  program(2, 7);
  pulse(1);
  EXPECT_EQ(pulse(7'000'000), 1'000'000U);
  EXPECT_EQ(pulse(6), 0U);
  EXPECT_EQ(pulse(1), 1U);
}

TEST_F(CounterTest, CountOneIsHarmless) {
  for (unsigned mode = 0; mode < 6; ++mode) {
    program(mode, 1);
    pulse(1'000'000'000'000);
    (void)count();
    (void)counter.next_event(now);
    write(1);
    pulse(3);
  }
}

TEST_F(CounterTest, StateRoundTripAndRefusal) {
  program(3, 1234);
  pulse(77);
  I8254Counter other;
  ASSERT_TRUE(other.set_state(counter.state()));
  EXPECT_EQ(other.out(now), counter.out(now));
  EXPECT_EQ(other.next_event(now), counter.next_event(now));
  I8254CounterState bad = counter.state();
  bad.count = 0;
  EXPECT_FALSE(other.set_state(bad));
  bad = counter.state();
  bad.start = std::numeric_limits<Tick>::min();
  EXPECT_FALSE(other.set_state(bad));
}

}  // namespace
}  // namespace doppel::hw
