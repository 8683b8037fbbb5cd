#include "hw/timer/hpet.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <utility>
#include <vector>

#include "event/fake_clock.h"
#include "hw/timer/hpet_registers.h"

namespace doppel::hw {
namespace {

using namespace hpet;  // NOLINT: register names

constexpr std::int64_t kUs = event::kNsPerMicrosecond;
constexpr std::int64_t kMs = event::kNsPerMillisecond;
constexpr std::uint64_t kTicksPerUs = 100;

constexpr std::uint64_t config_of(unsigned timer) {
  return kTimers + kTimerStride * timer;
}
constexpr std::uint64_t comparator_of(unsigned timer) {
  return config_of(timer) + kTimerComparator;
}
constexpr std::uint64_t route_to(unsigned pin) {
  return std::uint64_t{pin} << kTimerRouteLow;
}

class HpetTest : public ::testing::Test {
 protected:
  std::unique_ptr<Hpet> make(HpetConfig config = {}) {
    return std::make_unique<Hpet>(
        clock, config,
        Hpet::Board{&sink, [this](bool on) { legacy.push_back(on); },
                    [this](std::uint64_t address, std::uint32_t data) { messages.emplace_back(address, data); }});
  }
  std::uint64_t get(std::uint64_t reg) { return chip->read(reg, 8); }
  void set(std::uint64_t reg, std::uint64_t value) { chip->write(reg, 8, value); }
  void start(std::uint64_t flags = 0) { set(kConfiguration, kEnable | flags); }

