#include "block/vhdx/crc32c.h"

#include <gtest/gtest.h>

#include <string_view>

#include "block/vhdx/layout.h"

namespace doppel::block::vhdx {
namespace {

TEST(Crc32c, GivesTheValuesOfRfc3720) {
  const std::array<std::byte, 32> zeroes{};
  EXPECT_EQ(crc32c(zeroes), 0x8a9136aaU);
  const std::string_view digits = "123456789";
  const auto bytes = std::as_bytes(std::span(digits));
  EXPECT_EQ(crc32c(bytes), 0xe3069283U);
  EXPECT_EQ(crc32c(bytes.subspan(4), crc32c(bytes.first(4))), 0xe3069283U);
}

TEST(Guid, HasItsFirstThreeFieldsInLittleEndianOrder) {
  constexpr Guid kParsed = guid("00112233-4455-6677-8899-AABBCCDDEEFF");
  constexpr unsigned kExpected[] = {0x33, 0x22, 0x11, 0x00, 0x55, 0x44, 0x77, 0x66,
                                    0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff};
  for (std::size_t i = 0; i < kParsed.size(); ++i) EXPECT_EQ(std::to_integer<unsigned>(kParsed[i]), kExpected[i]);
}

}  // namespace
}  // namespace doppel::block::vhdx
