// The checksum of VHDX: CRC-32C (Castagnoli), RFC 3720, appendix B.4.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace doppel::block::vhdx {

/// Of several pieces, one after another: the result of one is the START of the next.
inline std::uint32_t crc32c(std::span<const std::byte> bytes, std::uint32_t start = 0) {
  constexpr auto kTable = [] {
    std::array<std::uint32_t, 256> table{};
    for (std::uint32_t i = 0; i < 256; ++i) {
      std::uint32_t value = i;
      for (int n = 0; n < 8; ++n) value = (value & 1U) != 0 ? (value >> 1) ^ 0x82f63b78U : value >> 1;
      table[i] = value;
    }
    return table;
  }();
  std::uint32_t crc = ~start;
  for (const std::byte b : bytes) crc = kTable[(crc ^ std::to_integer<std::uint32_t>(b)) & 0xffU] ^ (crc >> 8);
  return ~crc;
}

}  // namespace doppel::block::vhdx
