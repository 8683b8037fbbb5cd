#include "hw/pci/pci_address.h"

#include <charconv>
#include <optional>

namespace doppel::hw {

namespace {

std::optional<std::uint8_t> parse_hex(std::string_view text, unsigned limit) {
  if (text.starts_with("0x") || text.starts_with("0X")) text.remove_prefix(2);
  unsigned value = 0;
  const char* begin = text.data();
  const char* end = begin + text.size();
  const auto [stop, error] = std::from_chars(begin, end, value, 16);
  if (error != std::errc{} || stop != end || value >= limit) return std::nullopt;
  return static_cast<std::uint8_t>(value);
}

}  // namespace

Result<PciAddress> parse_pci_address(std::string_view text) {
  const std::size_t dot = text.find('.');
  const auto device = parse_hex(text.substr(0, dot), PciAddress::kDevices);
  const auto function = dot == std::string_view::npos ? std::optional<std::uint8_t>(std::uint8_t{0})
                                                      : parse_hex(text.substr(dot + 1), PciAddress::kFunctions);
  if (!device || !function)
    return fail(ErrorKind::kInvalidArgument,
                "'{}' is no PCI address: expected hexadecimal SLOT or SLOT.FUNCTION, up to 1f.7", text);
  return PciAddress{*device, *function};
}

}  // namespace doppel::hw
