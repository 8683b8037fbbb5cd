// Random numbers with a taste for the ends of ranges, the same for the same seed.
#pragma once

#include <array>
#include <cstdint>

namespace doppel::oracle {

/// xorshift64* (Vigna 2016).
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15 + 0x6a09e667f3bcc909) {
    if (state_ == 0) state_ = 1;
  }

  std::uint64_t next() {
    state_ ^= state_ >> 12U;
    state_ ^= state_ << 25U;
    state_ ^= state_ >> 27U;
    return state_ * 0x2545f4914f6cdd1d;
  }
  /// A number below LIMIT, which is not 0.
  std::uint64_t below(std::uint64_t limit) {
    return static_cast<std::uint64_t>((static_cast<unsigned __int128>(next()) * limit) >> 64U);
  }
  /// True once in N times.
  bool one_in(std::uint64_t n) { return below(n) == 0; }
  std::int64_t between(std::int64_t low, std::int64_t high) {
    return low + static_cast<std::int64_t>(below(static_cast<std::uint64_t>(high - low) + 1));
  }
  template <class T, std::size_t n>
  const T& choose(const std::array<T, n>& choices) {
    return choices[below(n)];
  }

  /// Integers: zeroes, ones, ends of the signed and unsigned ranges of every size, small ones, single bits, any.
  std::uint64_t integer();
  /// Eight bytes of vector elements: integers, and floats of all sizes with their special values.
  std::uint64_t element();
  /// The upper 16 bits and the significand of an x87 register.
  struct Extended {
    std::uint64_t significand = 0;
    std::uint16_t sign_exponent = 0;
  };
  Extended extended();

 private:
  std::uint64_t state_;
};

}  // namespace doppel::oracle