  event::FakeClock clock;
  std::map<unsigned, int> edges;
  std::map<unsigned, bool> levels;
  std::vector<bool> legacy;
  std::vector<std::pair<std::uint64_t, std::uint32_t>> messages;
  IrqFunction sink{[this](unsigned pin, bool on) {
    if (on && !levels[pin]) ++edges[pin];
    levels[pin] = on;
  }};
  std::unique_ptr<Hpet> chip = make();
};

TEST_F(HpetTest, Capabilities) {
  EXPECT_EQ(get(kCapabilities), 0x00989680'8086a201U);
  EXPECT_EQ(chip->read(4, 4), 10'000'000U);
  EXPECT_EQ(get(config_of(0)), 0x00ff0104'00000030U);
  chip = make({.timers = 32});
  EXPECT_EQ(get(kCapabilities) & 0x1f00, 31U << 8U);
  chip = make({.timers = 1});
  EXPECT_EQ(get(kCapabilities) & 0x1f00, 2U << 8U);
}

TEST_F(HpetTest, CounterRunsWhileEnabled) {
  clock.advance(kMs);
  EXPECT_EQ(get(kMainCounter), 0U);
  set(kMainCounter, 0xffff'ffff'0000'0000);
  start();
  clock.advance(10 * kUs);
  EXPECT_EQ(get(kMainCounter), 0xffff'ffff'0000'0000 + 10 * kTicksPerUs);
  set(kMainCounter, 5);  // refused while it runs
  EXPECT_EQ(chip->read(kMainCounter, 4), 10 * kTicksPerUs);
  EXPECT_EQ(chip->read(kMainCounter + 4, 4), 0xffff'ffffU);
  set(kConfiguration, 0);
  clock.advance(kMs);
  EXPECT_EQ(get(kMainCounter), 0xffff'ffff'0000'0000 + 10 * kTicksPerUs);
}

TEST_F(HpetTest, OneShotEdge) {
  start();
  set(config_of(0), kTimerInterrupts | route_to(16));
  set(comparator_of(0), 50 * kTicksPerUs);
  clock.advance(49 * kUs);
  EXPECT_EQ(edges[16], 0);
  clock.advance(kUs);
  EXPECT_EQ(edges[16], 1);
  EXPECT_FALSE(levels[16]) << "a pulse where PCI devices may share the wire";
  clock.advance(1000 * kMs);
  EXPECT_EQ(edges[16], 1);
  EXPECT_EQ(get(kInterruptStatus), 0U);
  EXPECT_EQ(clock.next_deadline_ns(), -1);
}

TEST_F(HpetTest, EdgeOnAnIsaPinStaysForTheInterruptController) {
  start();
  set(config_of(0), kTimerInterrupts | route_to(2));
  set(comparator_of(0), kTicksPerUs);
  clock.advance(100 * kUs);
  EXPECT_TRUE(levels[2]);
  set(comparator_of(0), 200 * kTicksPerUs);
  clock.advance(100 * kUs);
  EXPECT_EQ(edges[2], 2);
  set(config_of(0), 0);
  EXPECT_FALSE(levels[2]);
}

TEST_F(HpetTest, OneShotOf32BitsComesAgainWhenTheCounterWraps) {
  start();
  set(config_of(1), kTimerInterrupts | kTimer32Bit | route_to(8));
  set(comparator_of(1), 1000);
  clock.advance(event::kNsPerSecond);
  EXPECT_EQ(edges[8], 1);
  clock.advance(43 * event::kNsPerSecond);
  EXPECT_EQ(edges[8], 2);
}

TEST_F(HpetTest, ComparatorJustGoneByMatchesAtOnce) {
  start();
  set(config_of(0), kTimerInterrupts | route_to(16));
  clock.advance(kMs);
  set(comparator_of(0), get(kMainCounter) - 10);
  clock.advance(0);
  EXPECT_EQ(edges[16], 1);
}

TEST_F(HpetTest, ResetComparatorDoesNotMatch) {
  set(config_of(0), kTimerInterrupts | route_to(16));
  start();
  clock.advance(1000 * kMs);
  EXPECT_EQ(edges[16], 0);
}

TEST_F(HpetTest, PeriodicAsLinuxSetsItUp) {
  start();
  clock.advance(kMs);
  chip->write(config_of(0), 4, kTimerInterrupts | kTimerPeriodic | kTimerSetAccumulator | kTimer32Bit | route_to(2));
  chip->write(comparator_of(0), 4, get(kMainCounter) + 1000 * kTicksPerUs);
  chip->write(comparator_of(0), 4, 1000 * kTicksPerUs);
  clock.advance(999 * kUs);
  EXPECT_EQ(edges[2], 0);
  clock.advance(kUs);
  EXPECT_EQ(edges[2], 1);
  clock.advance(3600 * event::kNsPerSecond);
  EXPECT_EQ(edges[2], 3'600'001);
  EXPECT_EQ(get(comparator_of(0)), ((2 + 3'600'001) * 100'000ULL) & 0xffff'ffff);
}

TEST_F(HpetTest, AccumulatorWrittenInTwoHalves) {
  start();
  set(config_of(0), kTimerInterrupts | kTimerPeriodic | kTimerSetAccumulator | route_to(16));
  chip->write(comparator_of(0), 4, 500);
  chip->write(comparator_of(0) + 4, 4, 1);
  EXPECT_EQ(get(comparator_of(0)), 0x1'0000'01f4U);
  set(comparator_of(0), 7000);  // the period
  EXPECT_EQ(get(comparator_of(0)), 0x1'0000'01f4U);
}

TEST_F(HpetTest, PeriodicNeedsNoHostTimerWithoutInterrupts) {
  start();
  set(config_of(0), kTimerPeriodic | kTimerSetAccumulator | kTimerLevel);
  set(comparator_of(0), 1000);
  set(comparator_of(0), 1000);
  EXPECT_EQ(clock.next_deadline_ns(), -1);
  clock.advance(105 * kUs);
  EXPECT_EQ(get(comparator_of(0)), 11'000U);
  EXPECT_EQ(get(kInterruptStatus), 1U);
}

TEST_F(HpetTest, LevelInterruptStaysUntilItsStatusIsCleared) {
  start();
  set(config_of(2), kTimerInterrupts | kTimerLevel | route_to(20));
  set(comparator_of(2), 100);
  clock.advance(kMs);
  EXPECT_TRUE(levels[20]);
  EXPECT_EQ(get(kInterruptStatus), 4U);
  set(kInterruptStatus, 3);
  EXPECT_TRUE(levels[20]);
  set(kInterruptStatus, 4);
  EXPECT_FALSE(levels[20]);
  EXPECT_EQ(get(kInterruptStatus), 0U);
}

TEST_F(HpetTest, TwoTimersShareALevelPin) {
  start();
  for (const unsigned timer : {0U, 1U}) {
    set(config_of(timer), kTimerInterrupts | kTimerLevel | route_to(21));
    set(comparator_of(timer), 10'000);
  }
  clock.advance(kMs);
  set(kInterruptStatus, 1);
  EXPECT_TRUE(levels[21]);
  set(kInterruptStatus, 2);
  EXPECT_FALSE(levels[21]);
}

TEST_F(HpetTest, LegacyReplacementTakesIrq0AndIrq8) {
  start(kLegacyRoute);
  EXPECT_EQ(legacy, std::vector<bool>{true});
  for (const unsigned timer : {0U, 1U}) {
    set(config_of(timer), kTimerInterrupts | route_to(22));
    set(comparator_of(timer), 10'000);
  }
  clock.advance(kMs);
  EXPECT_EQ(edges[0], 1);
  EXPECT_EQ(edges[8], 1);
  EXPECT_EQ(edges[22], 0);
  chip->reset();
  EXPECT_EQ(legacy, (std::vector<bool>{true, false}));
  EXPECT_FALSE(levels[0]);
}

TEST_F(HpetTest, MessagesInsteadOfWires) {
  start();
  set(config_of(0), kTimerInterrupts | kTimerFsb | route_to(2));
  EXPECT_EQ(get(config_of(0)) & (kTimerFsb | kTimerFsbCapable), 0U) << "not offered by default";
  chip = make({.msi = true});
  start();
  set(config_of(0), kTimerInterrupts | kTimerFsb | route_to(2));
  EXPECT_NE(get(config_of(0)) & kTimerFsbCapable, 0U);
  set(config_of(0) + kTimerFsbRoute, 0xfee01000'00000041);
  set(comparator_of(0), get(kMainCounter) + 100);
  clock.advance(kMs);
  EXPECT_EQ(messages, (std::vector<std::pair<std::uint64_t, std::uint32_t>>{{0xfee01000, 0x41}}));
  EXPECT_EQ(edges[2], 0);
}

TEST_F(HpetTest, PinThatIsNotOfferedStaysDead) {
  start();
  set(config_of(0), kTimerInterrupts | route_to(5));
  set(comparator_of(0), 100);
  clock.advance(kMs);
  EXPECT_EQ(edges[5], 0);
}

TEST_F(HpetTest, ShortestPeriodsDoNotStormTheHost) {
  for (const std::uint64_t period : {0U, 1U, 2U}) {
    start();
    set(config_of(0), kTimerInterrupts | kTimerPeriodic | kTimerSetAccumulator | route_to(16));
    set(comparator_of(0), get(kMainCounter));
    set(comparator_of(0), period);
    edges.clear();
    clock.advance(10 * kMs);
    EXPECT_LE(edges[16], 501) << period;
  }
}

TEST_F(HpetTest, LateMatchesBecomeOne) {
  start();
  set(config_of(0), kTimerInterrupts | kTimerPeriodic | kTimerSetAccumulator | route_to(16));
  set(comparator_of(0), 1000 * kTicksPerUs);
  set(comparator_of(0), 1000 * kTicksPerUs);
  clock.stall(10'500 * kUs);
  clock.advance(0);
  EXPECT_EQ(edges[16], 1);
  clock.advance(500 * kUs);
  EXPECT_EQ(edges[16], 2);
}

TEST_F(HpetTest, HaltingSilencesAndReleasesTheWires) {
  start();
  set(config_of(2), kTimerInterrupts | kTimerLevel | route_to(20));
  set(comparator_of(2), 100);
  clock.advance(kMs);
  set(kConfiguration, 0);
  EXPECT_FALSE(levels[20]);
  EXPECT_EQ(clock.next_deadline_ns(), -1);
}

TEST_F(HpetTest, StateRoundTrip) {
  start(kLegacyRoute);
  set(config_of(0), kTimerInterrupts | kTimerPeriodic | kTimerSetAccumulator);
  set(comparator_of(0), 1000 * kTicksPerUs);
  set(comparator_of(0), 1000 * kTicksPerUs);
  clock.advance(2500 * kUs);
  state::Writer writer;
  chip->save(writer);
  chip = make();
  state::Reader reader(writer.bytes());
  ASSERT_TRUE(chip->load(reader));
  EXPECT_EQ(legacy, (std::vector<bool>{true, true}));
  EXPECT_TRUE(levels[0]);
  edges.clear();
  clock.advance(1000 * kUs);
  EXPECT_EQ(edges[0], 1);
  EXPECT_EQ(get(kMainCounter), 3500 * kTicksPerUs);
  chip = make({.timers = 4});
  state::Reader again(writer.bytes());
  EXPECT_FALSE(chip->load(again));
}

TEST_F(HpetTest, OddAccessesAreHarmless) {
  EXPECT_EQ(get(0x3f8), 0U);
  EXPECT_EQ(chip->read(0x404, 4), ~std::uint64_t{0});
  EXPECT_EQ(chip->read(0x0f4, 8), ~std::uint64_t{0});
  set(0x3f8, 1);
  set(config_of(3), ~0ULL);
  set(kCapabilities, 0);
  EXPECT_EQ(get(kCapabilities) >> 32U, 10'000'000U);
}

TEST_F(HpetTest, SurvivesAHostileGuest) {
  chip = make({.msi = true});
  std::mt19937_64 engine(3);
  const auto roll = [&](unsigned sides) { return static_cast<unsigned>(engine() % sides); };
  for (int i = 0; i < 20000; ++i) {
    const std::uint64_t reg = roll(3) == 0 ? roll(0x41) * 8 : kTimers + roll(12) * 8;
    const std::uint64_t value = roll(2) == 0 ? engine() : roll(3) == 0 ? get(kMainCounter) + roll(100) : roll(0x8000);
    switch (roll(6)) {
      case 0: clock.advance(roll(500'000)); break;
      case 1: (void)chip->read(reg, 8); break;
      case 2: clock.stall(roll(2'000'000'000)); break;
      case 3: chip->write(reg + 4 * roll(2), 4, value & 0xffff'ffff); break;
      default: chip->write(reg, 8, value); break;
    }
  }
}

}  // namespace
}  // namespace doppel::hw
