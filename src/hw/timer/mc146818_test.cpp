#include "hw/timer/mc146818.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "event/fake_clock.h"
#include "hw/timer/cmos_layout.h"
#include "hw/timer/mc146818_registers.h"

namespace doppel::hw {
namespace {

using namespace rtc;  // NOLINT: register names

constexpr std::int64_t kSecond = event::kNsPerSecond;
constexpr std::int64_t kMs = event::kNsPerMillisecond;
constexpr std::int64_t kUs = event::kNsPerMicrosecond;
constexpr CalendarTime kStart{2024, 2, 28, 23, 59, 50};  // a Wednesday in a leap year

class RtcTest : public ::testing::Test {
 protected:
  std::unique_ptr<Mc146818> make(Mc146818Config config = {}, std::int64_t start_ns = to_seconds(kStart) * kSecond) {
    return std::make_unique<Mc146818>(clock, start_ns, std::move(config), IrqPin{&irq8, 8},
                                      [this](std::int64_t offset) { changes.push_back(offset); });
  }
  std::uint8_t get(std::uint8_t index) {
    chip->write(0, 1, index);
    return static_cast<std::uint8_t>(chip->read(1, 1));
  }
  void set(std::uint8_t index, unsigned value) {
    chip->write(0, 1, index);
    chip->write(1, 1, value);
  }
  /// "24-02-28 3 23:59:50", as the registers hold it.
  std::string face() {
    return fmt::format("{:02x}-{:02x}-{:02x} {:x} {:02x}:{:02x}:{:02x}", get(kYear), get(kMonth), get(kDayOfMonth),
                       get(kDayOfWeek), get(kHours), get(kMinutes), get(kSeconds));
  }
  /// Lets time pass while the guest answers each interrupt by reading register C, and returns what it read.
  std::vector<unsigned> serve(std::int64_t ns, std::int64_t answer_after = kUs) {
    std::vector<unsigned> causes;
    const std::int64_t end = clock.now_ns() + ns;
    while (clock.now_ns() < end) {
      const std::int64_t next = clock.next_deadline_ns();
      clock.advance_to(next < 0 ? end : std::min(next, end));
      if (!level) continue;
      clock.advance(answer_after);
      causes.push_back(get(kRegisterC));
    }
    return causes;
  }

