// A clock whose timers an event loop drives.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <mutex>

#include "event/clock.h"
#include "event/loop.h"
#include "event/timer_heap.h"

namespace doppel::event {

/// CLOCK_MONOTONIC plus an offset that pausing changes. Its loop calls run_due() at wake_host_ns().
class LoopClock final : public PausableClock {
 public:
  static constexpr std::int64_t kNever = std::numeric_limits<std::int64_t>::max();

  enum class Start : std::uint8_t { kRealtime, kPausedAtZero };
  /// WAKE_EARLIER is called from any thread, with no lock held, when wake_host_ns() has become earlier.
  LoopClock(Start start, std::function<void()> wake_earlier);

  [[nodiscard]] std::int64_t now_ns() const override;
  [[nodiscard]] std::unique_ptr<Timer> create_timer(std::function<void()> callback) override;
  void pause() override;
  void resume() override;
  void set_now_ns(std::int64_t now_ns) override;

  /// When, by CLOCK_MONOTONIC, the loop shall call run_due(); kNever if nothing is armed.
  [[nodiscard]] std::int64_t wake_host_ns() const;
  /// Fires what is due, each timer at most once, until STOP says so. On the loop's thread.
  void run_due(const std::function<bool()>& stop);

 private:
  class LoopTimer;
  [[nodiscard]] std::int64_t now_locked() const;
  /// True if the loop must be woken for the earliest timer: it waits for something later.
  [[nodiscard]] bool wake_earlier_locked();
  [[nodiscard]] TimerHeap::EntryPtr take_due(std::int64_t now_ns);

  const std::function<void()> wake_earlier_;
  mutable std::mutex mutex_;  // guards all below
  TimerHeap heap_;
  bool running_;
  std::int64_t time_ns_;  // what the clock reads while paused; while running, its lead over CLOCK_MONOTONIC
  std::int64_t waiting_for_host_ns_ = kNever;
};

}  // namespace doppel::event
