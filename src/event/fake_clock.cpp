#include "event/fake_clock.h"

#include <algorithm>
#include <cassert>

namespace doppel::event {

class FakeClock::FakeTimer final : public Timer {
 public:
  FakeTimer(FakeClock& clock, std::function<void()> callback) : clock_(clock), callback_(std::move(callback)) {
    clock_.timers_.push_back(this);
  }
  ~FakeTimer() override { std::erase(clock_.timers_, this); }

  void arm(std::int64_t deadline_ns) override {
    armed_ = true;
    deadline_ns_ = deadline_ns;
    // Equal deadlines fire in the order of arming.
    std::erase(clock_.timers_, this);
    clock_.timers_.push_back(this);
  }
  void cancel() override { armed_ = false; }
  [[nodiscard]] bool armed() const override { return armed_; }
  [[nodiscard]] std::int64_t deadline_ns() const { return deadline_ns_; }

  void fire() {
    armed_ = false;
    const auto callback = callback_;  // survives a callback that destroys this timer
    callback();
  }

 private:
  FakeClock& clock_;
  std::function<void()> callback_;
  std::int64_t deadline_ns_ = 0;
  bool armed_ = false;
};

FakeClock::~FakeClock() {
  assert(timers_.empty() && "a timer outlives its clock");
}

std::unique_ptr<Timer> FakeClock::create_timer(std::function<void()> callback) {
  return std::make_unique<FakeTimer>(*this, std::move(callback));
}

FakeClock::FakeTimer* FakeClock::earliest() const {
  FakeTimer* first = nullptr;
  for (FakeTimer* timer : timers_)
    if (timer->armed() && (first == nullptr || timer->deadline_ns() < first->deadline_ns())) first = timer;
  return first;
}

void FakeClock::advance_to(std::int64_t deadline_ns) {
  for (FakeTimer* timer = earliest(); timer != nullptr && timer->deadline_ns() <= deadline_ns; timer = earliest()) {
    now_ns_ = std::max(now_ns_, timer->deadline_ns());
    timer->fire();
  }
  now_ns_ = std::max(now_ns_, deadline_ns);
}

std::int64_t FakeClock::next_deadline_ns() const {
  const FakeTimer* timer = earliest();
  return timer != nullptr ? timer->deadline_ns() : -1;
}

}  // namespace doppel::event