  event::FakeClock clock;
  bool level = false;
  std::vector<std::int64_t> changes;
  IrqFunction irq8{[this](unsigned, bool on) { level = on; }};
  std::unique_ptr<Mc146818> chip = make();
};

TEST_F(RtcTest, ShowsTheTimeInBcdAndBinary) {
  EXPECT_EQ(face(), "24-02-28 4 23:59:50");
  EXPECT_EQ(get(kCentury), 0x20);
  clock.advance(10 * kSecond);
  EXPECT_EQ(face(), "24-02-29 5 00:00:00");
  set(kRegisterB, kB24Hours | kBBinary);
  clock.advance(59 * kSecond);
  EXPECT_EQ(face(), "18-02-1d 5 00:00:3b");
}

TEST_F(RtcTest, TwelveHourFormat) {
  set(kRegisterB, 0);
  EXPECT_EQ(get(kHours), 0x91);  // 11 PM
  clock.advance(10 * kSecond);
  EXPECT_EQ(get(kHours), 0x12);  // midnight is 12 AM
  clock.advance(12 * 3600 * kSecond);
  EXPECT_EQ(get(kHours), 0x92);
  clock.advance(3600 * kSecond);
  EXPECT_EQ(get(kHours), 0x81);
}

TEST_F(RtcTest, KeepsTheFractionOfTheStart) {
  chip = make({}, to_seconds(kStart) * kSecond + 900 * kMs);
  EXPECT_EQ(get(kSeconds), 0x50);
  clock.advance(100 * kMs);
  EXPECT_EQ(get(kSeconds), 0x51);
}

TEST_F(RtcTest, UpdateInProgressShowsBeforeTheSecondTurns) {
  clock.advance(kSecond - 245 * kUs);
  EXPECT_EQ(get(kRegisterA), 0x26);
  clock.advance(2 * kUs);
  EXPECT_EQ(get(kRegisterA), 0xa6);
  clock.advance(243 * kUs);
  EXPECT_EQ(get(kRegisterA), 0x26);
  EXPECT_EQ(get(kSeconds), 0x51);
}

TEST_F(RtcTest, SetHoldsTheTimeAndTakesTheNewOne) {
  clock.advance(300 * kMs);
  set(kRegisterB, kBSet | kB24Hours);
  const std::array<std::pair<std::uint8_t, unsigned>, 7> values{{{kSeconds, 0x58},
                                                                 {kMinutes, 0x59},
                                                                 {kHours, 0x23},
                                                                 {kDayOfMonth, 0x31},
                                                                 {kMonth, 0x12},
                                                                 {kYear, 0x99},
                                                                 {kCentury, 0x19}}};
  for (const auto& [index, value] : values) set(index, value);
  clock.advance(5 * kSecond);
  EXPECT_EQ(get(kSeconds), 0x58);
  EXPECT_EQ(get(kRegisterA) & kAUpdateInProgress, 0);
  EXPECT_TRUE(changes.empty());
  set(kRegisterB, kB24Hours);
  EXPECT_EQ(changes.size(), 1U);
  EXPECT_EQ(face(), "99-12-31 6 23:59:58");
  clock.advance(1700 * kMs);  // the divider went on all the time
  EXPECT_EQ(face(), "00-01-01 7 00:00:00");
  EXPECT_EQ(get(kCentury), 0x20);
}

TEST_F(RtcTest, TellsByHowMuchTheTimeWasSet) {
  clock.advance(5 * kSecond);
  set(kMinutes, 0x58);
  set(kMinutes, 0x58);  // nothing new
  set(kMinutes, 0x59);
  EXPECT_EQ(changes, (std::vector<std::int64_t>{-60, 0}));
}

TEST_F(RtcTest, DividerResetStartsHalfASecondBeforeTheUpdate) {
  clock.advance(700 * kMs);
  set(kRegisterA, 0x76);
  clock.advance(10 * kSecond);
  EXPECT_EQ(get(kSeconds), 0x50);
  set(kRegisterA, 0x26);
  clock.advance(499 * kMs);
  EXPECT_EQ(get(kSeconds), 0x50);
  clock.advance(kMs);
  EXPECT_EQ(get(kSeconds), 0x51);
}

TEST_F(RtcTest, ImpossibleDatesCarryOver) {
  set(kRegisterB, kBSet | kB24Hours);
  set(kMonth, 0x00);
  set(kDayOfMonth, 0x00);
  set(kHours, 0xff);
  set(kRegisterB, kB24Hours);
  EXPECT_EQ(face(), "23-12-06 4 21:59:50");  // 0 December 2023, 165 hours
  for (unsigned index = 0; index < 10; ++index) set(static_cast<std::uint8_t>(index), 0xff);
  set(kCentury, 0xff);
  (void)face();
}

TEST_F(RtcTest, UpdateInterruptOnceASecond) {
  set(kRegisterB, kB24Hours | kBUpdate);
  set(kRegisterA, 0x20);  // no periodic rate, and so no periodic flag
  (void)get(kRegisterC);
  EXPECT_EQ(serve(3500 * kMs), (std::vector<unsigned>(3, kCInterrupt | kCUpdate)));
}

TEST_F(RtcTest, FlagsAreSetWithoutInterruptsToo) {
  clock.advance(2 * kSecond);
  EXPECT_FALSE(level);
  EXPECT_EQ(get(kRegisterC), kCUpdate | kCPeriodic);
  EXPECT_EQ(get(kRegisterC), 0);
  EXPECT_EQ(clock.next_deadline_ns(), -1);
}

TEST_F(RtcTest, EnablingAnInterruptWhoseFlagIsSetRaisesIt) {
  clock.advance(2 * kSecond);
  set(kRegisterB, kB24Hours | kBUpdate);
  EXPECT_TRUE(level);
  set(kRegisterB, kB24Hours);
  EXPECT_FALSE(level);
}

TEST_F(RtcTest, PendingInterruptNeedsNoTimer) {
  set(kRegisterB, kB24Hours | kBUpdate | kBPeriodic);
  clock.advance(2 * kSecond);
  EXPECT_TRUE(level);
  EXPECT_EQ(clock.next_deadline_ns(), -1);
}

TEST_F(RtcTest, AlarmAtATimeOfDay) {
  set(kHoursAlarm, 0x00);
  set(kMinutesAlarm, 0x01);
  set(kSecondsAlarm, 0x30);
  set(kRegisterB, kB24Hours | kBAlarm);
  clock.advance(99 * kSecond);
  EXPECT_FALSE(level);
  clock.advance(kSecond);
  EXPECT_TRUE(level);
  EXPECT_EQ(get(kRegisterC) & (kCInterrupt | kCAlarm), kCInterrupt | kCAlarm);
  EXPECT_EQ(clock.next_deadline_ns(), (100 + 86400) * kSecond);
}

TEST_F(RtcTest, AlarmDoesNotCareAboutSomeFields) {
  set(kHoursAlarm, 0xff);
  set(kMinutesAlarm, 0xc0);
  set(kSecondsAlarm, 0x05);
  set(kRegisterB, kB24Hours | kBAlarm);
  EXPECT_EQ(serve(300 * kSecond).size(), 5U);
  set(kSecondsAlarm, 0xff);
  EXPECT_EQ(serve(10 * kSecond).size(), 10U);
}

TEST_F(RtcTest, ImpossibleAlarmNeverComes) {
  set(kSecondsAlarm, 0x75);
  set(kMinutesAlarm, 0xff);
  set(kHoursAlarm, 0xff);
  set(kRegisterB, kB24Hours | kBAlarm);
  EXPECT_EQ(clock.next_deadline_ns(), -1);
  clock.advance(86400 * kSecond);
  EXPECT_FALSE(level);
}

TEST_F(RtcTest, PeriodicRates) {
  // Table 5 of the data sheet, 32.768 kHz: interrupts in one second.
  constexpr std::array<unsigned, 16> kPerSecond{0,   256, 128, 8192, 4096, 2048, 1024, 512,
                                                256, 128, 64,  32,   16,   8,    4,    2};
  for (unsigned rate = 0; rate < kPerSecond.size(); ++rate) {
    set(kRegisterA, 0x20 | rate);
    (void)get(kRegisterC);
    set(kRegisterB, kB24Hours | kBPeriodic);
    const auto causes = serve(kSecond);
    EXPECT_EQ(causes.size(), kPerSecond[rate]) << "rate " << rate;
    set(kRegisterB, kB24Hours);
  }
}

TEST_F(RtcTest, PeriodicTicksDoNotDrift) {
  set(kRegisterA, 0x26);
  (void)get(kRegisterC);
  set(kRegisterB, kB24Hours | kBPeriodic);
  EXPECT_EQ(serve(600 * kSecond, 500 * kUs).size(), 600U * 1024);
}

TEST_F(RtcTest, LostTicksAreForgottenByDefault) {
  set(kRegisterB, kB24Hours | kBPeriodic);
  clock.stall(kSecond / 2);
  clock.advance(0);
  (void)get(kRegisterC);
  EXPECT_NEAR(static_cast<double>(serve(kSecond / 2).size()), 512, 1);
}

TEST_F(RtcTest, SlewMakesUpForLostTicks) {
  chip = make({.lost_tick_policy = "slew"});
  set(kRegisterB, kB24Hours | kBPeriodic);
  clock.stall(kSecond / 2);
  clock.advance(0);
  EXPECT_TRUE(level);
  std::size_t ticks = 1;
  (void)get(kRegisterC);
  ticks += serve(kSecond / 2).size();
  EXPECT_NEAR(static_cast<double>(ticks), 1024, 2);
  EXPECT_NEAR(static_cast<double>(serve(kSecond).size()), 1024, 2);
}

TEST_F(RtcTest, SlewMakesUpForTicksTheGuestAnsweredTooLate) {
  chip = make({.lost_tick_policy = "slew"});
  set(kRegisterB, kB24Hours | kBPeriodic);
  clock.advance(100 * kMs);  // 102 ticks, one flag
  std::size_t ticks = 1;
  (void)get(kRegisterC);
  ticks += serve(400 * kMs).size();
  EXPECT_NEAR(static_cast<double>(ticks), 512, 2);
}

TEST_F(RtcTest, ResetSilencesAndKeepsMemory) {
  set(kRegisterB, kB24Hours | kBUpdate | kBPeriodic);
  set(0x40, 0x5a);
  clock.advance(kSecond);
  chip->reset();
  EXPECT_FALSE(level);
  EXPECT_EQ(get(kRegisterB), kB24Hours);
  EXPECT_EQ(get(0x40), 0x5a);
  EXPECT_EQ(get(kSeconds), 0x51);
}

TEST_F(RtcTest, PortsAndReadOnlyRegisters) {
  EXPECT_EQ(chip->read(0, 1), 0xffU);
  set(kRegisterD, 0);
  EXPECT_EQ(get(kRegisterD), kDValid);
  set(0x80 | 0x41, 7);
  EXPECT_TRUE(chip->nmi_masked());
  EXPECT_EQ(get(0x41), 7);
  EXPECT_FALSE(chip->nmi_masked());
  EXPECT_EQ(chip->read(2, 1), 0xffU);
  chip = make({.extended_bank = true});
  chip->write(2, 1, 0x41);
  chip->write(3, 1, 9);
  EXPECT_EQ(chip->read(3, 1), 9U);
  EXPECT_EQ(get(0x41), 0);
}

TEST_F(RtcTest, HpetTakesIrq8Over) {
  set(kRegisterB, kB24Hours | kBUpdate);
  chip->set_irq_enabled(false);
  clock.advance(2 * kSecond);
  EXPECT_FALSE(level);
  chip->set_irq_enabled(true);
  EXPECT_TRUE(level);
}

TEST_F(RtcTest, SavingSettlesWhatIsOverdue) {
  set(kRegisterB, kB24Hours | kBPeriodic);
  clock.stall(kSecond);  // no timer has raised the interrupt yet
  state::Writer first;
  chip->save(first);
  EXPECT_TRUE(level);
  state::Reader reader(first.bytes());
  ASSERT_TRUE(chip->load(reader));
  state::Writer second;
  chip->save(second);
  EXPECT_EQ(first.bytes(), second.bytes());
}

TEST_F(RtcTest, StateRoundTrip) {
  set(kRegisterB, kB24Hours | kBUpdate | kBPeriodic);
  set(0x40, 0x5a);
  clock.advance(12345 * kMs);
  state::Writer writer;
  chip->save(writer);
  const std::string before = face();
  chip = make({}, 0);
  state::Reader reader(writer.bytes());
  ASSERT_TRUE(chip->load(reader));
  EXPECT_EQ(face(), before);
  EXPECT_EQ(get(0x40), 0x5a);
  EXPECT_TRUE(level);
  clock.advance(655 * kMs);
  EXPECT_NE(face(), before);
}

TEST_F(RtcTest, SurvivesAHostileGuest) {
  chip = make({.lost_tick_policy = "slew"});
  std::mt19937 engine(2);
  const auto roll = [&](unsigned sides) { return static_cast<unsigned>(engine() % sides); };
  for (int i = 0; i < 20000; ++i) {
    const auto index = static_cast<std::uint8_t>(roll(5) == 0 ? roll(256) : roll(14));
    switch (roll(5)) {
      case 0: clock.advance(roll(20'000'000)); break;
      case 1: (void)get(index); break;
      case 2: clock.stall(roll(2'000'000'000)); break;
      default: set(index, roll(256)); break;
    }
  }
}

TEST(RtcProperties, LostTickPolicyIsChecked) {
  Mc146818Config config;
  EXPECT_TRUE(Mc146818::validate(config));
  ASSERT_TRUE(kMc146818Properties.set(config, "lost_tick_policy", "delay"));
  EXPECT_FALSE(Mc146818::validate(config));
}

TEST(RtcStart, Bases) {
  const std::int64_t utc = 1'150'560'081 * kSecond + 5;
  EXPECT_EQ(*rtc_start_ns("utc", utc), utc);
  EXPECT_EQ(*rtc_start_ns("2006-06-17T16:01:21", 0), 1'150'560'081 * kSecond);
  EXPECT_EQ(*rtc_start_ns("1970-01-02", 0), 86400 * kSecond);
  EXPECT_EQ(*rtc_start_ns("localtime", utc) % kSecond, 5);
  for (const char* bad : {"", "yesterday", "2006-06-17T16:01:21Z", "2006-13-01"})
    EXPECT_FALSE(rtc_start_ns(bad, 0)) << bad;
}

TEST(RtcCalendar, RoundTripAndCarry) {
  for (const std::int64_t seconds : {0L, -1L, 951'782'400L, 4'107'542'399L, -62'135'596'800L})
    EXPECT_EQ(to_seconds(to_calendar(seconds)), seconds);
  EXPECT_EQ(to_calendar(951'782'400), (CalendarTime{2000, 2, 29, 0, 0, 0}));
  EXPECT_EQ(to_seconds({2023, 14, 0, 24, 60, 60}), to_seconds({2024, 2, 1, 1, 1, 0}));
  EXPECT_EQ(weekday(0), 5U);
}

TEST_F(RtcTest, CmosTellsFirmwareAboutTheMachine) {
  ASSERT_TRUE(fill_cmos(*chip, {.ram_below_4g = 0xc0000000,
                                .ram_above_4g = 0x1'4000'0000,
                                .cpus = 4,
                                .floppies = {FloppyDrive::k1440K, FloppyDrive::kNone},
                                .boot_order = "dc"}));
  const auto word = [&](std::uint8_t index) { return get(index) | get(static_cast<std::uint8_t>(index + 1)) << 8; };
  EXPECT_EQ(word(0x15), 640);
  EXPECT_EQ(word(0x17), 0xffff);
  EXPECT_EQ(word(0x30), 0xffff);
  EXPECT_EQ(word(0x34), 0xbf00);
  EXPECT_EQ(word(0x5b), 0x4000);
  EXPECT_EQ(get(0x5d), 1);
  EXPECT_EQ(get(0x5f), 3);
  EXPECT_EQ(get(0x10), 0x40);
  EXPECT_EQ(get(0x14), 0x07);
  EXPECT_EQ(get(0x3d), 0x23);
  EXPECT_EQ(get(0x38), 0x00);
  EXPECT_FALSE(fill_cmos(*chip, {.boot_order = "x"}));
  EXPECT_FALSE(fill_cmos(*chip, {.boot_order = "cadn"}));
}

TEST_F(RtcTest, CmosOfASmallMachine) {
  ASSERT_TRUE(fill_cmos(*chip, {.ram_below_4g = 8U << 20U, .boot_order = "n", .check_floppy_signature = false}));
  EXPECT_EQ(get(0x17) | get(0x18) << 8, 7 * 1024);
  EXPECT_EQ(get(0x34) | get(0x35) << 8, 0);
  EXPECT_EQ(get(0x38), 1);
}

}  // namespace
}  // namespace doppel::hw
