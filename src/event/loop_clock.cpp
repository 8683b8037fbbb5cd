#include "event/loop_clock.h"

#include <ctime>

namespace doppel::event {

namespace {

std::int64_t host_now_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::int64_t>(now.tv_sec) * kNsPerSecond + now.tv_nsec;
}

std::int64_t saturating_subtract(std::int64_t a, std::int64_t b) {
  std::int64_t difference = 0;
  if (!__builtin_sub_overflow(a, b, &difference)) return difference;
  return a < 0 ? std::numeric_limits<std::int64_t>::min() : std::numeric_limits<std::int64_t>::max();
}

}  // namespace

class LoopClock::LoopTimer final : public Timer {
 public:
  LoopTimer(LoopClock& clock, std::function<void()> callback) : clock_(clock) {
    entry_->callback = std::move(callback);
  }
  ~LoopTimer() override { cancel(); }

  void arm(std::int64_t deadline_ns) override {
    bool wake = false;
    {
      const std::scoped_lock lock(clock_.mutex_);
      clock_.heap_.arm(entry_, deadline_ns);
      wake = clock_.wake_earlier_locked();
    }
    if (wake) clock_.wake_earlier_();
  }
  void cancel() override {
    const std::scoped_lock lock(clock_.mutex_);
    clock_.heap_.cancel(*entry_);
  }
  [[nodiscard]] bool armed() const override {
    const std::scoped_lock lock(clock_.mutex_);
    return entry_->index != TimerEntry::kIdle;
  }

 private:
  LoopClock& clock_;
  TimerHeap::EntryPtr entry_ = std::make_shared<TimerEntry>();
};

LoopClock::LoopClock(Start start, std::function<void()> wake_earlier)
    : wake_earlier_(std::move(wake_earlier)), running_(start == Start::kRealtime), time_ns_(0) {}

std::int64_t LoopClock::now_locked() const {
  return running_ ? host_now_ns() + time_ns_ : time_ns_;
}

std::int64_t LoopClock::now_ns() const {
  const std::scoped_lock lock(mutex_);
  return now_locked();
}

std::unique_ptr<Timer> LoopClock::create_timer(std::function<void()> callback) {
  return std::make_unique<LoopTimer>(*this, std::move(callback));
}

std::int64_t LoopClock::wake_host_ns() const {
  const std::scoped_lock lock(mutex_);
  return waiting_for_host_ns_;
}

bool LoopClock::wake_earlier_locked() {
  if (!running_ || heap_.empty()) return false;
  const std::int64_t host_ns = saturating_subtract(heap_.earliest_ns(), time_ns_);
  if (host_ns >= waiting_for_host_ns_) return false;
  waiting_for_host_ns_ = host_ns;
  return true;
}

void LoopClock::pause() {
  const std::scoped_lock lock(mutex_);
  if (!running_) return;
  time_ns_ = now_locked();
  running_ = false;
}

void LoopClock::resume() {
  bool wake = false;
  {
    const std::scoped_lock lock(mutex_);
    if (running_) return;
    time_ns_ -= host_now_ns();
    running_ = true;
    wake = wake_earlier_locked();
  }
  if (wake) wake_earlier_();
}

void LoopClock::set_now_ns(std::int64_t now_ns) {
  bool wake = false;
  {
    const std::scoped_lock lock(mutex_);
    time_ns_ = running_ ? now_ns - host_now_ns() : now_ns;
    wake = wake_earlier_locked();
  }
  if (wake) wake_earlier_();
}

TimerHeap::EntryPtr LoopClock::take_due(std::int64_t now_ns) {
  const std::scoped_lock lock(mutex_);
  if (!running_ || heap_.empty() || heap_.earliest_ns() > now_ns) return nullptr;
  return heap_.pop();
}

void LoopClock::run_due(const std::function<bool()>& stop) {
  std::int64_t now = 0;
  std::size_t most = 0;
  {
    const std::scoped_lock lock(mutex_);
    now = now_locked();
    most = heap_.size();
    waiting_for_host_ns_ = std::numeric_limits<std::int64_t>::min();  // arming wakes nobody: the end of this looks
  }
  for (; most > 0 && !stop(); --most) {
    const TimerHeap::EntryPtr due = take_due(now);
    if (due == nullptr) break;
    due->callback();
  }
  bool wake = false;
  {
    const std::scoped_lock lock(mutex_);
    waiting_for_host_ns_ = kNever;
    wake = wake_earlier_locked();
  }
  if (wake) wake_earlier_();
}

}  // namespace doppel::event
