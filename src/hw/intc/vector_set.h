// The 256-bit registers of a local APIC: IRR, ISR, TMR.
#pragma once

#include <array>
#include <bit>
#include <cstdint>

namespace doppel::hw {

/// A set of vectors 16 to 255.
class VectorSet {
 public:
  using Words = std::array<std::uint64_t, 4>;

  VectorSet() = default;
  /// Vectors below 16 are left out.
  explicit VectorSet(const Words& words) : words_(words) { words_[0] &= ~std::uint64_t{0xffff}; }

  void insert(std::uint8_t vector) { words_[vector / 64U] |= mask(vector); }
  void erase(std::uint8_t vector) { words_[vector / 64U] &= ~mask(vector); }
  [[nodiscard]] bool contains(std::uint8_t vector) const { return (words_[vector / 64U] & mask(vector)) != 0; }

  /// The most urgent vector; 0 if there is none.
  [[nodiscard]] std::uint8_t highest() const {
    for (unsigned i = 4; i-- > 0;)
      if (words_[i] != 0)
        return static_cast<std::uint8_t>(64 * i + 63 - static_cast<unsigned>(std::countl_zero(words_[i])));
    return 0;
  }
  /// As the register file shows it: word N has vectors 32N to 32N+31.
  [[nodiscard]] std::uint32_t word32(unsigned n) const {
    return static_cast<std::uint32_t>(words_[n / 2] >> (32 * (n & 1U)));
  }
  [[nodiscard]] const Words& words() const { return words_; }

 private:
  static std::uint64_t mask(std::uint8_t vector) { return std::uint64_t{1} << (vector & 63U); }

  Words words_{};
};

}  // namespace doppel::hw
