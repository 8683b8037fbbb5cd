// A clock that stands still until a test moves it.
#pragma once

#include <vector>

#include "event/clock.h"

namespace doppel::event {

/// Single-threaded. advance() fires due timers in order of their deadlines, each seeing now_ns() at its own deadline.
class FakeClock final : public Clock {
 public:
  ~FakeClock() override;
  [[nodiscard]] std::int64_t now_ns() const override { return now_ns_; }
  [[nodiscard]] std::unique_ptr<Timer> create_timer(std::function<void()> callback) override;

  void advance(std::int64_t ns) { advance_to(now_ns_ + ns); }
  void advance_to(std::int64_t deadline_ns);
  /// Moves the hands and fires nothing, as a host too busy to run the loop does; the next advance() fires late.
  void stall(std::int64_t ns) { now_ns_ += ns; }
  /// The earliest armed deadline, or -1 with no timer armed.
  [[nodiscard]] std::int64_t next_deadline_ns() const;

 private:
  class FakeTimer;
  [[nodiscard]] FakeTimer* earliest() const;

  std::int64_t now_ns_ = 0;
  std::vector<FakeTimer*> timers_;  // by the time of arming, oldest first
};

}  // namespace doppel::event
