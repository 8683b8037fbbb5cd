#include "event/loop_clock.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <random>
#include <thread>
#include <vector>

#include "event/loop.h"
#include "event/timer_heap.h"

namespace doppel::event {
namespace {

TEST(TimerHeap, AgreesWithASortedListUnderRandomUse) {
  constexpr unsigned kSeed = 4711;
  std::mt19937 random(kSeed);
  TimerHeap heap;
  std::vector<std::shared_ptr<TimerEntry>> timers(40);
  for (auto& timer : timers) timer = std::make_shared<TimerEntry>();
  for (int step = 0; step < 20'000; ++step) {
    const auto& timer = timers[random() % timers.size()];
    switch (random() % 4) {
      case 0: heap.cancel(*timer); break;
      case 1: {
        const TimerEntry* expected = nullptr;
        for (const auto& entry : timers)
          if (entry->index != TimerEntry::kIdle &&
              (expected == nullptr ||
               std::pair(entry->deadline_ns, entry->order) < std::pair(expected->deadline_ns, expected->order)))
            expected = entry.get();
        ASSERT_EQ(heap.empty(), expected == nullptr);
        if (expected != nullptr) {
          ASSERT_EQ(heap.pop().get(), expected) << "seed " << kSeed << " step " << step;
        }
        break;
      }
      default: heap.arm(timer, random() % 16); break;
    }
  }
}

TEST(LoopClock, FiresInOrderOfDeadlines) {
  Loop loop;
  Clock& clock = loop.realtime_clock();
  std::vector<char> fired;
  const auto a = clock.create_timer([&] { fired.push_back('a'); });
  const auto b = clock.create_timer([&] { fired.push_back('b'); });
  const auto c = clock.create_timer([&] {
    fired.push_back('c');
    loop.quit();
  });
  const auto never = clock.create_timer([&] { fired.push_back('x'); });
  const std::int64_t now = clock.now_ns();
  never->arm(now + 3 * kNsPerMillisecond);
  c->arm(now + 5 * kNsPerMillisecond);
  a->arm(now + 4 * kNsPerMillisecond);
  b->arm(now + 4 * kNsPerMillisecond);
  never->cancel();
  EXPECT_TRUE(a->armed());
  EXPECT_FALSE(never->armed());
  loop.run();
  EXPECT_EQ(fired, (std::vector<char>{'a', 'b', 'c'}));
  EXPECT_GE(clock.now_ns(), now + 5 * kNsPerMillisecond);
  EXPECT_FALSE(a->armed());
}

TEST(LoopClock, PastAndAbsurdDeadlines) {
  Loop loop;
  int fired = 0;
  const auto past = loop.realtime_clock().create_timer([&] { ++fired; });
  const auto most_past = loop.realtime_clock().create_timer([&] { ++fired; });
  const auto never = loop.realtime_clock().create_timer([&] { FAIL(); });
  never->arm(std::numeric_limits<std::int64_t>::max());
  past->arm(0);
  most_past->arm(std::numeric_limits<std::int64_t>::min());
  loop.run_ready();
  EXPECT_EQ(fired, 2);
  loop.virtual_clock().resume();
  const auto guest_never = loop.virtual_clock().create_timer([&] { FAIL(); });
  guest_never->arm(std::numeric_limits<std::int64_t>::max());
  loop.run_ready();
}

TEST(LoopClock, TimerAlwaysDueLeavesTheLoopRunning) {
  Loop loop;
  std::unique_ptr<Timer> greedy;
  int fired = 0;
  greedy = loop.realtime_clock().create_timer([&] {
    ++fired;
    greedy->arm(0);
    if (fired == 1) loop.post([&] { loop.quit(); });
  });
  greedy->arm(0);
  loop.run();
  EXPECT_GE(fired, 1);
}

TEST(LoopClock, CallbackMayDestroyItsOwnAndAnotherDueTimer) {
  Loop loop;
  std::unique_ptr<Timer> self;
  std::unique_ptr<Timer> other = loop.realtime_clock().create_timer([] { FAIL(); });
  int fired = 0;
  self = loop.realtime_clock().create_timer([&, guard = std::make_shared<int>(1)] {
    other.reset();
    self.reset();
    fired += *guard;
  });
  self->arm(0);
  other->arm(1);
  loop.run_ready();
  EXPECT_EQ(fired, 1);
}

TEST(LoopClock, DestroyedWhileArmedNeverFires) {
  Loop loop;
  auto timer = loop.realtime_clock().create_timer([] { FAIL(); });
  timer->arm(0);
  timer.reset();
  loop.run_ready();
}

TEST(LoopClock, ArmingFromAnotherThreadWakesTheLoop) {
  Loop loop;
  Clock& clock = loop.realtime_clock();
  const auto far = clock.create_timer([] { FAIL(); });
  far->arm(clock.now_ns() + 3600 * kNsPerSecond);
  const auto near = clock.create_timer([&] { loop.quit(); });
  std::thread other([&] { near->arm(clock.now_ns() + kNsPerMillisecond); });
  loop.run();
  other.join();
}

TEST(LoopClock, ArmAndCancelRaceWithFiring) {
  constexpr int kTimers = 8;
  Loop loop;
  Clock& clock = loop.realtime_clock();
  std::atomic<int> fired{0};
  std::vector<std::unique_ptr<Timer>> timers;
  for (int i = 0; i < kTimers; ++i) timers.push_back(clock.create_timer([&] { ++fired; }));
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < 3; ++t)
    threads.emplace_back([&, t] {
      std::mt19937 random(t);
      for (int i = 0; i < 5'000 || fired < 20; ++i) {
        Timer& timer = *timers[random() % timers.size()];
        if (random() % 4 == 0)
          timer.cancel();
        else
          timer.arm(clock.now_ns() + static_cast<std::int64_t>(random() % 100'000));
        (void)timer.armed();
      }
    });
  std::thread closer([&] {
    for (auto& thread : threads) thread.join();
    loop.quit();
  });
  loop.run();
  closer.join();
  EXPECT_GT(fired, 0);
  // Whatever the races left behind, the loop still serves a new timer.
  const auto last = clock.create_timer([&] { loop.quit(); });
  last->arm(clock.now_ns());
  loop.run();
}

TEST(VirtualClock, StartsAtZeroAndStandsWhilePaused) {
  Loop loop;
  PausableClock& clock = loop.virtual_clock();
  EXPECT_EQ(clock.now_ns(), 0);
  clock.resume();
  std::this_thread::sleep_for(std::chrono::milliseconds(2));
  EXPECT_GE(clock.now_ns(), 2 * kNsPerMillisecond);
  clock.pause();
  const std::int64_t held = clock.now_ns();
  std::this_thread::sleep_for(std::chrono::milliseconds(2));
  EXPECT_EQ(clock.now_ns(), held);
  clock.resume();
  EXPECT_GE(clock.now_ns(), held);
}

TEST(VirtualClock, TimersWaitThroughAPause) {
  Loop loop;
  PausableClock& clock = loop.virtual_clock();
  int fired = 0;
  const auto timer = clock.create_timer([&] {
    ++fired;
    loop.quit();
  });
  timer->arm(kNsPerMillisecond);
  clock.resume();
  clock.pause();
  std::this_thread::sleep_for(std::chrono::milliseconds(3));
  loop.run_ready();
  EXPECT_EQ(fired, 0);
  EXPECT_TRUE(timer->armed());
  std::thread other([&] { clock.resume(); });
  loop.run();
  other.join();
  EXPECT_EQ(fired, 1);
}

TEST(VirtualClock, SetNowTakesOverASavedTime) {
  Loop loop;
  PausableClock& clock = loop.virtual_clock();
  int fired = 0;
  const auto timer = clock.create_timer([&] { ++fired; });
  clock.set_now_ns(7 * kNsPerSecond);
  EXPECT_EQ(clock.now_ns(), 7 * kNsPerSecond);
  timer->arm(6 * kNsPerSecond);
  loop.run_ready();
  EXPECT_EQ(fired, 0);
  clock.resume();
  loop.run_ready();
  EXPECT_EQ(fired, 1);
  EXPECT_GE(clock.now_ns(), 7 * kNsPerSecond);
}

TEST(LoopClock, WakesOnlyForAnEarlierDeadline) {
  int wakes = 0;
  LoopClock clock(LoopClock::Start::kRealtime, [&] { ++wakes; });
  const auto first = clock.create_timer([] {});
  const auto second = clock.create_timer([] {});
  const std::int64_t base = clock.now_ns() + kNsPerSecond;
  first->arm(base);
  EXPECT_EQ(wakes, 1);
  second->arm(base + 10);
  first->arm(base + 5);
  EXPECT_EQ(wakes, 1);
  second->arm(base - 10);
  EXPECT_EQ(wakes, 2);
  EXPECT_EQ(clock.wake_host_ns(), base - 10);
}

}  // namespace
}  // namespace doppel::event
