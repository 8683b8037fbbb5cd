// Guest-physical addresses as a type of their own.
#pragma once

#include <fmt/format.h>

#include <compare>
#include <cstdint>

namespace doppel::memory {

/// An address on a bus: guest-physical memory, or an I/O port. Differences and offsets are plain integers.
struct GuestPhysAddr {
  std::uint64_t value = 0;

  constexpr auto operator<=>(const GuestPhysAddr&) const = default;
  constexpr GuestPhysAddr operator+(std::uint64_t offset) const { return {value + offset}; }
  constexpr GuestPhysAddr operator-(std::uint64_t offset) const { return {value - offset}; }
  constexpr std::uint64_t operator-(GuestPhysAddr other) const { return value - other.value; }
  constexpr GuestPhysAddr& operator+=(std::uint64_t offset) {
    value += offset;
    return *this;
  }
};

inline constexpr std::uint64_t kPageSize = 4096;
inline constexpr unsigned kPageShift = 12;

}  // namespace doppel::memory

template <>
struct fmt::formatter<doppel::memory::GuestPhysAddr> : fmt::formatter<std::string_view> {
  auto format(doppel::memory::GuestPhysAddr address, fmt::format_context& context) const {
    return fmt::format_to(context.out(), "{:#x}", address.value);
  }
};
