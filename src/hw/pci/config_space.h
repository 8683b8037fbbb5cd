// The 256 bytes of a function's configuration space, with what a guest may do to each bit.
#pragma once

#include <array>
#include <concepts>
#include <cstdint>

namespace doppel::hw {

/// Little-endian registers of 1, 2 or 4 bytes at any offset. Every bit is read-only, writable, or cleared by writing
/// a one; a new space is all zeroes and read-only. No lock: the owner's guards it.
class ConfigSpace {
 public:
  static constexpr unsigned kSize = 256;
  using Bytes = std::array<std::uint8_t, kSize>;

  /// A guest's access of 1, 2 or 4 bytes. What lies beyond the end reads as ones and is not written.
  [[nodiscard]] std::uint32_t read(unsigned offset, unsigned size) const;
  void write(unsigned offset, unsigned size, std::uint32_t value);

  /// Gives the register at OFFSET its value, at once and after each reset(), and its masks.
  template <std::unsigned_integral T>
  void define(unsigned offset, T value, T writable = 0, T clear_by_one = 0) {
    for (unsigned i = 0; i < sizeof(T); ++i)
      define_byte(offset + i, byte_of(value, i), byte_of(writable, i), byte_of(clear_by_one, i));
  }

  /// The device's own view, past all masks. OFFSET + sizeof(T) must not pass the end.
  template <std::unsigned_integral T>
  [[nodiscard]] T get(unsigned offset) const {
    T value = 0;
    for (unsigned i = 0; i < sizeof(T); ++i) value = static_cast<T>(value | (T{bytes_[offset + i]} << (8 * i)));
    return value;
  }
  template <std::unsigned_integral T>
  void set(unsigned offset, T value) {
    for (unsigned i = 0; i < sizeof(T); ++i) bytes_[offset + i] = byte_of(value, i);
  }

  /// Back to the defined values.
  void reset() { bytes_ = reset_; }

  [[nodiscard]] const Bytes& bytes() const { return bytes_; }
  void set_bytes(const Bytes& bytes) { bytes_ = bytes; }

 private:
  template <std::unsigned_integral T>
  static constexpr std::uint8_t byte_of(T value, unsigned index) {
    return static_cast<std::uint8_t>(value >> (8 * index));
  }
  void define_byte(unsigned offset, std::uint8_t value, std::uint8_t writable, std::uint8_t clear_by_one);

  Bytes bytes_{};
  Bytes reset_{};
  Bytes writable_{};
  Bytes clear_by_one_{};
};

}  // namespace doppel::hw
