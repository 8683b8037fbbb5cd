#include "hw/timer/hpet.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "base/bits.h"
#include "hw/timer/hpet_registers.h"
#include "hw/timer/ticks.h"

namespace doppel::hw {

using namespace hpet;  // NOLINT: the names of the specification

namespace {

constexpr std::uint64_t kFemtosecondsPerTick = 10'000'000;
constexpr unsigned kLegacyPins[] = {0, 8};  // of timers 0 and 1
constexpr unsigned kIsaPins = 16;
constexpr std::uint64_t kMinimumTicks = event::ns_to_ticks(kMinimumTimerIntervalNs, Hpet::kFrequencyHz);
/// The clock ends here; what lies behind never happens.
constexpr std::uint64_t kLastTick = event::ns_to_ticks(std::numeric_limits<std::int64_t>::max(), Hpet::kFrequencyHz);

bool is_32bit(const HpetTimerState& timer) {
  return (timer.configuration & kTimer32Bit) != 0;
}
bool is_periodic(const HpetTimerState& timer) {
  return (timer.configuration & kTimerPeriodic) != 0;
}
std::uint64_t width_mask(const HpetTimerState& timer) {
  return low_mask(is_32bit(timer) ? 32 : 64);
}
std::uint64_t merge(std::uint64_t old, std::uint64_t mask, std::uint64_t value) {
  return (old & ~mask) | (value & mask);
}

}  // namespace

/// A call into the chip: holds the lock, then tells others what it left in the outbox.
class Hpet::Entry {
 public:
  explicit Entry(Hpet& chip) : chip_(chip), guard_(std::in_place, chip) {}
  ~Entry() {
    const Outbox outbox = std::exchange(chip_.outbox_, {});
    guard_.reset();
    chip_.deliver(outbox);
  }
  Entry(const Entry&) = delete;
  Entry& operator=(const Entry&) = delete;

