#include "hw/timer/i8254.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "event/fake_clock.h"
#include "hw/timer/speaker.h"

namespace doppel::hw {
namespace {

constexpr std::int64_t kMs = event::kNsPerMillisecond;
constexpr std::int64_t kUs = event::kNsPerMicrosecond;

class PitTest : public ::testing::Test {
 protected:
  PitTest() { pit.reset(); }

  void program(unsigned counter, unsigned mode, std::uint16_t count) {
    pit.write(3, 1, counter << 6U | 0x30U | mode << 1U);
    pit.write(counter, 1, count & 0xffU);
    pit.write(counter, 1, count >> 8U);
  }
  std::uint16_t count(unsigned counter) {
    pit.write(3, 1, counter << 6U);
    const auto low = pit.read(counter, 1);
    return static_cast<std::uint16_t>(pit.read(counter, 1) << 8U | low);
  }

  event::FakeClock clock;
  std::vector<std::int64_t> edges;  // when IRQ0 rose
  bool level = false;
  IrqFunction irq0{[this](unsigned, bool on) {
    if (on && !level) edges.push_back(clock.now_ns());
    level = on;
  }};
  I8254 pit{clock, {&irq0, 0}};
};

TEST_F(PitTest, TicksAsFirmwareLeavesIt) {
  edges.clear();
  clock.advance(event::kNsPerSecond);
  EXPECT_EQ(edges.size(), 18U);
  EXPECT_TRUE(level);
}

TEST_F(PitTest, PeriodicTicksDoNotDriftOverHours) {
  program(0, 2, 11932);  // 100 Hz, nearly
  edges.clear();
  const std::int64_t hours = 2 * 3600 * event::kNsPerSecond;
  clock.advance(hours);
  const std::uint64_t expected = (event::ns_to_ticks(hours, I8254::kFrequencyHz) - 1) / 11932;
  ASSERT_EQ(edges.size(), expected);
  // The k-th tick comes at 1 + k * 11932 pulses, to the nanosecond.
  const auto last = static_cast<std::int64_t>((1 + expected * 11932) * 1'000'000'000.0L / I8254::kFrequencyHz);
  EXPECT_NEAR(static_cast<double>(edges.back()), static_cast<double>(last), 2);
}

TEST_F(PitTest, ModeZeroIsALevel) {
  program(0, 0, 1193);
  EXPECT_FALSE(level);
  clock.advance(900 * kUs);
  EXPECT_FALSE(level);
  clock.advance(200 * kUs);
  EXPECT_TRUE(level);
  EXPECT_EQ(clock.next_deadline_ns(), -1);
}

TEST_F(PitTest, ModeFourGivesOneEdge) {
  program(0, 4, 1193);
  edges.clear();
  clock.advance(100 * kMs);
  EXPECT_EQ(edges.size(), 1U);
  EXPECT_TRUE(level);
}

TEST_F(PitTest, ShortestPeriodDoesNotStormTheHost) {
  for (std::uint16_t period = 1; period <= 3; ++period) {
    program(0, 2, period);
    edges.clear();
    clock.advance(10 * kMs);
    EXPECT_LE(edges.size(), 501U);
    EXPECT_GE(edges.size(), 499U);
  }
}

TEST_F(PitTest, LateTicksAreMadeUpForAtTwiceTheRate) {
  program(0, 2, 11932);
  clock.advance(5 * kMs);
  edges.clear();
  clock.stall(100 * kMs);
  clock.advance(0);
  EXPECT_EQ(edges.size(), 1U);
  clock.advance(200 * kMs - 5 * kMs);
  EXPECT_EQ(edges.size(), 29U);  // ten lost or late, and those of 200 ms
  for (std::size_t i = 1; i < edges.size(); ++i) EXPECT_GE(edges[i] - edges[i - 1], 2 * kMs);
}

TEST_F(PitTest, OfMoreLostTicksTheRestIsDropped) {
  program(0, 2, 11932);
  edges.clear();
  clock.stall(60 * event::kNsPerSecond);
  clock.advance(event::kNsPerSecond);
  EXPECT_LE(edges.size(), 100U + I8254::kMaxLostTicks + 1);
  edges.clear();
  clock.advance(event::kNsPerSecond);
  EXPECT_NEAR(static_cast<double>(edges.size()), 100, 1);
}

TEST_F(PitTest, ReadBackLatchesSeveralCountersAtOnce) {
  program(0, 2, 1000);
  program(2, 3, 2000);
  clock.advance(100 * kUs);
  pit.write(3, 1, 0xc0 | 0x02 | 0x08);  // count and status of counters 0 and 2
  clock.advance(100 * kUs);
  EXPECT_EQ(pit.read(0, 1) & 0x3f, 0x34);
  EXPECT_EQ(pit.read(2, 1) & 0x3f, 0x36);
  const auto low = pit.read(0, 1);
  EXPECT_EQ(low | pit.read(0, 1) << 8U, 1000U - 118U);
}

TEST_F(PitTest, CounterTwoObeysItsGate) {
  program(2, 0, 100);
  clock.advance(10 * kMs);
  EXPECT_FALSE(pit.out2());
  pit.set_gate2(true);
  clock.advance(10 * kMs);
  EXPECT_TRUE(pit.out2());
}

TEST_F(PitTest, HpetTakesIrq0Over) {
  program(0, 2, 1193);
  clock.advance(10 * kMs);
  pit.set_irq_enabled(false);
  EXPECT_FALSE(level);
  edges.clear();
  clock.advance(100 * kMs);
  EXPECT_TRUE(edges.empty());
  EXPECT_EQ(clock.next_deadline_ns(), -1);
  pit.set_irq_enabled(true);
  clock.advance(10 * kMs);
  EXPECT_NEAR(static_cast<double>(edges.size()), 11, 1);
}

TEST_F(PitTest, StateRoundTrip) {
  program(0, 3, 5000);
  program(2, 0, 0x1234);
  clock.advance(3 * kMs);
  state::Writer writer;
  pit.save(writer);
  std::vector<std::int64_t> other_edges;
  IrqFunction other_irq([&](unsigned, bool on) {
    if (on) other_edges.push_back(clock.now_ns());
  });
  I8254 other(clock, {&other_irq, 0});
  other.reset();
  state::Reader reader(writer.bytes());
  ASSERT_TRUE(other.load(reader));
  edges.clear();
  other_edges.clear();
  clock.advance(50 * kMs);
  EXPECT_EQ(edges, other_edges);
  EXPECT_EQ(pit.read(2, 1), other.read(2, 1));
}

TEST_F(PitTest, LoadingAnOlderStateDoesNotSilenceTheTick) {
  state::Writer writer;
  pit.save(writer);
  clock.advance(100 * event::kNsPerSecond);
  event::FakeClock earlier;
  int ticks = 0;
  IrqFunction irq([&](unsigned, bool on) { ticks += on ? 1 : 0; });
  I8254 other(earlier, {&irq, 0});
  state::Reader reader(writer.bytes());
  ASSERT_TRUE(other.load(reader));
  earlier.advance(event::kNsPerSecond);
  EXPECT_GE(ticks, 18);
}

TEST_F(PitTest, OddAccessesAreHarmless) {
  EXPECT_EQ(pit.read(3, 1), 0xffU);
  EXPECT_EQ(pit.read(0, 4), 0xffffffffU);
  EXPECT_EQ(pit.read(77, 1), 0xffU);
  pit.write(77, 1, 1);
  pit.write(0, 8, ~0ULL);
}

TEST_F(PitTest, SurvivesAHostileGuest) {
  std::mt19937 engine(1);
  const auto roll = [&](unsigned sides) { return static_cast<unsigned>(engine() % sides); };
  for (int i = 0; i < 20000; ++i) {
    switch (roll(8)) {
      case 0: clock.advance(roll(300'000)); break;
      case 1: (void)pit.read(roll(4), 1); break;
      case 2: pit.set_gate2(roll(2) == 0); break;
      case 3: clock.stall(roll(100'000'000)); break;
      default: pit.write(roll(4), 1, roll(4) == 0 ? roll(3) : roll(256)); break;
    }
  }
}

class PortBTest : public PitTest {
 protected:
  std::vector<bool> speaker;
  SystemControlPortB port{pit, [this](bool on) { speaker.push_back(on); }};
};

TEST_F(PortBTest, MeasuresADelayAsKernelsDo) {
  port.write(0, 1, 0x01);  // gate on, speaker off
  program(2, 0, 11932);    // 10 ms
  EXPECT_EQ(port.read(0, 1) & 0x21, 0x01U);
  clock.advance(9 * kMs);
  EXPECT_EQ(port.read(0, 1) & 0x20, 0U);
  clock.advance(2 * kMs);
  EXPECT_EQ(port.read(0, 1) & 0x20, 0x20U);
}

TEST_F(PortBTest, SpeakerNeedsGateAndData) {
  for (const unsigned value : {1U, 3U, 3U, 2U, 0U}) port.write(0, 1, value);
  EXPECT_EQ(speaker, (std::vector<bool>{true, false}));
  program(2, 3, 1193);
  port.write(0, 1, 3);
  EXPECT_NEAR(pit.tone().frequency_hz, 1000, 1);
  EXPECT_TRUE(pit.tone().counting);
  port.reset();
  EXPECT_EQ(speaker.back(), false);
  EXPECT_FALSE(pit.tone().counting);
}

TEST_F(PortBTest, RefreshTogglesEveryFifteenMicroseconds) {
  clock.advance(event::kNsPerSecond);
  int toggles = 0;
  auto before = port.read(0, 1) & 0x10;
  for (int i = 0; i < 1000; ++i) {
    clock.advance(kUs);
    const auto after = port.read(0, 1) & 0x10;
    toggles += after != before ? 1 : 0;
    before = after;
  }
  EXPECT_NEAR(toggles, 1000 / 15.085, 1);
}

TEST_F(PortBTest, KeepsItsLowBitsOnly) {
  port.write(0, 1, 0xff);
  EXPECT_EQ(port.read(0, 1) & 0xcf, 0x0fU);
  state::Writer writer;
  port.save(writer);
  SystemControlPortB other(pit);
  state::Reader reader(writer.bytes());
  ASSERT_TRUE(other.load(reader));
  EXPECT_EQ(other.read(0, 1) & 0x0f, 0x0fU);
}

}  // namespace
}  // namespace doppel::hw
