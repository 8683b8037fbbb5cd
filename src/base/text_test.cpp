#include "base/text.h"

#include <gtest/gtest.h>

namespace doppel {
namespace {

using Pieces = std::vector<std::string_view>;

TEST(Text, Split) {
  EXPECT_EQ(split("", ','), Pieces());
  EXPECT_EQ(split("a", ','), Pieces{"a"});
  EXPECT_EQ(split("a,b", ','), (Pieces{"a", "b"}));
  EXPECT_EQ(split(",a,,b,", ','), (Pieces{"", "a", "", "b", ""}));
  EXPECT_EQ(split(",", ','), (Pieces{"", ""}));
}

TEST(Text, Numbers) {
  EXPECT_EQ(parse_number("0"), 0U);
  EXPECT_EQ(parse_number("18446744073709551615"), ~std::uint64_t{0});
  EXPECT_EQ(parse_number("0x1F"), 31U);
  EXPECT_EQ(parse_number("0Xff"), 255U);
  EXPECT_EQ(parse_number("017"), 15U);
  for (const auto* bad : {"", " 1", "1 ", "-1", "+1", "0x", "0x-1", "08", "1k", "one"}) {
    const auto result = parse_number(bad);
    ASSERT_FALSE(result) << bad;
    EXPECT_EQ(result.error().message(), fmt::format("'{}' is not a number", bad));
  }
  EXPECT_EQ(parse_number("18446744073709551616").error().kind(), ErrorKind::kOutOfRange);
}

TEST(Text, Sizes) {
  EXPECT_EQ(parse_size("0"), 0U);
  EXPECT_EQ(parse_size("512"), 512U);
  EXPECT_EQ(parse_size("512", 1024 * 1024), 512U << 20U);
  EXPECT_EQ(parse_size("512B", 1024 * 1024), 512U);
  EXPECT_EQ(parse_size("4k"), 4096U);
  EXPECT_EQ(parse_size("1.5G"), 1536ULL << 20U);
  EXPECT_EQ(parse_size(".5M"), 512U << 10U);
  EXPECT_EQ(parse_size("0x1000"), 4096U);
  EXPECT_EQ(parse_size("0x1B"), 27U) << "a digit, no unit";
  EXPECT_EQ(parse_size("010M"), 10U << 20U) << "decimal";
  EXPECT_EQ(parse_size("000"), 0U);
  EXPECT_EQ(parse_size("15E"), 15ULL << 60U);
  for (const auto* bad : {"", "G", "1X", "-1M", "1.5.1G", "1e3", "nan.", "inf.", "0x10M", "1 G", "."})
    EXPECT_EQ(parse_size(bad).error().message(),
              fmt::format("'{}' is not a size; write a number with K, M, G or T, such as 512M", bad));
  for (const auto* large : {"16E", "16.0E", "99999999999999999999", "18446744073709551616.0"})
    EXPECT_EQ(parse_size(large).error().kind(), ErrorKind::kOutOfRange) << large;
}

TEST(Text, Booleans) {
  for (const auto* yes : {"on", "yes", "true", "y"}) EXPECT_EQ(parse_bool(yes), true) << yes;
  for (const auto* no : {"off", "no", "false", "n"}) EXPECT_EQ(parse_bool(no), false) << no;
  EXPECT_EQ(parse_bool("On").error().message(), "'On' is neither 'on' nor 'off'");
}

TEST(Text, FormatsSizes) {
  EXPECT_EQ(format_size(0), "0 B");
  EXPECT_EQ(format_size(1023), "1023 B");
  EXPECT_EQ(format_size(64ULL << 20U), "64 MiB");
  EXPECT_EQ(format_size(1536ULL << 20U), "1.5 GiB");
  EXPECT_EQ(format_size(~std::uint64_t{0}), "16 EiB");
}

std::string nearest(std::string_view wanted, std::initializer_list<std::string_view> offered) {
  NearestName name(wanted);
  for (const auto candidate : offered) name.offer(candidate);
  return name.name();
}

TEST(Text, NearestName) {
  EXPECT_EQ(nearest("vrtio-blk-pci", {"virtio-net-pci", "virtio-blk-pci"}), "virtio-blk-pci");
  EXPECT_EQ(nearest("prot", {"port", "slot"}), "port") << "two letters swapped";
  EXPECT_EQ(nearest("PORT", {"port"}), "port");
  EXPECT_EQ(nearest("zebra", {"port", "slot"}), "");
  EXPECT_EQ(nearest("x", {}), "");
  EXPECT_EQ(nearest("cpus", {"cpu", "cpus"}), "cpus");
  NearestName name("sze");
  EXPECT_EQ(name.suggestion(), "");
  name.offer("size");
  EXPECT_EQ(name.suggestion(), " (did you mean 'size'?)");
}

}  // namespace
}  // namespace doppel
