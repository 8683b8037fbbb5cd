// The local APIC's timer (SDM 3A 11.5.4): one-shot, periodic, TSC-deadline.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "event/clock.h"

namespace doppel::hw {

enum class LocalApicTimerMode : std::uint8_t { kOneShot = 0, kPeriodic = 1, kTscDeadline = 2 };

/// Counts at 1 GHz before the divider, the frequency that KVM's has too. Guarded by its APIC's lock.
///
/// A periodic timer keeps its phase, but interrupts at most once in kMinimumPeriodNs whatever the guest asks for, so
/// that it cannot keep the loop's thread busy. Periods missed, by a late callback, are not made up for.
class LocalApicTimer {
 public:
  static constexpr std::int64_t kMinimumPeriodNs = 100 * event::kNsPerMicrosecond;

  struct State {
    std::uint32_t initial_count = 0;
    std::uint32_t divide = 0;  // the register's value
    bool running = false;
    std::int64_t remaining_ns = 0;
    std::uint64_t tsc_deadline = 0;  // 0: disarmed

    void describe(auto& fields) {
      fields("initial_count", initial_count);
      fields("divide", divide);
      fields("running", running);
      fields("remaining_ns", remaining_ns);
      fields("tsc_deadline", tsc_deadline);
    }
  };

  /// CALLBACK is called from the clock and leads to expire(). TSC_NOW is called with the APIC's lock held.
  LocalApicTimer(event::Clock& clock, std::function<void()> callback, std::function<std::uint64_t()> tsc_now,
                 std::uint64_t tsc_hz);

  void reset();
  /// From or to kTscDeadline disarms.
  void set_mode(LocalApicTimerMode mode);
  [[nodiscard]] LocalApicTimerMode mode() const { return mode_; }

  void start(std::uint32_t initial_count);
  [[nodiscard]] std::uint32_t initial_count() const { return initial_count_; }
  [[nodiscard]] std::uint32_t current_count() const;
  void set_divide(std::uint32_t value);
  [[nodiscard]] std::uint32_t divide() const { return divide_; }

  /// True: the deadline is past already, interrupt now.
  [[nodiscard]] bool set_tsc_deadline(std::uint64_t deadline);
  [[nodiscard]] std::uint64_t tsc_deadline() const { return tsc_deadline_; }
  /// The TSC was written. True as above.
  [[nodiscard]] bool tsc_changed() { return arm_tsc(0); }

  /// True: an interrupt is due. A callback that comes late or in vain is told apart here.
  [[nodiscard]] bool expire();

  /// Nanoseconds per count with the divide configuration VALUE.
  [[nodiscard]] static std::int64_t divided_ns(std::uint32_t value);

  [[nodiscard]] State save() const;
  /// After set_mode().
  void load(const State& state);

 private:
  [[nodiscard]] std::int64_t count_ns() const { return divided_ns(divide_); }
  [[nodiscard]] std::int64_t period_ns() const { return count_ns() * static_cast<std::int64_t>(initial_count_); }
  [[nodiscard]] std::int64_t remaining_ns() const;
  void run_for(std::int64_t ns);
  [[nodiscard]] bool arm_tsc(std::int64_t shortest_wait_ns);

  event::Clock& clock_;
  const std::function<std::uint64_t()> tsc_now_;
  const std::uint64_t tsc_hz_;
  const std::unique_ptr<event::Timer> timer_;

  LocalApicTimerMode mode_ = LocalApicTimerMode::kOneShot;
  std::uint32_t initial_count_ = 0;
  std::uint32_t divide_ = 0;
  bool running_ = false;
  std::int64_t deadline_ns_ = 0;  // when the count reaches, or reached, 0; while running
  std::uint64_t tsc_deadline_ = 0;
};

}  // namespace doppel::hw
