// Which pages of code were stored to lately, for vCPUs that keep code made of them.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

namespace doppel::accel::soft {

/// Any thread may note and read.
class CodeChanges {
 public:
  /// GPA's page changed. Its version has moved on already.
  void note(std::uint64_t gpa) {
    const std::uint64_t number = count_.fetch_add(1, std::memory_order_acq_rel) + 1;
    latest_[number % kKept].store(gpa >> kPageShift << kNumberBits | number % kNumbers, std::memory_order_release);
  }
  /// How many there were; read before looking at them.
  [[nodiscard]] std::uint64_t count() const { return count_.load(std::memory_order_acquire); }

  /// Calls VISIT(gpa) for the changes behind number SEEN up to number LAST. False: not all of them are known any more,
  /// or yet.
  template <class Visit>
  [[nodiscard]] bool visit(std::uint64_t seen, std::uint64_t last, Visit visit) const {
    if (last - seen > kKept) return false;
    for (std::uint64_t number = seen + 1; number <= last; ++number) {
      const std::uint64_t change = latest_[number % kKept].load(std::memory_order_acquire);
      if (change % kNumbers != number % kNumbers) return false;
      visit(change >> kNumberBits << kPageShift);
    }
    return true;
  }

 private:
  static constexpr unsigned kPageShift = 12;
  static constexpr std::uint64_t kKept = 64;
  static constexpr unsigned kNumberBits = 20;  // of each number, beside 40 bits of page number and some to spare
  static constexpr std::uint64_t kNumbers = std::uint64_t{1} << kNumberBits;

  std::atomic<std::uint64_t> count_{0};
  std::array<std::atomic<std::uint64_t>, kKept> latest_{};
};

}  // namespace doppel::accel::soft
