// Which large pages a TLB has pieces of, near enough: to flush one page is to flush all of the large page that it is
// part of, so whoever flushes must know whether it is part of any.
#pragma once

#include <bitset>
#include <cstdint>

namespace doppel::accel::soft {

class LargePages {
 public:
  /// One of 2 to the power SHIFT bytes that LINEAR is in.
  void add(std::uint64_t linear, unsigned shift) { known_.set(slot(linear, shift)); }
  /// Never false if LINEAR is in one of them.
  [[nodiscard]] bool may_contain(std::uint64_t linear) const {
    return known_[slot(linear, kShift2M)] || known_[slot(linear, kShift4M)] || known_[slot(linear, kShift1G)];
  }
  void clear() { known_.reset(); }

 private:
  static constexpr unsigned kShift2M = 21;
  static constexpr unsigned kShift4M = 22;
  static constexpr unsigned kShift1G = 30;
  static constexpr std::uint64_t kSlots = 8192;

  static std::size_t slot(std::uint64_t linear, unsigned shift) {
    constexpr std::uint64_t kGolden = 0x9e37'79b9'7f4a'7c15;  // 2^64 / the golden ratio
    return ((linear >> shift) * 4 + shift % 4) * kGolden >> 40U & (kSlots - 1);
  }

  std::bitset<kSlots> known_;
};

}  // namespace doppel::accel::soft