 private:
  Hpet& chip_;
  std::optional<DeviceGuard> guard_;
};

Hpet::Hpet(event::Clock& clock, const HpetConfig& config, Board board, Logger log)
    : clock_(clock), config_(config), board_(std::move(board)), log_(std::move(log)) {
  for (unsigned pin = 0; pin < line_of_pin_.size(); ++pin) {
    if (pin != kLegacyPins[0] && pin != kLegacyPins[1] && !test_bit(config_.intcap, pin)) continue;
    line_of_pin_[pin] = &lines_.emplace_back(*this, IrqPin{board_.interrupts, pin});
  }
  comparators_.resize(std::clamp<unsigned>(config_.timers, kMinTimers, kMaxTimers));
  for (Comparator& comparator : comparators_) comparator.timer = clock_.create_timer([this] { on_timer(); });
}

void Hpet::reset() {
  const Entry entry(*this);
  for (Comparator& comparator : comparators_) {
    comparator.state = {};
    comparator.fired_at = 0;
  }
  if (legacy()) outbox_.legacy_route = false;
  configuration_ = status_ = counter_ = started_at_ = 0;
  drive();
}

void Hpet::save(state::Writer& writer) {
  const Entry entry(*this);
  catch_up(now_ticks());
  HpetState state{configuration_, status_, counter_, started_at_, held_pins_, {}};
  for (const Comparator& comparator : comparators_) state.timers.push_back(comparator.state);
  state::save(writer, std::move(state));
}

Result<> Hpet::load(state::Reader& reader) {
  const Entry entry(*this);
  DOPPEL_ASSIGN(const auto loaded, state::load<HpetState>(reader));
  if (loaded.timers.size() != comparators_.size())
    return fail(ErrorKind::kCorrupt, "the saved HPET has {} timers, this one {}", loaded.timers.size(),
                comparators_.size());
  if (((configuration_ ^ loaded.configuration) & kLegacyRoute) != 0)
    outbox_.legacy_route = (loaded.configuration & kLegacyRoute) != 0;
  configuration_ = loaded.configuration & (kEnable | kLegacyRoute);
  status_ = loaded.status & low_mask(static_cast<unsigned>(comparators_.size()));
  counter_ = loaded.counter;
  started_at_ = loaded.started_at;
  held_pins_ = loaded.held_pins;
  for (std::size_t i = 0; i < comparators_.size(); ++i) {
    comparators_[i].state = loaded.timers[i];
    comparators_[i].state.configuration &= kTimerWritable;
    comparators_[i].fired_at = 0;
  }
  drive();
  return {};
}

std::uint64_t Hpet::read(std::uint64_t offset, unsigned size) {
  const Entry entry(*this);
  if (size > 8 || offset >= kSize || offset % 8 + size > 8) return ~std::uint64_t{0};
  const std::uint64_t value = read_register(align_down(offset, 8), now_ticks());
  return (value >> (8 * (offset % 8))) & low_mask(8 * size);
}

void Hpet::write(std::uint64_t offset, unsigned size, std::uint64_t value) {
  const Entry entry(*this);
  if (size > 8 || offset >= kSize || offset % 8 + size > 8) return;
  const unsigned shift = static_cast<unsigned>(8 * (offset % 8));
  const std::uint64_t now = now_ticks();
  catch_up(now);
  write_register(align_down(offset, 8), low_mask(8 * size) << shift, value << shift, now);
  drive();
}

std::uint64_t Hpet::capabilities() const {
  const std::uint64_t last_timer = comparators_.size() - 1;
  return kCapabilityRevision | last_timer << 8U | kCapability64Bit | kCapabilityLegacyRoute | kCapabilityVendor |
         kFemtosecondsPerTick << 32U;
}

std::uint64_t Hpet::now_ticks() const {
  return event::ns_to_ticks(clock_.now_ns(), kFrequencyHz);
}

bool Hpet::enabled() const {
  return (configuration_ & kEnable) != 0;
}

bool Hpet::legacy() const {
  return (configuration_ & kLegacyRoute) != 0;
}

std::uint64_t Hpet::counter(std::uint64_t now) const {
  return enabled() ? counter_ + (now - started_at_) : counter_;
}

std::uint64_t Hpet::timer_configuration(const Comparator& comparator) const {
  const std::uint64_t fsb = config_.msi && board_.send_message ? kTimerFsbCapable : 0;
  return comparator.state.configuration | kTimerPeriodicCapable | kTimer64BitCapable | fsb |
         std::uint64_t{config_.intcap} << 32U;
}

/// The pin that timer INDEX drives when it does not send messages.
unsigned Hpet::route(unsigned index) const {
  if (legacy() && index < std::size(kLegacyPins)) return kLegacyPins[index];
  return static_cast<unsigned>(bits(comparators_[index].state.configuration, kTimerRouteHigh, kTimerRouteLow));
}

std::uint64_t Hpet::read_register(std::uint64_t reg, std::uint64_t now) {
  switch (reg) {
    case kCapabilities: return capabilities();
    case kConfiguration: return configuration_;
    case kMainCounter: return counter(now);
    case kInterruptStatus:
      catch_up(now);
      drive();
      return status_;
    default: break;
  }
  const std::uint64_t index = (reg - kTimers) / kTimerStride;
  if (reg < kTimers || index >= comparators_.size()) return 0;  // reserved
  catch_up(now);
  drive();
  return read_timer(comparators_[index], reg % kTimerStride);
}

std::uint64_t Hpet::read_timer(const Comparator& comparator, std::uint64_t reg) const {
  switch (reg) {
    case kTimerConfiguration: return timer_configuration(comparator);
    case kTimerComparator: return comparator.state.comparator;
    case kTimerFsbRoute: return comparator.state.fsb_route;
    default: return 0;
  }
}

void Hpet::write_register(std::uint64_t reg, std::uint64_t mask, std::uint64_t value, std::uint64_t now) {
  switch (reg) {
    case kCapabilities: return log_.guest_error("write to the read-only capabilities");
    case kConfiguration: return write_configuration(merge(configuration_, mask, value), now);
    case kInterruptStatus: status_ &= ~(value & mask); return;
    case kMainCounter:
      if (enabled()) return log_.guest_error("write to the running counter");
      counter_ = merge(counter_, mask, value);
      return;
    default: break;
  }
  const std::uint64_t index = (reg - kTimers) / kTimerStride;
  if (reg < kTimers || index >= comparators_.size()) return log_.guest_error("write to reserved register {:#x}", reg);
  write_timer(static_cast<unsigned>(index), reg % kTimerStride, mask, value, now);
}

void Hpet::write_configuration(std::uint64_t value, std::uint64_t now) {
  const std::uint64_t changed = configuration_ ^ value;
  if ((changed & kEnable) != 0) {
    counter_ = counter(now);
    started_at_ = now;
  }
  configuration_ = value & (kEnable | kLegacyRoute);
  if ((changed & kEnable) != 0)
    for (Comparator& comparator : comparators_) aim(comparator, now, false);
  if ((changed & kLegacyRoute) != 0) outbox_.legacy_route = legacy();
}

void Hpet::write_timer(unsigned index, std::uint64_t reg, std::uint64_t mask, std::uint64_t value, std::uint64_t now) {
  Comparator& comparator = comparators_[index];
  HpetTimerState& timer = comparator.state;
  switch (reg) {
    case kTimerConfiguration: {
      const std::uint64_t before = timer.configuration;
      timer.configuration = merge(before, mask, value) & kTimerWritable;
      if (!config_.msi || !board_.send_message) timer.configuration &= ~kTimerFsb;
      if ((timer.configuration & kTimerLevel) == 0) status_ &= ~bit(index);
      timer.comparator &= width_mask(timer);
      timer.period &= width_mask(timer);
      if (((before ^ timer.configuration) & (kTimer32Bit | kTimerPeriodic)) != 0) aim(comparator, now, false);
      return;
    }
    case kTimerComparator: return write_comparator(comparator, mask, value, now);
    case kTimerFsbRoute: timer.fsb_route = merge(timer.fsb_route, mask, value); return;
    default: return log_.guest_error("write to reserved register {:#x} of timer {}", reg, index);
  }
}

/// A periodic timer takes the value as its period, and as its next match too if VAL_SET announced that (2.3.9.2.2).
void Hpet::write_comparator(Comparator& comparator, std::uint64_t mask, std::uint64_t value, std::uint64_t now) {
  HpetTimerState& timer = comparator.state;
  const bool low = (mask & 1U) != 0;
  const bool completes = std::exchange(timer.high_half_expected, false) && !low;
  const bool accumulator = (timer.configuration & kTimerSetAccumulator) != 0;
  if (is_periodic(timer)) timer.period = merge(timer.period, mask, value) & width_mask(timer);
  if (is_periodic(timer) && !accumulator && !completes) return;
  timer.comparator = merge(timer.comparator, mask, value) & width_mask(timer);
  timer.configuration &= ~kTimerSetAccumulator;
  timer.high_half_expected = accumulator && low && mask != ~std::uint64_t{0} && !is_32bit(timer);
  aim(comparator, now, true);
}

/// Works out when COMPARATOR matches next.
void Hpet::aim(Comparator& comparator, std::uint64_t now, bool just_written) {
  HpetTimerState& timer = comparator.state;
  timer.due = false;
  if (!enabled()) return;
  const std::uint64_t distance = (timer.comparator - counter(now)) & width_mask(timer);
  const std::uint64_t behind = (std::uint64_t{0} - distance) & width_mask(timer);
  constexpr std::uint64_t kJustGoneBy = std::uint64_t{1} << 31U;
  const bool late = just_written && behind < kJustGoneBy;
  if (!late && distance > kLastTick - now) return;
  timer.due = true;
  timer.target = late ? now : now + distance;
}

void Hpet::catch_up(std::uint64_t now) {
  if (!enabled()) return;
  for (unsigned i = 0; i < comparators_.size(); ++i)
    if (comparators_[i].state.due && comparators_[i].state.target <= now) match(i, now);
}

/// All matches up to NOW count as one.
void Hpet::match(unsigned index, std::uint64_t now) {
  HpetTimerState& timer = comparators_[index].state;
  std::uint64_t step = is_32bit(timer) ? std::uint64_t{1} << 32U : 0;  // a whole turn of the counter
  if (is_periodic(timer) && timer.period != 0) step = timer.period;
  if (step == 0) {
    timer.due = false;
  } else {
    const std::uint64_t matches = (now - timer.target) / step + 1;
    if (is_periodic(timer)) timer.comparator = (timer.comparator + matches * timer.period) & width_mask(timer);
    timer.due = step <= kLastTick - now;
    if (timer.due) timer.target += matches * step;
  }
  if ((timer.configuration & kTimerLevel) != 0) status_ |= bit(index);
  if ((timer.configuration & kTimerInterrupts) != 0) interrupt(index, now);
}

/// A message or an edge; levels follow from the status register in drive(). An edge leaves an ISA pin high, for an
/// 8259A wants to see it until it acknowledges, and the others low, for PCI devices may share them.
void Hpet::interrupt(unsigned index, std::uint64_t now) {
  Comparator& comparator = comparators_[index];
  comparator.fired_at = now;
  const HpetTimerState& timer = comparator.state;
  if ((timer.configuration & kTimerFsb) != 0) {
    outbox_.messages.push_back({timer.fsb_route >> 32U, static_cast<std::uint32_t>(timer.fsb_route)});
    return;
  }
  if ((timer.configuration & kTimerLevel) != 0) return;
  const unsigned pin = route(index);
  IrqLine* output = line_of_pin_[pin];  // nothing where the guest chose a pin that is not offered
  if (output == nullptr)
    return log_.guest_error("timer {} is routed to interrupt {}, which it cannot reach", index, pin);
  output->edge();
  if (pin < kIsaPins) held_pins_ |= bit<std::uint32_t>(pin);
}

/// Sets all wires to what they should be and arms the host timers.
void Hpet::drive() {
  std::uint32_t level_pins = 0;
  std::uint32_t edge_pins = 0;
  for (unsigned i = 0; i < comparators_.size(); ++i) {
    const std::uint64_t configuration = comparators_[i].state.configuration;
    if (enabled() && (configuration & kTimerInterrupts) != 0 && (configuration & kTimerFsb) == 0) {
      const auto pin = bit<std::uint32_t>(route(i));
      if ((configuration & kTimerLevel) == 0)
        edge_pins |= pin;
      else if (test_bit(status_, i))
        level_pins |= pin;
    }
    arm(comparators_[i]);
  }
  held_pins_ &= edge_pins;
  for (unsigned pin = 0; pin < line_of_pin_.size(); ++pin)
    if (line_of_pin_[pin] != nullptr) line_of_pin_[pin]->set(test_bit(level_pins | held_pins_, pin));
}

void Hpet::arm(Comparator& comparator) {
  const HpetTimerState& timer = comparator.state;
  if (!enabled() || !timer.due || (timer.configuration & kTimerInterrupts) == 0) return comparator.timer->cancel();
  const std::uint64_t tick = std::max(timer.target, comparator.fired_at + kMinimumTicks);
  comparator.timer->arm(ticks_to_deadline_ns(std::min(tick, kLastTick), kFrequencyHz));
}

void Hpet::deliver(const Outbox& outbox) const {
  if (outbox.legacy_route && board_.legacy_route) board_.legacy_route(*outbox.legacy_route);
  if (!board_.send_message) return;
  for (const Message& message : outbox.messages) board_.send_message(message.address, message.data);
}

void Hpet::on_timer() {
  const Entry entry(*this);
  catch_up(now_ticks());
  drive();
}

}  // namespace doppel::hw
