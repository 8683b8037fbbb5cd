#include "base/endian.h"

#include <gtest/gtest.h>

#include <array>

namespace doppel {
namespace {

TEST(Endian, SwapsEachSize) {
  EXPECT_EQ(byte_swap(std::uint8_t{0x12}), 0x12);
  EXPECT_EQ(byte_swap(std::uint16_t{0x1234}), 0x3412);
  EXPECT_EQ(byte_swap(std::uint32_t{0x1234'5678}), 0x7856'3412U);
  EXPECT_EQ(byte_swap(std::uint64_t{0x1122'3344'5566'7788}), 0x8877'6655'4433'2211U);
}

TEST(Endian, LoadsAndStoresUnaligned) {
  std::array<unsigned char, 9> bytes{};
  store_le<std::uint32_t>(&bytes[1], 0x1122'3344);
  EXPECT_EQ(bytes[1], 0x44);
  EXPECT_EQ(load_le<std::uint32_t>(&bytes[1]), 0x1122'3344U);
  EXPECT_EQ(load_be<std::uint32_t>(&bytes[1]), 0x4433'2211U);
  store_be<std::uint16_t>(&bytes[7], 0xabcd);
  EXPECT_EQ(bytes[7], 0xab);
  EXPECT_EQ(load_be<std::uint16_t>(&bytes[7]), 0xabcd);
}

TEST(Endian, StoredTypesHaveNoAlignmentAndKnowTheirOrder) {
  struct Header {
    Le16 a;
    Be32 b;
    Le64 c;
  };
  static_assert(sizeof(Header) == 14 && alignof(Header) == 1);
  const Header header{.a = 0x0102, .b = 0x0304'0506, .c = 0x0708};
  const auto* bytes = reinterpret_cast<const unsigned char*>(&header);
  EXPECT_EQ(bytes[0], 2);
  EXPECT_EQ(bytes[2], 3);
  EXPECT_EQ(bytes[6], 8);
  EXPECT_EQ(header.a + 0, 0x0102);
  EXPECT_EQ(header.b, 0x0304'0506U);
  EXPECT_EQ(Le32(), 0U);
}

TEST(Endian, SizedAccessTouchesOnlyItsBytes) {
  std::array<unsigned char, 8> bytes;
  bytes.fill(0xee);
  store_le_sized(bytes.data(), 3, 0x1122'3344);
  EXPECT_EQ(bytes[2], 0x22);
  EXPECT_EQ(bytes[3], 0xee);
  EXPECT_EQ(load_le_sized(bytes.data(), 3), 0x22'3344U);
  EXPECT_EQ(load_le_sized(bytes.data(), 0), 0U);
  EXPECT_EQ(load_le_sized(bytes.data(), 8), 0xeeee'eeee'ee22'3344U);
}

}  // namespace
}  // namespace doppel
