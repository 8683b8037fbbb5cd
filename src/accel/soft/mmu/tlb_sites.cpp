#include "accel/soft/mmu/tlb_sites.h"

namespace doppel::accel::soft {

namespace {

constexpr std::uint64_t kNotCanonical = std::uint64_t{1} << 63U;

}  // namespace

TlbSites::TlbSites() {
  free_.reserve(kSites);
  for (std::uint32_t number = kSites; number-- != 0;) {
    empty(number);
    free_.push_back(number);
  }
}

std::optional<std::uint32_t> TlbSites::take(Result result) {
  if (free_.empty()) return std::nullopt;
  const std::uint32_t number = free_.back();
  free_.pop_back();
  misses_[number].result = result;
  empty(number);
  return number;
}

void TlbSites::give_back(std::uint32_t number) {
  empty(number);
  free_.push_back(number);
}

void TlbSites::forget() {
  for (std::uint32_t i = 0; i < filled_count_; ++i) {
    const std::uint32_t number = filled_[i];
    empty(number);
    misses_[number].listed = false;
  }
  filled_count_ = 0;
}

void TlbSites::empty(std::uint32_t number) {
  // An offset in the page is added to the one, the linear address to the other.
  const std::uint64_t result = misses_[number].result == Result::kHost ? kNotCanonical : 0;
  sites_[number] = {.tag = kNotCanonical, .result = result};
}

}  // namespace doppel::accel::soft
