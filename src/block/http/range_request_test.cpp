#include "block/http/range_request.h"

#include <gtest/gtest.h>

namespace doppel::block::http {
namespace {

TEST(ContentRange, IsFirstAndTotal) {
  const auto range = parse_content_range(" bytes 5-9/100\r\n");
  ASSERT_TRUE(range);
  EXPECT_EQ(range->first, 5U);
  EXPECT_EQ(range->total, 100U);
  EXPECT_EQ(parse_content_range("bytes 0-0/*")->total, std::nullopt);
  EXPECT_EQ(parse_content_range("bytes */0")->total, 0U);
  EXPECT_EQ(parse_content_range("bytes */0")->first, std::nullopt);
}

TEST(ContentRange, IsNothingWhereItMakesNoSense) {
  for (const char* text : {"", "bytes", "bytes 1-2", "items 1-2/3", "bytes x-2/3", "bytes -2/3"})
    EXPECT_FALSE(parse_content_range(text)) << text;
  EXPECT_EQ(parse_content_range("bytes 0-1/99999999999999999999999")->total, std::nullopt);
}

}  // namespace
}  // namespace doppel::block::http
