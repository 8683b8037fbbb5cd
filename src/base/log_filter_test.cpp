#include "base/log_filter.h"

#include <gtest/gtest.h>

namespace doppel {
namespace {

bool passes(std::string_view ranges, std::uint64_t address) {
  const auto filter = LogFilter::parse(ranges);
  EXPECT_TRUE(filter) << ranges;
  return filter && filter->passes(address);
}

std::string error_of(std::string_view ranges) {
  const auto filter = LogFilter::parse(ranges);
  return filter ? "" : filter.error().describe();
}

TEST(LogFilter, LetsEverythingPassByDefault) {
  EXPECT_TRUE(LogFilter().passes(0));
  EXPECT_TRUE(LogFilter().passes(~0ULL));
}

TEST(LogFilter, RangesIncludeBothEnds) {
  struct Case {
    std::string_view range;
    std::uint64_t first, last;
  };
  for (const Case& c :
       {Case{"0x8000..0x8fff", 0x8000, 0x8fff},
        Case{"0xffffffc000080000+0x200", 0xffffffc000080000, 0xffffffc0000801ff},
        Case{"0xffffffc000060000-0x1000", 0xffffffc00005f001, 0xffffffc000060000}, Case{"100..100", 100, 100}}) {
    EXPECT_FALSE(passes(c.range, c.first - 1)) << c.range;
    EXPECT_TRUE(passes(c.range, c.first)) << c.range;
    EXPECT_TRUE(passes(c.range, c.last)) << c.range;
    EXPECT_FALSE(passes(c.range, c.last + 1)) << c.range;
  }
  EXPECT_TRUE(passes("0..0xffffffffffffffff", ~0ULL));
}

TEST(LogFilter, AnyOfSeveral) {
  EXPECT_TRUE(passes("1..2,0x10+1", 0x10));
  EXPECT_TRUE(passes("1..2,0x10+1", 2));
  EXPECT_FALSE(passes("1..2,0x10+1", 3));
}

TEST(LogFilter, WhatIsNoRangeIsTold) {
  for (const char* bad : {"", "kernel", "0x1000", "0x1000..", "+4", "1+-4", "0x8000..0x8fffg", "1...2"})
    EXPECT_EQ(error_of(bad), fmt::format("'{}' is not a range of addresses: expected FIRST..LAST, FIRST+SIZE or "
                                         "LAST-SIZE, such as 0x8000..0x8fff",
                                         bad));
  EXPECT_EQ(error_of("1..2,"), error_of(""));
  for (const char* bad : {"2..1", "0x1000+0", "0x1000-0", "0+0", "0-0", "0x1000-0x2000", "0xffffffffffffffff+2"})
    EXPECT_EQ(error_of(bad), fmt::format("the range '{}' is empty or leaves the 64-bit addresses", bad));
}

}  // namespace
}  // namespace doppel
