#include "hw/flash/cfi_query.h"

#include <bit>

namespace doppel::hw::cfi {

namespace {

struct Row {
  std::uint8_t address;
  std::uint8_t value;
};

/// What does not depend on the chip's size (JESD68.01, tables 4 to 8). Times are powers of two.
constexpr Row kFixed[] = {
    {0x10, 'Q'},  {0x11, 'R'},  {0x12, 'Y'},  {0x13, 0x01},  // the Intel/Sharp extended command set
    {0x15, 0x31},                                            // where its own table begins
    {0x1b, 0x45}, {0x1c, 0x55},                              // supply: 4.5 V to 5.5 V
    {0x1f, 0x07}, {0x20, 0x07}, {0x21, 0x0a},                // typical time: a byte and a buffer 128 us, an erase 1 s
    {0x23, 0x04}, {0x24, 0x04}, {0x25, 0x04},                // at most 16 times as long
    {0x28, 0x00},                                            // eight bits wide
    {0x2c, 0x01},                                            // one erase block region
    {0x31, 'P'},  {0x32, 'R'},  {0x33, 'I'},  {0x34, '1'},  {0x35, '0'},
};

}  // namespace

Query make_query(std::uint32_t blocks, std::uint32_t block_size, std::uint32_t buffer_size) {
  Query query{};
  for (const Row& row : kFixed) query.at(row.address) = row.value;
  const auto put16 = [&](unsigned address, std::uint32_t value) {
    query.at(address) = static_cast<std::uint8_t>(value);
    query.at(address + 1) = static_cast<std::uint8_t>(value >> 8U);
  };
  const std::uint64_t size = std::uint64_t{blocks} * block_size;
  query.at(0x27) = static_cast<std::uint8_t>(std::bit_width(size - 1));  // 2^N bytes, rounded up
  put16(0x2a, static_cast<std::uint32_t>(std::bit_width(buffer_size) - 1));
  put16(0x2d, blocks - 1);
  put16(0x2f, block_size / 256);
  return query;
}

}  // namespace doppel::hw::cfi
