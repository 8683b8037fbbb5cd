#include "event/fake_clock.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace doppel::event {
namespace {

TEST(FakeClock, StandsStillUntilMoved) {
  FakeClock clock;
  EXPECT_EQ(clock.now_ns(), 0);
  clock.advance(5);
  clock.advance_to(3);  // never back
  EXPECT_EQ(clock.now_ns(), 5);
}

TEST(FakeClock, FiresInOrderOfDeadlinesEachAtItsOwnTime) {
  FakeClock clock;
  std::vector<std::pair<char, std::int64_t>> fired;
  const auto timer = [&](char name) {
    return clock.create_timer([&, name] { fired.emplace_back(name, clock.now_ns()); });
  };
  const auto a = timer('a');
  const auto b = timer('b');
  const auto c = timer('c');
  a->arm(30);
  c->arm(20);
  b->arm(20);
  EXPECT_EQ(clock.next_deadline_ns(), 20);
  clock.advance_to(100);
  EXPECT_EQ(fired, (std::vector<std::pair<char, std::int64_t>>{{'c', 20}, {'b', 20}, {'a', 30}}));
  EXPECT_EQ(clock.now_ns(), 100);
  EXPECT_EQ(clock.next_deadline_ns(), -1);
}

TEST(FakeClock, PeriodicTimerRearmsItself) {
  FakeClock clock;
  int count = 0;
  std::unique_ptr<Timer> timer;
  timer = clock.create_timer([&] {
    ++count;
    timer->arm(clock.now_ns() + 10);
  });
  timer->arm(10);
  clock.advance(95);
  EXPECT_EQ(count, 9);
  EXPECT_TRUE(timer->armed());
}

TEST(FakeClock, ArmReplacesAndCancelStops) {
  FakeClock clock;
  int count = 0;
  const auto timer = clock.create_timer([&] { ++count; });
  timer->arm(10);
  timer->arm(50);
  clock.advance_to(40);
  EXPECT_EQ(count, 0);
  timer->cancel();
  EXPECT_FALSE(timer->armed());
  clock.advance_to(100);
  EXPECT_EQ(count, 0);
  timer->arm(5);  // long past
  clock.advance(0);
  EXPECT_EQ(count, 1);
  EXPECT_EQ(clock.now_ns(), 100);
}

TEST(FakeClock, CallbackMayDestroyTimers) {
  FakeClock clock;
  int count = 0;
  std::unique_ptr<Timer> self;
  std::unique_ptr<Timer> other = clock.create_timer([&] { ++count; });
  self = clock.create_timer([&] {
    other.reset();
    self.reset();
  });
  self->arm(1);
  other->arm(2);
  clock.advance(10);
  EXPECT_EQ(count, 0);
}

TEST(Ticks, ConvertExactlyAtTheEdges) {
  EXPECT_EQ(ticks_to_ns(1'193'182, 1'193'182), kNsPerSecond);
  EXPECT_EQ(ns_to_ticks(kNsPerSecond, 3'579'545), 3'579'545U);
  EXPECT_EQ(ticks_to_ns(~std::uint64_t{0} / 4, 4'000'000'000), static_cast<std::int64_t>(~std::uint64_t{0} / 16));
}

}  // namespace
}  // namespace doppel::event
