#include "hw/timer/i8254.h"

#include <algorithm>

#include "base/bits.h"
#include "hw/timer/ticks.h"

namespace doppel::hw {

namespace {

constexpr std::uint64_t kControlPort = 3;
constexpr unsigned kReadBack = 3;             // in the counter field of a control word
constexpr std::uint16_t kRefreshPeriod = 18;  // 15 us, what every PC firmware sets
constexpr std::uint32_t kShortestReplayed =
    static_cast<std::uint32_t>(event::ns_to_ticks(2 * kMinimumTimerIntervalNs, I8254::kFrequencyHz));

}  // namespace

I8254::I8254(event::Clock& clock, IrqPin irq0, Logger log)
    : clock_(clock), log_(std::move(log)), irq0_(*this, irq0), timer_(clock.create_timer([this] { on_timer(); })) {}

void I8254::reset() {
  const DeviceGuard guard(*this);
  const Tick now = now_ticks();
  counters_[0].reset(3, 0, true, now);
  counters_[1].reset(2, kRefreshPeriod, true, now);
  counters_[2].reset(3, 0, false, now);
  irq_enabled_ = true;
  refresh_toggle_ = false;
  lost_ticks_ = 0;
  last_tick_ns_ = 0;
  drive(now);
}

void I8254::save(state::Writer& writer) {
  const DeviceGuard guard(*this);
  (void)settle();
  state::save(writer, I8254State{.counters = {counters_[0].state(), counters_[1].state(), counters_[2].state()},
                                 .irq_enabled = irq_enabled_,
                                 .refresh_toggle = refresh_toggle_,
                                 .lost_ticks = lost_ticks_});
}

Result<> I8254::load(state::Reader& reader) {
  const DeviceGuard guard(*this);
  DOPPEL_ASSIGN(const auto loaded, state::load<I8254State>(reader));
  for (std::size_t i = 0; i < counters_.size(); ++i) DOPPEL_TRY(counters_[i].set_state(loaded.counters[i]));
  irq_enabled_ = loaded.irq_enabled;
  refresh_toggle_ = loaded.refresh_toggle;
  lost_ticks_ = std::min(loaded.lost_ticks, kMaxLostTicks);
  last_tick_ns_ = 0;  // the clock may have gone back
  const Tick now = settle();
  replay_at_ = now + counters_[0].period() / 2;
  drive(now);
  return {};
}

std::uint64_t I8254::read(std::uint64_t offset, unsigned size) {
  const DeviceGuard guard(*this);
  if (offset >= kControlPort || size != 1) {
    log_.guest_error("read of {} bytes at write-only register {}", size, offset);
    return low_mask(8 * size);
  }
  const Tick now = settle();
  const std::uint8_t value = counters_[offset].read(now);
  drive(now);
  return value;
}

void I8254::write(std::uint64_t offset, unsigned size, std::uint64_t value) {
  const DeviceGuard guard(*this);
  if (offset > kControlPort || size != 1) return log_.guest_error("write of {} bytes at register {}", size, offset);
  const Tick now = settle();
  const auto byte = static_cast<std::uint8_t>(value);
  if (offset == kControlPort)
    control(byte, now);
  else
    counters_[offset].write(byte, now);
  if (offset == 0) lost_ticks_ = 0;
  drive(now);
}

void I8254::set_gate2(bool level) {
  const DeviceGuard guard(*this);
  counters_[2].set_gate(level, settle());
}

bool I8254::out2() {
  const DeviceGuard guard(*this);
  return counters_[2].out(settle());
}

bool I8254::refresh_toggle() {
  const DeviceGuard guard(*this);
  (void)settle();
  return refresh_toggle_;
}

void I8254::set_irq_enabled(bool enabled) {
  const DeviceGuard guard(*this);
  const Tick now = settle();
  irq_enabled_ = enabled;
  lost_ticks_ = 0;
  drive(now);
}

I8254::Tone I8254::tone() {
  const DeviceGuard guard(*this);
  (void)settle();
  const I8254Counter& counter = counters_[2];
  const double frequency = static_cast<double>(kFrequencyHz) / static_cast<double>(counter.period());
  return {counter.mode(), counter.running(), counter.periodic() ? frequency : 0};
}

I8254::Tick I8254::now_ticks() const {
  return static_cast<Tick>(event::ns_to_ticks(clock_.now_ns(), kFrequencyHz));
}

I8254::Tick I8254::settle() {
  const Tick now = now_ticks();
  (void)catch_up(now);
  return now;
}

/// Brings all counters up to NOW, and with them what follows from OUT0 and OUT1. Returns whether IRQ0 ticked.
bool I8254::catch_up(Tick now) {
  refresh_toggle_ ^= (counters_[1].advance(now) & 1U) != 0;
  counters_[2].advance(now);
  const std::uint64_t rises = counters_[0].advance(now);
  if (rises == 0 || !irq_enabled_) return false;
  tick_irq0(now);
  if (counters_[0].period() >= kShortestReplayed)
    lost_ticks_ = static_cast<std::uint32_t>(std::min<std::uint64_t>(lost_ticks_ + rises - 1, kMaxLostTicks));
  return true;
}

void I8254::tick_irq0(Tick now) {
  irq0_.edge();
  replay_at_ = now + counters_[0].period() / 2;
  last_tick_ns_ = clock_.now_ns();
}

/// Sets IRQ0 to what OUT0 is and arms the timer for its next change.
void I8254::drive(Tick now) {
  if (!irq_enabled_) {
    irq0_.lower();
    return timer_->cancel();
  }
  const I8254Counter& counter = counters_[0];
  irq0_.set(counter.periodic() || counter.out(now));
  Tick next = counter.next_event(now);
  const Tick replay = std::max(replay_at_, now);
  if (lost_ticks_ > 0 && clear_of_ticks(replay, next)) next = replay;
  if (next == I8254Counter::kNever) return timer_->cancel();
  std::int64_t deadline = ticks_to_deadline_ns(static_cast<std::uint64_t>(next), kFrequencyHz);
  if (counter.periodic()) deadline = std::max(deadline, last_tick_ns_ + kMinimumTimerIntervalNs);
  timer_->arm(deadline);
}

/// Is WHEN far enough ahead of NEXT, the next true tick, for the guest to see two?
bool I8254::clear_of_ticks(Tick when, Tick next) const {
  return when + counters_[0].period() / 4 <= next;
}

void I8254::control(std::uint8_t word, Tick now) {
  const unsigned selected = bits(word, 7, 6);
  if (selected == kReadBack) return read_back(word, now);
  if (bits(word, 5, 4) == 0) return counters_[selected].latch_count(now);
  counters_[selected].control(word, now);
  if (selected == 0) lost_ticks_ = 0;
}

/// Bits 5 and 4 select, when low, count and status; bits 3 to 1 the counters.
void I8254::read_back(std::uint8_t command, Tick now) {
  for (unsigned i = 0; i < counters_.size(); ++i) {
    if (!test_bit(command, i + 1)) continue;
    if (!test_bit(command, 5)) counters_[i].latch_count(now);
    if (!test_bit(command, 4)) counters_[i].latch_status(now);
  }
}

void I8254::on_timer() {
  const DeviceGuard guard(*this);
  const Tick now = now_ticks();
  if (!catch_up(now) && lost_ticks_ > 0 && irq_enabled_ && now >= replay_at_ &&
      clear_of_ticks(now, counters_[0].next_event(now))) {
    --lost_ticks_;
    tick_irq0(now);
  }
  drive(now);
}

}  // namespace doppel::hw
