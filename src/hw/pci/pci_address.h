// Where a PCI function sits: on its bus, and in the whole machine.
#pragma once

#include <fmt/format.h>

#include <compare>
#include <cstdint>
#include <string_view>

#include "base/error.h"

namespace doppel::hw {

/// A place on one bus. DEVICE (the slot) is 0..31, FUNCTION 0..7.
struct PciAddress {
  static constexpr unsigned kDevices = 32;
  static constexpr unsigned kFunctions = 8;

  std::uint8_t device = 0;
  std::uint8_t function = 0;

  constexpr auto operator<=>(const PciAddress&) const = default;
  /// 0..255, as in bits 15:8 of CONFADD.
  [[nodiscard]] constexpr unsigned index() const { return device * kFunctions + function; }
};

/// A place in the machine: what configuration cycles carry.
struct Bdf {
  std::uint8_t bus = 0;
  std::uint8_t device = 0;
  std::uint8_t function = 0;

  constexpr auto operator<=>(const Bdf&) const = default;
  [[nodiscard]] constexpr PciAddress address() const { return {device, function}; }
};

/// `addr=` of a `-device` in QEMU's notation: hexadecimal SLOT or SLOT.FUNCTION, such as "6", "0x1f" or "06.1".
Result<PciAddress> parse_pci_address(std::string_view text);

}  // namespace doppel::hw

template <>
struct fmt::formatter<doppel::hw::PciAddress> : fmt::formatter<std::string_view> {
  auto format(doppel::hw::PciAddress address, fmt::format_context& context) const {
    return fmt::format_to(context.out(), "{:02x}.{:x}", address.device, address.function);
  }
};

template <>
struct fmt::formatter<doppel::hw::Bdf> : fmt::formatter<std::string_view> {
  auto format(doppel::hw::Bdf bdf, fmt::format_context& context) const {
    return fmt::format_to(context.out(), "{:02x}:{:02x}.{:x}", bdf.bus, bdf.device, bdf.function);
  }
};
