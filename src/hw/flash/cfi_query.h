// What a flash chip answers to a CFI query.
#pragma once

#include <array>
#include <cstdint>

namespace doppel::hw::cfi {

inline constexpr unsigned kQuerySize = 0x44;
using Query = std::array<std::uint8_t, kQuerySize>;

/// Of a chip with BLOCKS erase blocks of BLOCK_SIZE bytes, a multiple of 256, and a write buffer of BUFFER_SIZE bytes,
/// a power of two.
Query make_query(std::uint32_t blocks, std::uint32_t block_size, std::uint32_t buffer_size);

}  // namespace doppel::hw::cfi
