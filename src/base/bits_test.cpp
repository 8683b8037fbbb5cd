#include "base/bits.h"

#include <gtest/gtest.h>

namespace doppel {
namespace {

TEST(Bits, SingleBits) {
  EXPECT_EQ(bit(63), 0x8000'0000'0000'0000U);
  EXPECT_EQ(bit<std::uint8_t>(7), 0x80);
  EXPECT_TRUE(test_bit(std::uint8_t{0x80}, 7));
  EXPECT_FALSE(test_bit(std::uint64_t{1}, 63));
  EXPECT_EQ(with_bit(std::uint8_t{0x0f}, 7, true), 0x8f);
  EXPECT_EQ(with_bit(std::uint16_t{0xffff}, 15, false), 0x7fff);
  EXPECT_EQ(with_bit(std::uint8_t{0x80}, 7, true), 0x80);
}

TEST(Bits, Masks) {
  EXPECT_EQ(low_mask(0), 0U);
  EXPECT_EQ(low_mask(1), 1U);
  EXPECT_EQ(low_mask(63), 0x7fff'ffff'ffff'ffffU);
  EXPECT_EQ(low_mask(64), ~std::uint64_t{0});
  EXPECT_EQ(low_mask(100), ~std::uint64_t{0});
}

TEST(Bits, FieldsAsManualsWriteThem) {
  EXPECT_EQ(bits(std::uint32_t{0x1234'5678}, 15, 8), 0x56U);
  EXPECT_EQ(bits(std::uint8_t{0xc3}, 7, 6), 3);
  EXPECT_EQ(bits(~std::uint64_t{0}, 63, 0), ~std::uint64_t{0});
  EXPECT_EQ(with_bits(std::uint32_t{0xffff'ffff}, 15, 8, 0x12), 0xffff'12ffU);
  EXPECT_EQ(with_bits(std::uint8_t{0}, 7, 4, 0xff), 0xf0) << "a field too wide is cut";
  EXPECT_EQ(with_bits(std::uint64_t{5}, 63, 0, 7), 7U);
}

TEST(Bits, Alignment) {
  EXPECT_EQ(align_down(std::uint64_t{0x1fff}, 0x1000), 0x1000U);
  EXPECT_EQ(align_up(std::uint64_t{0x1001}, 0x1000), 0x2000U);
  EXPECT_EQ(align_up(std::uint64_t{0x1000}, 0x1000), 0x1000U);
  EXPECT_EQ(align_up(std::uint32_t{0}, 4), 0U);
  EXPECT_TRUE(is_aligned(std::uint64_t{0}, 8));
  EXPECT_FALSE(is_aligned(std::uint16_t{12}, 8));
}

TEST(Bits, SignExtension) {
  EXPECT_EQ(sign_extend(0x80, 8), -128);
  EXPECT_EQ(sign_extend(0x7f, 8), 127);
  EXPECT_EQ(sign_extend(0xf'ff80, 8), -128) << "what lies above does not count";
  EXPECT_EQ(sign_extend(0x8000'0000'0000'0000, 64), std::numeric_limits<std::int64_t>::min());
}

}  // namespace
}  // namespace doppel
