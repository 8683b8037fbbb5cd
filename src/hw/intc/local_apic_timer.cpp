#include "hw/intc/local_apic_timer.h"

#include <algorithm>
#include <utility>

#include "hw/intc/local_apic_registers.h"

namespace doppel::hw {

namespace {

/// The longest single wait for a TSC deadline; expire() goes on waiting.
constexpr std::uint64_t kLongestWaitSeconds = 3600;
/// Lets a TSC that lags behind the clock catch up without spinning.
constexpr std::int64_t kShortestWaitNs = event::kNsPerMicrosecond;

}  // namespace

LocalApicTimer::LocalApicTimer(event::Clock& clock, std::function<void()> callback,
                               std::function<std::uint64_t()> tsc_now, std::uint64_t tsc_hz)
    : clock_(clock),
      tsc_now_(std::move(tsc_now)),
      tsc_hz_(std::max<std::uint64_t>(tsc_hz, 1)),
      timer_(clock.create_timer(std::move(callback))) {}

void LocalApicTimer::reset() {
  timer_->cancel();
  mode_ = LocalApicTimerMode::kOneShot;
  initial_count_ = 0;
  divide_ = 0;
  running_ = false;
  tsc_deadline_ = 0;
}

void LocalApicTimer::set_mode(LocalApicTimerMode mode) {
  if (mode == mode_) return;
  const bool disarms = mode == LocalApicTimerMode::kTscDeadline || mode_ == LocalApicTimerMode::kTscDeadline;
  const std::int64_t remaining = remaining_ns();
  mode_ = mode;
  if (disarms) {
    timer_->cancel();
    running_ = false;
    tsc_deadline_ = 0;
  } else if (running_) {
    run_for(remaining);
  }
}

/// Bits 3, 1 and 0 of the divide configuration: 2, 4, ... 128, 1 (figure 11-10).
std::int64_t LocalApicTimer::divided_ns(std::uint32_t value) {
  const unsigned code = (value & 3U) | (value & 8U) >> 1U;
  return std::int64_t{1} << ((code + 1) & 7U);
}

/// Until the count reaches 0 next; 0 if it stands still.
std::int64_t LocalApicTimer::remaining_ns() const {
  if (!running_) return 0;
  const std::int64_t remaining = deadline_ns_ - clock_.now_ns();
  if (remaining > 0) return remaining;
  if (mode_ != LocalApicTimerMode::kPeriodic) return 0;
  return period_ns() - -remaining % period_ns();
}

void LocalApicTimer::run_for(std::int64_t ns) {
  running_ = true;
  deadline_ns_ = clock_.now_ns() + ns;
  timer_->arm(deadline_ns_);
}

void LocalApicTimer::start(std::uint32_t initial_count) {
  if (mode_ == LocalApicTimerMode::kTscDeadline) return;
  initial_count_ = initial_count;
  if (initial_count != 0) {
    run_for(period_ns());
  } else {
    running_ = false;
    timer_->cancel();
  }
}

std::uint32_t LocalApicTimer::current_count() const {
  const std::int64_t counts = (remaining_ns() + count_ns() - 1) / count_ns();
  return static_cast<std::uint32_t>(std::min<std::int64_t>(counts, 0xffffffff));
}

/// A running timer goes on from the same count at the new rate.
void LocalApicTimer::set_divide(std::uint32_t value) {
  const std::uint32_t count = current_count();
  divide_ = value & lapic::kDivideWritable;
  if (running_ && count != 0) run_for(count * count_ns());
}

bool LocalApicTimer::set_tsc_deadline(std::uint64_t deadline) {
  if (mode_ != LocalApicTimerMode::kTscDeadline) return false;
  tsc_deadline_ = deadline;
  if (deadline == 0) timer_->cancel();
  return arm_tsc(0);
}

bool LocalApicTimer::arm_tsc(std::int64_t shortest_wait_ns) {
  if (tsc_deadline_ == 0) return false;
  const std::uint64_t tsc = tsc_now_();
  if (tsc >= tsc_deadline_) {
    tsc_deadline_ = 0;
    timer_->cancel();
    return true;
  }
  const std::uint64_t longest = static_cast<std::uint64_t>(
      std::min<unsigned __int128>(static_cast<unsigned __int128>(tsc_hz_) * kLongestWaitSeconds, ~std::uint64_t{0}));
  const std::int64_t wait = event::ticks_to_ns(std::min(tsc_deadline_ - tsc, longest), tsc_hz_) + 1;
  timer_->arm(clock_.now_ns() + std::max(wait, shortest_wait_ns));
  return false;
}

bool LocalApicTimer::expire() {
  if (mode_ == LocalApicTimerMode::kTscDeadline) return arm_tsc(kShortestWaitNs);
  if (!running_) return false;
  const std::int64_t now = clock_.now_ns();
  if (now < deadline_ns_) {
    timer_->arm(deadline_ns_);
    return false;
  }
  if (mode_ == LocalApicTimerMode::kPeriodic) {
    deadline_ns_ = now + remaining_ns();
    timer_->arm(period_ns() < kMinimumPeriodNs ? now + kMinimumPeriodNs : deadline_ns_);
  } else {
    running_ = false;
  }
  return true;
}

LocalApicTimer::State LocalApicTimer::save() const {
  return {initial_count_, divide_, running_, remaining_ns(), tsc_deadline_};
}

void LocalApicTimer::load(const State& state) {
  initial_count_ = state.initial_count;
  divide_ = state.divide & lapic::kDivideWritable;
  running_ = false;
  tsc_deadline_ = 0;
  timer_->cancel();
  if (mode_ == LocalApicTimerMode::kTscDeadline) {
    tsc_deadline_ = state.tsc_deadline;
    // A deadline that has passed meanwhile fires from the loop, as load() has nobody to interrupt yet.
    if (tsc_deadline_ != 0) timer_->arm(clock_.now_ns());
  } else if (state.running && initial_count_ != 0) {
    run_for(std::clamp<std::int64_t>(state.remaining_ns, 0, 128 * std::int64_t{0xffffffff}));
  }
}

}  // namespace doppel::hw
