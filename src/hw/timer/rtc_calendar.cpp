#include "hw/timer/rtc_calendar.h"

#include <algorithm>
#include <chrono>
#include <ctime>

#include "base/text.h"
#include "event/clock.h"

namespace doppel::hw {

namespace {

constexpr std::int64_t kSecondsPerDay = 86400;
constexpr std::uint8_t kPm = 0x80;
constexpr std::uint8_t kDontCare = 0xc0;

constexpr std::int64_t floor_div(std::int64_t a, std::int64_t b) {
  return a / b - (a % b < 0 ? 1 : 0);
}
constexpr std::int64_t floor_mod(std::int64_t a, std::int64_t b) {
  return a - floor_div(a, b) * b;
}

}  // namespace

std::int64_t to_seconds(const CalendarTime& time) {
  namespace ch = std::chrono;
  constexpr std::int64_t kMaxYear = 30000;  // std::chrono ends soon after
  const std::int64_t year = std::clamp(time.year + floor_div(time.month - 1, 12), -kMaxYear, kMaxYear);
  const auto month = static_cast<unsigned>(floor_mod(time.month - 1, 12) + 1);
  const ch::sys_days first_of_month = ch::year(static_cast<int>(year)) / ch::month(month) / ch::day(1);
  const std::int64_t days = first_of_month.time_since_epoch().count() + time.day - 1;
  return ((days * 24 + time.hour) * 60 + time.minute) * 60 + time.second;
}

CalendarTime to_calendar(std::int64_t seconds) {
  namespace ch = std::chrono;
  const std::int64_t days = floor_div(seconds, kSecondsPerDay);
  const std::int64_t of_day = floor_mod(seconds, kSecondsPerDay);
  const ch::year_month_day date{ch::sys_days(ch::days(days))};
  return {static_cast<int>(date.year()),
          static_cast<unsigned>(date.month()),
          static_cast<unsigned>(date.day()),
          of_day / 3600,
          of_day / 60 % 60,
          of_day % 60};
}

unsigned weekday(std::int64_t seconds) {
  constexpr std::int64_t kThursday = 4;  // 1970-01-01, counted from Sunday as 0
  return static_cast<unsigned>(floor_mod(floor_div(seconds, kSecondsPerDay) + kThursday, 7)) + 1;
}

std::uint8_t RtcFormat::encode(std::int64_t number) const {
  const std::int64_t value = floor_mod(number, 100);
  return static_cast<std::uint8_t>(binary ? value : value / 10 * 16 + value % 10);
}

std::int64_t RtcFormat::decode(std::uint8_t byte) const {
  return binary ? byte : (byte >> 4U) * 10 + (byte & 15U);
}

std::uint8_t RtcFormat::encode_hour(std::int64_t hour) const {
  if (hours24) return encode(hour);
  const unsigned face = encode(hour % 12 == 0 ? 12 : hour % 12);
  return static_cast<std::uint8_t>(hour >= 12 ? face | kPm : face);
}

std::int64_t RtcFormat::decode_hour(std::uint8_t byte) const {
  if (hours24) return decode(byte);
  const std::int64_t face = decode(static_cast<std::uint8_t>(byte & ~kPm));
  return (face == 12 ? 0 : face) + ((byte & kPm) != 0 ? 12 : 0);
}

RtcAlarm RtcAlarm::from_registers(RtcFormat format, std::uint8_t hour, std::uint8_t minute, std::uint8_t second) {
  RtcAlarm alarm;
  if (hour < kDontCare) alarm.hour = format.decode_hour(hour);
  if (minute < kDontCare) alarm.minute = format.decode(minute);
  if (second < kDontCare) alarm.second = format.decode(second);
  return alarm;
}

std::optional<std::int64_t> RtcAlarm::next(std::int64_t after) const {
  if (hour.value_or(0) > 23 || minute.value_or(0) > 59 || second.value_or(0) > 59) return {};
  // Steps over hours, then minutes, then seconds that do not match: some 150 steps at most.
  std::int64_t time = after + 1;
  while (time <= after + kSecondsPerDay) {
    const std::int64_t of_day = floor_mod(time, kSecondsPerDay);
    if (hour && *hour != of_day / 3600)
      time += 3600 - of_day % 3600;
    else if (minute && *minute != of_day / 60 % 60)
      time += 60 - of_day % 60;
    else if (second && *second != of_day % 60)
      ++time;
    else
      return time;
  }
  return {};
}

Result<std::int64_t> rtc_start_ns(std::string_view base, std::int64_t utc_ns) {
  if (base == "utc") return utc_ns;
  if (base == "localtime") {
    const std::time_t utc = floor_div(utc_ns, event::kNsPerSecond);
    std::tm local{};
    if (::localtime_r(&utc, &local) == nullptr) return fail_errno("the host's local time");
    return utc_ns + local.tm_gmtoff * event::kNsPerSecond;
  }
  std::tm parsed{};
  const std::string text(base);
  const bool has_time = base.find('T') != std::string_view::npos;
  const char* end = ::strptime(text.c_str(), has_time ? "%Y-%m-%dT%H:%M:%S" : "%Y-%m-%d", &parsed);
  if (end == nullptr || *end != '\0')
    return fail(ErrorKind::kInvalidArgument,
                "'{}' is not a base for the clock: expected utc, localtime, or a date such as 2006-06-17T16:01:21",
                base);
  const CalendarTime time{parsed.tm_year + 1900, parsed.tm_mon + 1, parsed.tm_mday,
                          parsed.tm_hour,        parsed.tm_min,     parsed.tm_sec};
  return to_seconds(time) * event::kNsPerSecond;
}

}  // namespace doppel::hw
