// Time as devices see it: a clock that can be read and that fires timers. Injected, so that tests can turn its hands.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

namespace doppel::event {

inline constexpr std::int64_t kNsPerSecond = 1'000'000'000;
inline constexpr std::int64_t kNsPerMillisecond = 1'000'000;
inline constexpr std::int64_t kNsPerMicrosecond = 1'000;

/// One shot at a time on the clock that made it; must not outlive that clock.
/// arm() and cancel() may be called from any thread. The callback runs on the loop's thread with no lock held, so it
/// may come once more after a cancel() from another thread: check your own state under your own lock.
/// Destroy a timer on the loop's thread, or when the loop does not run.
class Timer {
 public:
  virtual ~Timer() = default;
  /// Fires when the clock reads DEADLINE_NS or later; replaces an earlier deadline. A past one fires at once.
  virtual void arm(std::int64_t deadline_ns) = 0;
  virtual void cancel() = 0;
  [[nodiscard]] virtual bool armed() const = 0;
};

class Clock {
 public:
  virtual ~Clock() = default;
  /// Nanoseconds since this clock began. Never goes back. Any thread.
  [[nodiscard]] virtual std::int64_t now_ns() const = 0;
  [[nodiscard]] virtual std::unique_ptr<Timer> create_timer(std::function<void()> callback) = 0;
};

/// TICKS of a FREQUENCY in nanoseconds and back, exact to rounding down for any 64-bit count (128-bit inside).
constexpr std::int64_t ticks_to_ns(std::uint64_t ticks, std::uint64_t frequency_hz) {
  return static_cast<std::int64_t>(static_cast<unsigned __int128>(ticks) * kNsPerSecond / frequency_hz);
}
constexpr std::uint64_t ns_to_ticks(std::int64_t ns, std::uint64_t frequency_hz) {
  return static_cast<std::uint64_t>(static_cast<unsigned __int128>(ns) * frequency_hz / kNsPerSecond);
}

}  // namespace doppel::event
