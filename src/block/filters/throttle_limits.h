// How fast a throttled node may be: leaky buckets for bytes and requests.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>

#include "base/error.h"

namespace doppel::block {

enum class Direction : std::uint8_t { kRead, kWrite };

/// One limit; units are bytes or requests, each per second.
struct BucketLimits {
  std::uint64_t average = 0;        // 0: no limit
  std::uint64_t maximum = 0;        // in a burst; 0: no burst but a tenth of a second's worth
  std::uint64_t burst_seconds = 1;  // for so long may a burst last
};

struct ThrottleLimits {
  /// By QEMU's names, in this order.
  static constexpr std::array<std::string_view, 6> kNames = {"bps-total",  "bps-read",  "bps-write",
                                                             "iops-total", "iops-read", "iops-write"};
  std::array<BucketLimits, 6> buckets{};
  std::uint64_t iops_size = 0;  // a larger request counts as several; 0: always as one

  [[nodiscard]] bool any() const;
  /// The first sentence that applies, if something makes no sense.
  [[nodiscard]] Result<> check() const;
  /// Sets the limit that NAME says: "bps-total", "bps-total-max", "iops-read-max-length", "iops-size"...
  /// False: there is no such limit.
  [[nodiscard]] bool set(std::string_view name, std::uint64_t value);
};

/// Buckets with what has flowed into them. Times are nanoseconds of one clock that never goes back.
class ThrottleState {
 public:
  ThrottleState(ThrottleLimits limits, std::int64_t now_ns) : limits_(limits), last_ns_(now_ns) {}
  [[nodiscard]] const ThrottleLimits& limits() const { return limits_; }

  /// How long a request in DIRECTION must still wait at NOW_NS; 0: not at all.
  [[nodiscard]] std::int64_t wait_ns(Direction direction, std::int64_t now_ns);
  /// A request of BYTES goes through.
  void account(Direction direction, std::uint64_t bytes);

 private:
  struct Level {
    double average = 0;  // leaks at the average rate
    double burst = 0;    // leaks at the burst's rate
  };
  void leak(std::int64_t now_ns);

  const ThrottleLimits limits_;
  std::array<Level, 6> levels_{};
  std::int64_t last_ns_;
};

}  // namespace doppel::block
