#include "block/filters/throttle_limits.h"

#include <algorithm>

namespace doppel::block {

namespace {

constexpr std::uint64_t kMostValue = 1'000'000'000'000'000;  // QEMU's
constexpr double kNsPerSecond = 1e9;
// Without a burst, so much may come at once: a tenth of a second's worth.
constexpr double kSlice = 10;

/// The buckets that a request flows into: the total one and its direction's, of bytes and of requests.
constexpr std::array<std::size_t, 4> buckets_of(Direction direction) {
  const std::size_t own = direction == Direction::kRead ? 1 : 2;
  return {0, own, 3, 3 + own};
}

double wait_s(const BucketLimits& limits, double average_level, double burst_level) {
  if (limits.average == 0) return 0;
  const auto average = static_cast<double>(limits.average);
  const auto maximum = static_cast<double>(limits.maximum);
  const double size = limits.maximum == 0 ? average / kSlice : maximum * static_cast<double>(limits.burst_seconds);
  double wait = std::max(0.0, (average_level - size) / average);
  if (limits.burst_seconds > 1) wait = std::max(wait, (burst_level - maximum / kSlice) / maximum);
  return wait;
}

}  // namespace

bool ThrottleLimits::any() const {
  return std::ranges::any_of(buckets, [](const BucketLimits& limits) { return limits.average != 0; });
}

bool ThrottleLimits::set(std::string_view name, std::uint64_t value) {
  if (name == "iops-size") {
    iops_size = value;
    return true;
  }
  for (std::size_t i = 0; i < kNames.size(); ++i) {
    if (!name.starts_with(kNames[i])) continue;
    const std::string_view rest = name.substr(kNames[i].size());
    if (rest.empty())
      buckets[i].average = value;
    else if (rest == "-max")
      buckets[i].maximum = value;
    else if (rest == "-max-length")
      buckets[i].burst_seconds = value;
    else
      continue;
    return true;
  }
  return false;
}

Result<> ThrottleLimits::check() const {
  const auto bad = [](std::string text) {
    return std::unexpected(Error(ErrorKind::kInvalidArgument, std::move(text)));
  };
  for (std::size_t first : {0U, 3U}) {
    const bool total = buckets[first].average != 0 || buckets[first].maximum != 0;
    for (std::size_t i : {first + 1, first + 2})
      if (total && (buckets[i].average != 0 || buckets[i].maximum != 0))
        return bad(fmt::format("{} and {} exclude each other", kNames[first], kNames[i]));
  }
  for (std::size_t i = 0; i < kNames.size(); ++i) {
    const auto& [average, maximum, seconds] = buckets[i];
    const std::string_view name = kNames[i];
    if (std::max(average, maximum) > kMostValue || seconds > kMostValue)
      return bad(fmt::format("{} goes up to {}", name, kMostValue));
    if (seconds == 0) return bad(fmt::format("{}-max-length is a number of seconds, at least 1", name));
    if (seconds > 1 && maximum == 0) return bad(fmt::format("{0}-max-length needs {0}-max", name));
    if (maximum != 0 && average == 0) return bad(fmt::format("{0}-max needs {0}", name));
    if (maximum != 0 && maximum < average) return bad(fmt::format("{0}-max is less than {0}", name));
    if (seconds > 1 && maximum > kMostValue / seconds)
      return bad(fmt::format("{0}-max times {0}-max-length is more than {1}", name, kMostValue));
  }
  const bool requests =
      std::any_of(buckets.begin() + 3, buckets.end(), [](const auto& limit) { return limit.average != 0; });
  if (iops_size != 0 && !requests) return bad("iops-size needs a limit of requests, such as iops-total");
  return {};
}

void ThrottleState::leak(std::int64_t now_ns) {
  const double seconds = static_cast<double>(now_ns - last_ns_) / kNsPerSecond;
  last_ns_ = now_ns;
  for (std::size_t i = 0; i < levels_.size(); ++i) {
    const BucketLimits& limits = limits_.buckets[i];
    levels_[i].average = std::max(0.0, levels_[i].average - static_cast<double>(limits.average) * seconds);
    levels_[i].burst = std::max(0.0, levels_[i].burst - static_cast<double>(limits.maximum) * seconds);
  }
}

std::int64_t ThrottleState::wait_ns(Direction direction, std::int64_t now_ns) {
  leak(now_ns);
  double wait = 0;
  for (const std::size_t i : buckets_of(direction))
    wait = std::max(wait, wait_s(limits_.buckets[i], levels_[i].average, levels_[i].burst));
  return static_cast<std::int64_t>(wait * kNsPerSecond);
}

void ThrottleState::account(Direction direction, std::uint64_t bytes) {
  const auto size = static_cast<double>(bytes);
  const bool several = limits_.iops_size != 0 && bytes > limits_.iops_size;
  const double requests = several ? size / static_cast<double>(limits_.iops_size) : 1;
  for (const std::size_t i : buckets_of(direction)) {
    const double units = i < 3 ? size : requests;
    levels_[i].average += units;
    if (limits_.buckets[i].burst_seconds > 1) levels_[i].burst += units;
  }
}

}  // namespace doppel::block
