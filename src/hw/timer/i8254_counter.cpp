#include "hw/timer/i8254_counter.h"

#include <algorithm>
#include <utility>

namespace doppel::hw {

namespace {

constexpr std::int64_t half_up(std::uint32_t count) {
  return (static_cast<std::int64_t>(count) + 1) / 2;
}

}  // namespace

void I8254Counter::reset(std::uint8_t mode, std::uint16_t count, bool gate, Tick now) {
  state_ = {};
  state_.mode = mode;
  state_.gate = gate;
  state_.seen = now;
  load(count, now);
}

std::uint64_t I8254Counter::advance(Tick now) {
  Tick from = std::exchange(state_.seen, now);
  if (!state_.running || paused() || now < from) return 0;
  if (!periodic()) return from < single_rise() && single_rise() <= now ? 1 : 0;
  Tick rises = 0;
  if (state_.reload_pending && now >= state_.reload_at) {
    rises = periods(state_.reload_at) - periods(from);
    from = state_.reload_at;
    apply_reload();
  }
  return static_cast<std::uint64_t>(rises + periods(now) - periods(from));
}

void I8254Counter::control(std::uint8_t word, Tick now) {
  const std::uint16_t held = value(now);
  I8254CounterState fresh;
  fresh.mode = static_cast<std::uint8_t>((word >> 1U) & 7U);
  if (fresh.mode > 5) fresh.mode = static_cast<std::uint8_t>(fresh.mode - 4);
  fresh.access = static_cast<std::uint8_t>((word >> 4U) & 3U);
  fresh.bcd = (word & 1U) != 0;
  fresh.gate = state_.gate;
  fresh.seen = now;
  fresh.held = held;
  state_ = fresh;
}

void I8254Counter::write(std::uint8_t value_byte, Tick now) {
  if (state_.access == 1) return load(value_byte, now);
  if (state_.access == 2) return load(static_cast<std::uint16_t>(value_byte << 8U), now);
  if (!state_.write_high) {
    state_.low_byte = value_byte;
    state_.write_high = true;
    if (state_.mode == 0) {  // the first byte stops the count, and OUT falls at once
      state_.held = value(now);
      state_.running = false;
    }
    return;
  }
  state_.write_high = false;
  load(static_cast<std::uint16_t>(value_byte << 8U | state_.low_byte), now);
}

std::uint8_t I8254Counter::read(Tick now) {
  if (std::exchange(state_.status_latched, false)) return state_.latched_status;
  const std::uint16_t count = state_.count_latched ? state_.latched_count : value(now);
  const bool high = state_.access == 2 || (state_.access == 3 && state_.read_high);
  if (state_.access == 3) state_.read_high = !state_.read_high;
  if (high || state_.access == 1) state_.count_latched = false;
  return static_cast<std::uint8_t>(high ? count >> 8U : count);
}

void I8254Counter::latch_count(Tick now) {
  if (state_.count_latched) return;
  state_.count_latched = true;
  state_.latched_count = value(now);
}

void I8254Counter::latch_status(Tick now) {
  if (state_.status_latched) return;
  const bool null_count = !state_.running || state_.reload_pending || now < state_.start;
  state_.status_latched = true;
  const unsigned programmed = static_cast<unsigned>(state_.access << 4U | state_.mode << 1U) | (state_.bcd ? 1U : 0U);
  state_.latched_status = static_cast<std::uint8_t>((out(now) ? 0x80U : 0U) | (null_count ? 0x40U : 0U) | programmed);
}

void I8254Counter::set_gate(bool level, Tick now) {
  if (level == state_.gate) return;
  const bool pauses = state_.mode == 0 || state_.mode == 4;
  if (level) {
    if (pauses) state_.start = now - state_.frozen;
  } else if (pauses) {
    state_.frozen = std::max<Tick>(now - state_.start, 0);
  } else if (periodic()) {
    state_.held = value(now);
    state_.running = false;
  }
  state_.gate = level;
  if (level && !pauses && state_.programmed) begin(now);
}

bool I8254Counter::out(Tick now) const {
  if (!state_.running) return state_.mode != 0;
  const Tick ticks = elapsed(now);
  const Tick count = state_.count;
  switch (state_.mode) {
    case 0: return ticks >= count;
    case 1: return ticks < 0 || ticks >= count;
    case 2: return ticks < 0 || count == 1 || ticks % count != count - 1;
    case 3: return ticks < 0 || ticks % count < half_up(state_.count);
    default: return ticks != count;
  }
}

I8254Counter::Tick I8254Counter::next_event(Tick now) const {
  if (!state_.running || paused()) return kNever;
  if (periodic()) {
    const Tick rise = state_.start + (periods(now) + 1) * state_.count;
    return state_.reload_pending ? std::min(rise, state_.reload_at) : rise;
  }
  if (state_.mode == 1 && now < state_.start) return state_.start;
  return now < single_rise() ? single_rise() : kNever;
}

I8254Counter::Tick I8254Counter::periods(Tick now) const {
  return now < state_.start ? 0 : (now - state_.start) / state_.count;
}

/// When OUT rises at the end of modes 0 and 1, or of the strobe of modes 4 and 5.
I8254Counter::Tick I8254Counter::single_rise() const {
  return state_.start + state_.count + (state_.mode >= 4 ? 1 : 0);
}

/// Where a count written while another runs takes over: the end of the period, in mode 3 of the half period.
I8254Counter::Tick I8254Counter::reload_boundary(Tick now) const {
  const Tick period_start = state_.start + periods(now) * state_.count;
  const Tick half = period_start + half_up(state_.count);
  return state_.mode == 3 && now < half ? half : period_start + state_.count;
}

void I8254Counter::apply_reload() {
  const bool low_half_begins = (state_.reload_at - state_.start) % state_.count != 0;
  state_.count = state_.reload;
  state_.start = low_half_begins ? state_.reload_at - half_up(state_.count) : state_.reload_at;
  state_.reload_pending = false;
}

std::uint16_t I8254Counter::value(Tick now) const {
  if (!state_.running) return state_.held;
  const Tick ticks = std::max<Tick>(elapsed(now), 0);
  const Tick count = state_.count;
  if (state_.mode == 2) return encode(count - ticks % count);
  if (state_.mode != 3) return encode(count - ticks);
  // Mode 3 counts down by two, an odd count from the even number below it, once in each half.
  const Tick in_period = ticks % count;
  const Tick in_half = in_period < half_up(state_.count) ? in_period : in_period - half_up(state_.count);
  return encode((count & ~Tick{1}) - 2 * in_half);
}

/// COUNT as the guest reads it; below zero the counter has wrapped.
std::uint16_t I8254Counter::encode(Tick count) const {
  if (!state_.bcd) return static_cast<std::uint16_t>(count);
  Tick rest = (count % 10000 + 10000) % 10000;
  unsigned digits = 0;
  for (unsigned shift = 0; shift < 16; shift += 4, rest /= 10) digits |= static_cast<unsigned>(rest % 10) << shift;
  return static_cast<std::uint16_t>(digits);
}

std::uint32_t I8254Counter::decode(std::uint16_t written) const {
  if (!state_.bcd) return written == 0 ? 65536 : written;
  if (written == 0) return 10000;
  const unsigned digits = written;
  return (digits >> 12U) * 1000 + (digits >> 8U & 15U) * 100 + (digits >> 4U & 15U) * 10 + (digits & 15U);
}

void I8254Counter::load(std::uint16_t written, Tick now) {
  state_.reload = decode(written);
  state_.programmed = true;
  if (state_.mode == 0 || state_.mode == 4) {
    begin(now);
    state_.frozen = 0;
  } else if (state_.mode == 1 || state_.mode == 5) {
    state_.reload_pending = state_.running;
  } else if (!state_.running || now < state_.start) {
    if (state_.gate) begin(now);
  } else {
    state_.reload_at = reload_boundary(now);
    state_.reload_pending = true;
  }
}

/// The next pulse loads the count and starts it.
void I8254Counter::begin(Tick now) {
  state_.count = state_.reload;
  state_.start = now + 1;
  state_.running = true;
  state_.reload_pending = false;
}

Result<> I8254Counter::set_state(const I8254CounterState& state) {
  constexpr std::uint32_t kMaxCount = 65536;
  constexpr Tick kMaxTick = Tick{1} << 52U;  // 119 years; still fits as nanoseconds
  const auto sane = [](Tick tick) { return tick >= -kMaxTick && tick <= kMaxTick; };
  if (state.mode > 5 || state.access < 1 || state.access > 3 || state.count - 1 >= kMaxCount ||
      state.reload - 1 >= kMaxCount || !sane(state.start) || !sane(state.reload_at) || !sane(state.frozen) ||
      !sane(state.seen))
    return fail(ErrorKind::kCorrupt, "a counter of the 8254 is in an impossible state");
  state_ = state;
  return {};
}

}  // namespace doppel::hw
