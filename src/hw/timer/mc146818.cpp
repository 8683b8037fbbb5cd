#include "hw/timer/mc146818.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "base/bits.h"
#include "hw/timer/mc146818_registers.h"
#include "hw/timer/ticks.h"

namespace doppel::hw {

using namespace rtc;  // NOLINT: the names of the data sheet

namespace {

constexpr std::uint64_t kCrystalHz = 32768;
constexpr std::int64_t kNever = std::numeric_limits<std::int64_t>::max();
constexpr std::int64_t kUpdateWarningNs = 244 * event::kNsPerMicrosecond;  // UIP rises so long before an update
constexpr std::int64_t kFirstUpdateNs = 500 * event::kNsPerMillisecond;    // after the divider is let go
constexpr std::uint8_t kExtendedBank = 128;
constexpr std::uint8_t kInterruptEnables = kBPeriodic | kBAlarm | kBUpdate;
constexpr std::int32_t kCenturyByteUsed = 2000;  // as base_year

constexpr bool kept_by_time(std::uint8_t index) {
  return index == kCentury ||
         (index <= kYear && index != kSecondsAlarm && index != kMinutesAlarm && index != kHoursAlarm);
}

}  // namespace

Mc146818::Mc146818(event::Clock& clock, std::int64_t start_ns, Mc146818Config config, IrqPin irq8, TimeSet time_set,
                   Logger log)
    : clock_(clock),
      config_(std::move(config)),
      slew_(config_.lost_tick_policy == "slew"),
      time_set_(std::move(time_set)),
      log_(std::move(log)),
      irq_(*this, irq8),
      reference_ns_(start_ns - clock.now_ns()),
      timer_(clock.create_timer([this] { on_timer(); })) {
  ram_[kRegisterA] = 0x26;  // 32768 Hz crystal, 1024 Hz periodic rate
  ram_[kRegisterB] = kB24Hours;
  ram_[kRegisterD] = kDValid;
  const std::int64_t now = clock_.now_ns();
  const std::int64_t phase = (start_ns % event::kNsPerSecond + event::kNsPerSecond) % event::kNsPerSecond;
  base_seconds_ = (start_ns - phase) / event::kNsPerSecond;
  divider_origin_ns_ = now - phase;
  forget_past(now);
}

Result<> Mc146818::validate(const Mc146818Config& config) {
  if (config.lost_tick_policy != "discard" && config.lost_tick_policy != "slew")
    return fail(ErrorKind::kInvalidArgument, "property 'lost_tick_policy' expects 'discard' or 'slew', not '{}'",
                config.lost_tick_policy);
  return {};
}

void Mc146818::reset() {
  const DeviceGuard guard(*this);
  const std::int64_t now = clock_.now_ns();
  catch_up(now);
  ram_[kRegisterB] &= static_cast<std::uint8_t>(~(kInterruptEnables | kBSquareWave));
  ram_[kRegisterC] = 0;
  nmi_masked_ = false;
  irq_enabled_ = true;
  lost_ticks_ = 0;
  drive(now);
}

void Mc146818::save(state::Writer& writer) {
  const DeviceGuard guard(*this);
  const std::int64_t now = clock_.now_ns();
  catch_up(now);
  drive(now);
  state::save(writer, Mc146818State{.ram = ram_,
                                    .index = index_,
                                    .extended_index = extended_index_,
                                    .nmi_masked = nmi_masked_,
                                    .irq_enabled = irq_enabled_,
                                    .base_seconds = base_seconds_,
                                    .divider_origin_ns = divider_origin_ns_,
                                    .seen_seconds = seen_seconds_,
                                    .seen_period = seen_period_,
                                    .lost_ticks = lost_ticks_,
                                    .replay_at_ns = replay_at_ns_});
}

Result<> Mc146818::load(state::Reader& reader) {
  constexpr std::int64_t kMaxSeconds = std::int64_t{1} << 40U;
  constexpr std::int64_t kMaxNs = std::int64_t{1} << 61U;
  const DeviceGuard guard(*this);
  DOPPEL_ASSIGN(const auto loaded, state::load<Mc146818State>(reader));
  const auto sane = [](std::int64_t value, std::int64_t limit) { return value >= -limit && value <= limit; };
  if (!sane(loaded.base_seconds, kMaxSeconds) || !sane(loaded.seen_seconds, kMaxSeconds) ||
      !sane(loaded.divider_origin_ns, kMaxNs))
    return fail(ErrorKind::kCorrupt, "the real-time clock shows an impossible time");
  ram_ = loaded.ram;
  index_ = loaded.index & 0x7f;
  extended_index_ = loaded.extended_index & 0x7f;
  nmi_masked_ = loaded.nmi_masked;
  irq_enabled_ = loaded.irq_enabled;
  base_seconds_ = loaded.base_seconds;
  divider_origin_ns_ = loaded.divider_origin_ns;
  seen_seconds_ = loaded.seen_seconds;
  seen_period_ = loaded.seen_period;
  lost_ticks_ = std::min(loaded.lost_ticks, kMaxLostTicks);
  replay_at_ns_ = loaded.replay_at_ns;
  drive(clock_.now_ns());
  return {};
}

std::uint64_t Mc146818::read(std::uint64_t offset, unsigned size) {
  const DeviceGuard guard(*this);
  if (size != 1 || offset >= ports()) return low_mask(8 * size);
  switch (offset) {
    case 1: return read_register(index_, clock_.now_ns());
    case 2: return extended_index_;
    case 3: return ram_[kExtendedBank + extended_index_];
    default: return 0xff;  // the index cannot be read
  }
}

void Mc146818::write(std::uint64_t offset, unsigned size, std::uint64_t value) {
  Change change;
  {
    const DeviceGuard guard(*this);
    if (size != 1 || offset >= ports()) return log_.guest_error("write of {} bytes at offset {}", size, offset);
    const auto byte = static_cast<std::uint8_t>(value);
    switch (offset) {
      case 0:
        index_ = byte & 0x7f;
        nmi_masked_ = test_bit(byte, 7);
        break;
      case 1: change = write_register(index_, byte, clock_.now_ns()); break;
      case 2: extended_index_ = byte & 0x7f; break;
      default: ram_[kExtendedBank + extended_index_] = byte; break;
    }
  }
  if (change && time_set_) time_set_(*change);
}

void Mc146818::set_cmos(std::uint8_t index, std::uint8_t value) {
  const DeviceGuard guard(*this);
  if (index > kRegisterD && !kept_by_time(index)) ram_[index] = value;
}

std::uint8_t Mc146818::cmos(std::uint8_t index) {
  const DeviceGuard guard(*this);
  return ram_[index];
}

std::int64_t Mc146818::calendar_seconds() {
  const DeviceGuard guard(*this);
  return running() ? seconds(clock_.now_ns()) : register_seconds();
}

bool Mc146818::nmi_masked() {
  const DeviceGuard guard(*this);
  return nmi_masked_;
}

void Mc146818::set_irq_enabled(bool enabled) {
  const DeviceGuard guard(*this);
  const std::int64_t now = clock_.now_ns();
  catch_up(now);
  irq_enabled_ = enabled;
  drive(now);
}

bool Mc146818::divider_running() const {
  return (ram_[kRegisterA] & kADivider) <= kADividerLastRunning;
}

bool Mc146818::running() const {
  return divider_running() && (ram_[kRegisterB] & kBSet) == 0;
}

RtcFormat Mc146818::format() const {
  return {(ram_[kRegisterB] & kBBinary) != 0, (ram_[kRegisterB] & kB24Hours) != 0};
}

RtcAlarm Mc146818::alarm() const {
  return RtcAlarm::from_registers(format(), ram_[kHoursAlarm], ram_[kMinutesAlarm], ram_[kSecondsAlarm]);
}

std::int64_t Mc146818::divider_ns(std::int64_t now) const {
  return std::max<std::int64_t>(now - divider_origin_ns_, 0);
}

std::int64_t Mc146818::seconds(std::int64_t now) const {
  return base_seconds_ + divider_ns(now) / event::kNsPerSecond;
}

/// Of the crystal, 0 for none. Rates 1 and 2 repeat 8 and 9 (data sheet, table 5).
std::uint64_t Mc146818::period_ticks() const {
  const unsigned rate = ram_[kRegisterA] & kARate;
  if (rate == 0 || !divider_running()) return 0;
  return std::uint64_t{1} << (rate <= 2 ? rate + 6 : rate - 1);
}

std::uint64_t Mc146818::period_index(std::int64_t now) const {
  const std::uint64_t period = period_ticks();
  return period == 0 ? 0 : event::ns_to_ticks(divider_ns(now), kCrystalHz) / period;
}

std::uint8_t Mc146818::read_register(std::uint8_t index, std::int64_t now) {
  if (index == kRegisterC) return read_c(now);
  if (index == kRegisterA) {
    const bool updating = running() && divider_ns(now) % event::kNsPerSecond >= event::kNsPerSecond - kUpdateWarningNs;
    return static_cast<std::uint8_t>(ram_[kRegisterA] | (updating ? kAUpdateInProgress : 0));
  }
  if (kept_by_time(index) && running()) freeze_time(now);
  return ram_[index];
}

std::uint8_t Mc146818::read_c(std::int64_t now) {
  catch_up(now);
  const std::uint8_t value = std::exchange(ram_[kRegisterC], std::uint8_t{0});
  if (lost_ticks_ > 0) replay_at_ns_ = now + ticks_to_deadline_ns(period_ticks(), kCrystalHz) / 2;
  drive(now);
  return value;
}

Mc146818::Change Mc146818::write_register(std::uint8_t index, std::uint8_t value, std::int64_t now) {
  if (index == kRegisterC || index == kRegisterD) {
    log_.guest_error("write of {:#x} to read-only register {:#x}", value, index);
    return {};
  }
  catch_up(now);
  Change change;
  if (index == kRegisterA)
    change = write_a(value & 0x7f, now);
  else if (index == kRegisterB)
    change = write_b(value, now);
  else if (kept_by_time(index))
    change = write_time(index, value, now);
  else
    ram_[index] = value;
  drive(now);
  return change;
}

/// Stopping the divider holds the time; letting it go starts a second half way through.
Mc146818::Change Mc146818::write_a(std::uint8_t value, std::int64_t now) {
  const bool turned = divider_running();
  if (running()) freeze_time(now);
  ram_[kRegisterA] = value;
  Change change;
  if (!turned && divider_running()) {
    base_seconds_ += divider_ns(now) / event::kNsPerSecond;
    divider_origin_ns_ = now - kFirstUpdateNs;
    if (running()) change = apply_time(now);
  }
  lost_ticks_ = 0;
  forget_past(now);
  return change;
}

Mc146818::Change Mc146818::write_b(std::uint8_t value, std::int64_t now) {
  const bool ran = running();
  if (ran) freeze_time(now);
  if ((value & kBSet) != 0) value &= static_cast<std::uint8_t>(~kBUpdate);
  if ((value & kBPeriodic) == 0) lost_ticks_ = 0;
  ram_[kRegisterB] = value;
  if (ran || !running()) return {};
  const Change change = apply_time(now);
  seen_seconds_ = seconds(now);
  return change;
}

Mc146818::Change Mc146818::write_time(std::uint8_t index, std::uint8_t value, std::int64_t now) {
  if (!running()) {
    ram_[index] = value;
    return {};
  }
  freeze_time(now);
  ram_[index] = value;
  if (index == kDayOfWeek) return {};  // follows from the date
  const Change change = apply_time(now);
  seen_seconds_ = seconds(now);
  return change;
}

/// Writes the running time into its registers.
void Mc146818::freeze_time(std::int64_t now) {
  const std::int64_t face = seconds(now);
  const CalendarTime time = to_calendar(face);
  const RtcFormat numbers = format();
  ram_[kSeconds] = numbers.encode(time.second);
  ram_[kMinutes] = numbers.encode(time.minute);
  ram_[kHours] = numbers.encode_hour(time.hour);
  ram_[kDayOfWeek] = numbers.encode(weekday(face));
  ram_[kDayOfMonth] = numbers.encode(time.day);
  ram_[kMonth] = numbers.encode(time.month);
  ram_[kYear] = numbers.encode(time.year - config_.base_year);
  if (config_.base_year == kCenturyByteUsed) ram_[kCentury] = numbers.encode(time.year / 100);
}

/// The time in the registers, which is the clock's while it stands.
std::int64_t Mc146818::register_seconds() const {
  const RtcFormat numbers = format();
  const std::int64_t first_year =
      config_.base_year == kCenturyByteUsed ? numbers.decode(ram_[kCentury]) * 100 : config_.base_year;
  const CalendarTime time{first_year + numbers.decode(ram_[kYear]), numbers.decode(ram_[kMonth]),
                          numbers.decode(ram_[kDayOfMonth]),        numbers.decode_hour(ram_[kHours]),
                          numbers.decode(ram_[kMinutes]),           numbers.decode(ram_[kSeconds])};
  return to_seconds(time);
}

/// Takes the time over from its registers. The divider chain, and with it the fraction of a second, goes on.
Mc146818::Change Mc146818::apply_time(std::int64_t now) {
  const std::int64_t before = base_seconds_;
  base_seconds_ = register_seconds() - divider_ns(now) / event::kNsPerSecond;
  if (base_seconds_ == before) return {};
  return seconds(now) - (reference_ns_ + now) / event::kNsPerSecond;
}

/// Sets the flags of what happened since the last time.
void Mc146818::catch_up(std::int64_t now) {
  const std::uint64_t period = period_index(now);
  if (period > seen_period_) count_periods(period - seen_period_);
  seen_period_ = period;
  if (!running()) return;
  const std::int64_t face = seconds(now);
  if (face > seen_seconds_) {
    ram_[kRegisterC] |= kCUpdate;
    const auto due = alarm().next(seen_seconds_);
    if (due && *due <= face) ram_[kRegisterC] |= kCAlarm;
  }
  seen_seconds_ = face;
}

void Mc146818::forget_past(std::int64_t now) {
  seen_period_ = period_index(now);
  seen_seconds_ = seconds(now);
}

/// A tick that finds its flag still set is lost on the guest.
void Mc146818::count_periods(std::uint64_t periods) {
  const bool pending = (ram_[kRegisterC] & kCPeriodic) != 0;
  ram_[kRegisterC] |= kCPeriodic;
  if (!slew_ || (ram_[kRegisterB] & kBPeriodic) == 0) return;
  const std::uint64_t lost = pending ? periods : periods - 1;
  lost_ticks_ = static_cast<std::uint32_t>(std::min<std::uint64_t>(lost_ticks_ + lost, kMaxLostTicks));
}

void Mc146818::drive(std::int64_t now) {
  const bool pending = (ram_[kRegisterC] & ram_[kRegisterB] & kInterruptEnables) != 0;
  ram_[kRegisterC] = with_bit(ram_[kRegisterC], 7, pending);
  irq_.set(pending && irq_enabled_);
  const std::int64_t deadline = next_deadline(now);
  if (deadline == kNever)
    timer_->cancel();
  else
    timer_->arm(deadline);
}

/// When the next flag that is enabled and not yet set will be.
std::int64_t Mc146818::next_deadline(std::int64_t now) const {
  std::int64_t deadline = kNever;
  const auto wanted = static_cast<std::uint8_t>(ram_[kRegisterB] & ~ram_[kRegisterC]);
  if (const std::uint64_t period = period_ticks(); period != 0 && (wanted & kBPeriodic) != 0) {
    deadline = divider_origin_ns_ + ticks_to_deadline_ns((period_index(now) + 1) * period, kCrystalHz);
    if (lost_ticks_ > 0) deadline = std::min(deadline, replay_at_ns_);
  }
  if (!running()) return deadline;
  const auto when = [&](std::int64_t face) {
    return divider_origin_ns_ + (face - base_seconds_) * event::kNsPerSecond;
  };
  if ((wanted & kBUpdate) != 0) deadline = std::min(deadline, when(seconds(now) + 1));
  if ((wanted & kBAlarm) != 0)
    if (const auto due = alarm().next(seconds(now))) deadline = std::min(deadline, when(*due));
  return deadline;
}

void Mc146818::on_timer() {
  const DeviceGuard guard(*this);
  const std::int64_t now = clock_.now_ns();
  catch_up(now);
  if (lost_ticks_ > 0 && now >= replay_at_ns_ && (ram_[kRegisterC] & kCPeriodic) == 0) {
    --lost_ticks_;
    ram_[kRegisterC] |= kCPeriodic;
  }
  drive(now);
}

}  // namespace doppel::hw
