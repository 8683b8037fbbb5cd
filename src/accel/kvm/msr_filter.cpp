#include "accel/kvm/msr_filter.h"

#include <algorithm>

#include "base/bits.h"

namespace doppel::accel::kvm {

namespace {

constexpr std::uint32_t kMsrsPerRange = KVM_MSR_FILTER_MAX_BITMAP_SIZE * 8;

/// The kernel reads whole longs.
constexpr std::size_t bitmap_bytes(std::uint32_t count) {
  return align_up(std::size_t{count}, 64) / 8;
}

}  // namespace

Result<MsrFilter> MsrFilter::create(std::span<const std::uint32_t> indexes) {
  std::vector<std::uint32_t> sorted(indexes.begin(), indexes.end());
  std::ranges::sort(sorted);
  MsrFilter filter;
  for (const std::uint32_t index : sorted) {
    if (filter.ranges_.empty() || index - filter.ranges_.back().base >= kMsrsPerRange)
      filter.ranges_.push_back({.base = index, .count = 0, .bitmap = {}});
    Range& range = filter.ranges_.back();
    range.count = index - range.base + 1;
    range.bitmap.resize(bitmap_bytes(range.count), 0xff);
    std::uint8_t& byte = range.bitmap[(range.count - 1) / 8];
    byte = with_bit(byte, (range.count - 1) % 8, false);
  }
  if (filter.ranges_.size() > KVM_MSR_FILTER_MAX_RANGES)
    return fail(ErrorKind::kNoSpace, "the {} MSRs to watch are spread over {} ranges; KVM has {}", sorted.size(),
                filter.ranges_.size(), KVM_MSR_FILTER_MAX_RANGES);
  return filter;
}

kvm_msr_filter MsrFilter::argument() {
  kvm_msr_filter result{};
  result.flags = KVM_MSR_FILTER_DEFAULT_ALLOW;
  for (std::size_t i = 0; i < ranges_.size(); ++i) {
    result.ranges[i].flags = KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE;
    result.ranges[i].base = ranges_[i].base;
    result.ranges[i].nmsrs = ranges_[i].count;
    result.ranges[i].bitmap = ranges_[i].bitmap.data();
  }
  return result;
}

}  // namespace doppel::accel::kvm
