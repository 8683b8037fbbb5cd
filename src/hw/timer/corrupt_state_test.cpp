// Saved states with flipped bytes must load or be refused, and whatever loads must run.
#include <gtest/gtest.h>

#include <functional>
#include <random>

#include "event/fake_clock.h"
#include "hw/timer/hpet.h"
#include "hw/timer/i8254.h"
#include "hw/timer/mc146818.h"

namespace doppel::hw {
namespace {

using Exercise = std::function<void(event::FakeClock&)>;

/// Loads ROUNDS damaged copies of what CHIP saves, and lets EXERCISE loose on each.
void damage(event::FakeClock& clock, Device& chip, int rounds, const Exercise& exercise) {
  state::Writer writer;
  chip.save(writer);
  std::mt19937 engine(5);
  for (int round = 0; round < rounds; ++round) {
    auto bytes = writer.bytes();
    for (unsigned i = 0; i <= engine() % 4; ++i) bytes[engine() % bytes.size()] = static_cast<std::byte>(engine());
    state::Reader reader(bytes);
    if (!chip.load(reader)) {
      chip.reset();
      continue;
    }
    exercise(clock);
  }
}

TEST(CorruptState, I8254) {
  event::FakeClock clock;
  I8254 chip(clock, {});
  chip.reset();
  clock.advance(event::kNsPerSecond);
  damage(clock, chip, 3000, [&](event::FakeClock& time) {
    time.advance(10 * event::kNsPerMillisecond);
    for (unsigned counter = 0; counter < 3; ++counter) {
      (void)chip.read(counter, 1);
      chip.write(counter, 1, 7);
    }
    chip.set_gate2(true);
  });
}

TEST(CorruptState, Mc146818) {
  event::FakeClock clock;
  Mc146818 chip(clock, 0, {.lost_tick_policy = "slew"}, {});
  chip.write(0, 1, 11);
  chip.write(1, 1, 0x72);
  clock.advance(event::kNsPerSecond);
  damage(clock, chip, 3000, [&](event::FakeClock& time) {
    time.advance(10 * event::kNsPerMillisecond);
    for (unsigned index = 0; index < 14; ++index) {
      chip.write(0, 1, index);
      (void)chip.read(1, 1);
      chip.write(1, 1, 5);
    }
  });
}

TEST(CorruptState, Hpet) {
  event::FakeClock clock;
  Hpet chip(clock, {}, {});
  chip.write(0x100, 8, 0x4c);
  chip.write(0x108, 8, 100'000);
  chip.write(0x108, 8, 100'000);
  chip.write(0x10, 8, 1);
  clock.advance(event::kNsPerSecond);
  damage(clock, chip, 3000, [&](event::FakeClock& time) {
    time.advance(10 * event::kNsPerMillisecond);
    (void)chip.read(0x20, 8);
    (void)chip.read(0xf0, 8);
    chip.write(0x108, 8, 1000);
  });
}

}  // namespace
}  // namespace doppel::hw
