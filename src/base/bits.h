// Bit fields, alignment and sizes, as constexpr functions.
#pragma once

#include <bit>
#include <concepts>
#include <cstdint>
#include <type_traits>

namespace doppel {

inline constexpr std::uint64_t kKiB = 1024;
inline constexpr std::uint64_t kMiB = 1024 * kKiB;
inline constexpr std::uint64_t kGiB = 1024 * kMiB;
inline constexpr std::uint64_t kTiB = 1024 * kGiB;

/// A value with only bit N set.
template <std::unsigned_integral T = std::uint64_t>
constexpr T bit(unsigned n) {
  return static_cast<T>(T{1} << n);
}

template <std::unsigned_integral T>
constexpr bool test_bit(T value, unsigned n) {
  return ((value >> n) & 1U) != 0;
}

/// VALUE with bit N set to ON.
template <std::unsigned_integral T>
constexpr T with_bit(T value, unsigned n, bool on) {
  return static_cast<T>(on ? (value | bit<T>(n)) : (value & static_cast<T>(~bit<T>(n))));
}

/// A mask of the low N bits, 0 <= N <= 64.
constexpr std::uint64_t low_mask(unsigned n) {
  return n >= 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << n) - 1;
}

/// The field HIGH..LOW (both inclusive, as manuals write it) of VALUE.
template <std::unsigned_integral T>
constexpr T bits(T value, unsigned high, unsigned low) {
  return static_cast<T>((value >> low) & low_mask(high - low + 1));
}

/// VALUE with the field HIGH..LOW replaced by FIELD.
template <std::unsigned_integral T>
constexpr T with_bits(T value, unsigned high, unsigned low, std::type_identity_t<T> field) {
  const auto mask = static_cast<T>(low_mask(high - low + 1) << low);
  return static_cast<T>((value & static_cast<T>(~mask)) | (static_cast<T>(field << low) & mask));
}

/// The ALIGNMENT, here and below, is a power of two.
template <std::unsigned_integral T>
constexpr T align_down(T value, std::type_identity_t<T> alignment) {
  return static_cast<T>(value & ~(alignment - 1));
}

template <std::unsigned_integral T>
constexpr T align_up(T value, std::type_identity_t<T> alignment) {
  return align_down(static_cast<T>(value + alignment - 1), alignment);
}

template <std::unsigned_integral T>
constexpr bool is_aligned(T value, std::type_identity_t<T> alignment) {
  return (value & (alignment - 1)) == 0;
}

/// Sign-extends the low BITS bits of VALUE.
constexpr std::int64_t sign_extend(std::uint64_t value, unsigned bits) {
  const unsigned shift = 64 - bits;
  return static_cast<std::int64_t>(value << shift) >> shift;
}

}  // namespace doppel
