// Dates as a real-time clock counts them, and the ways to write them in its registers.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "base/error.h"

namespace doppel::hw {

/// Proleptic Gregorian, with no time zone: what the clock's face shows.
struct CalendarTime {
  std::int64_t year = 1970;
  std::int64_t month = 1;
  std::int64_t day = 1;
  std::int64_t hour = 0;
  std::int64_t minute = 0;
  std::int64_t second = 0;
  bool operator==(const CalendarTime&) const = default;
};

/// Seconds since 1970-01-01T00:00:00 on the same face. Fields out of range carry over, as in mktime(3).
[[nodiscard]] std::int64_t to_seconds(const CalendarTime& time);
[[nodiscard]] CalendarTime to_calendar(std::int64_t seconds);
/// 1 for Sunday to 7, as the MC146818 counts.
[[nodiscard]] unsigned weekday(std::int64_t seconds);

/// How bits 2 and 1 of register B say numbers are written.
struct RtcFormat {
  bool binary = false;
  bool hours24 = true;

  [[nodiscard]] std::uint8_t encode(std::int64_t number) const;  // taken modulo 100
  [[nodiscard]] std::int64_t decode(std::uint8_t byte) const;
  [[nodiscard]] std::uint8_t encode_hour(std::int64_t hour) const;
  [[nodiscard]] std::int64_t decode_hour(std::uint8_t byte) const;
};

/// An alarm; a field without a value matches always.
struct RtcAlarm {
  std::optional<std::int64_t> hour, minute, second;

  /// From the three alarm registers, where 0xC0 and above mean "don't care".
  static RtcAlarm from_registers(RtcFormat format, std::uint8_t hour, std::uint8_t minute, std::uint8_t second);
  /// The first matching second after AFTER; nothing if no time of day matches.
  [[nodiscard]] std::optional<std::int64_t> next(std::int64_t after) const;
};

/// What `-rtc base=BASE` makes the clock show when UTC is UTC_NS (since 1970), in the same unit: "utc", "localtime"
/// (the host's), "2006-06-17" or "2006-06-17T16:01:21".
Result<std::int64_t> rtc_start_ns(std::string_view base, std::int64_t utc_ns);

}  // namespace doppel::hw
