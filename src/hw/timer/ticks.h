// Deadlines of chips that count a fixed frequency.
#pragma once

#include <cstdint>

#include "event/clock.h"

namespace doppel::hw {

/// No guest may ask for host timers closer together than this; ticks in between are merged into one.
inline constexpr std::int64_t kMinimumTimerIntervalNs = 20 * event::kNsPerMicrosecond;

/// The first nanosecond at which event::ns_to_ticks() has reached TICKS: a timer armed for it never fires early.
constexpr std::int64_t ticks_to_deadline_ns(std::uint64_t ticks, std::uint64_t frequency_hz) {
  const auto ns = static_cast<unsigned __int128>(ticks) * event::kNsPerSecond;
  return static_cast<std::int64_t>((ns + frequency_hz - 1) / frequency_hz);
}

}  // namespace doppel::hw
