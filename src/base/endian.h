// Explicit byte order: Le<T> and Be<T> for structures the guest or a file shares with us, load/store for raw bytes.
#pragma once

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace doppel {

template <std::unsigned_integral T>
constexpr T byte_swap(T value) {
  T result = 0;
  for (std::size_t i = 0; i < sizeof(T); ++i)
    result = static_cast<T>(result | (static_cast<T>((value >> (8 * i)) & 0xff) << (8 * (sizeof(T) - 1 - i))));
  return result;
}

template <std::unsigned_integral T>
constexpr T to_little(T value) {
  return std::endian::native == std::endian::little ? value : byte_swap(value);
}

template <std::unsigned_integral T>
constexpr T to_big(T value) {
  return std::endian::native == std::endian::big ? value : byte_swap(value);
}

/// An unaligned load or store of a little- or big-endian T. The caller vouches for sizeof(T) bytes at BYTES.
template <std::unsigned_integral T>
T load_le(const void* bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof value);
  return to_little(value);
}

template <std::unsigned_integral T>
T load_be(const void* bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof value);
  return to_big(value);
}

template <std::unsigned_integral T>
void store_le(void* bytes, T value) {
  value = to_little(value);
  std::memcpy(bytes, &value, sizeof value);
}

template <std::unsigned_integral T>
void store_be(void* bytes, T value) {
  value = to_big(value);
  std::memcpy(bytes, &value, sizeof value);
}

/// A T stored in little-endian order with no alignment of its own; for structures laid over guest memory and files.
template <std::unsigned_integral T>
class Le {
 public:
  constexpr Le() = default;
  Le(T value) { store_le(bytes_, value); }           // NOLINT: converts on purpose
  operator T() const { return load_le<T>(bytes_); }  // NOLINT: converts on purpose

 private:
  unsigned char bytes_[sizeof(T)] = {};
};

/// A T stored in big-endian order with no alignment of its own.
template <std::unsigned_integral T>
class Be {
 public:
  constexpr Be() = default;
  Be(T value) { store_be(bytes_, value); }           // NOLINT: converts on purpose
  operator T() const { return load_be<T>(bytes_); }  // NOLINT: converts on purpose

 private:
  unsigned char bytes_[sizeof(T)] = {};
};

using Le16 = Le<std::uint16_t>;
using Le32 = Le<std::uint32_t>;
using Le64 = Le<std::uint64_t>;
using Be16 = Be<std::uint16_t>;
using Be32 = Be<std::uint32_t>;
using Be64 = Be<std::uint64_t>;

/// The low SIZE bytes (1 to 8) at BYTES as a little-endian number, and back: what a bus access carries.
inline std::uint64_t load_le_sized(const void* bytes, std::size_t size) {
  std::uint64_t value = 0;
  std::memcpy(&value, bytes, size);
  return to_little(value);
}

inline void store_le_sized(void* bytes, std::size_t size, std::uint64_t value) {
  value = to_little(value);
  std::memcpy(bytes, &value, size);
}

}  // namespace doppel
