#include "cli/key_values.h"

#include <gtest/gtest.h>

namespace doppel::cli {
namespace {

using vm::KeyValues;

KeyValues parse(std::string_view text, std::string_view implied = "first") {
  const auto pairs = parse_key_values(text, implied);
  EXPECT_TRUE(pairs) << pairs.error().describe();
  return pairs.value_or(KeyValues{});
}

TEST(KeyValues, ImpliedFirstKeyAndFlags) {
  EXPECT_EQ(parse("pc,accel=kvm,usb,nohpet"),
            (KeyValues{{"first", "pc"}, {"accel", "kvm"}, {"usb", "on"}, {"hpet", "off"}}));
}

TEST(KeyValues, DoubledCommaIsAComma) {
  EXPECT_EQ(parse("path=a,,b,x=1"), (KeyValues{{"path", "a,b"}, {"x", "1"}}));
}

TEST(KeyValues, ValueMayHoldEqualsSigns) {
  EXPECT_EQ(parse("append=root=/dev/sda"), (KeyValues{{"append", "root=/dev/sda"}}));
}

TEST(KeyValues, TrailingCommaIsHarmless) {
  EXPECT_EQ(parse("pc,"), (KeyValues{{"first", "pc"}}));
}

TEST(KeyValues, EmptyPieceInTheMiddleIsNot) {
  EXPECT_FALSE(parse_key_values("a=1,,,b=2", ""));
}

TEST(KeyValues, JsonIsFlattened) {
  EXPECT_EQ(parse(R"({"driver":"x","n":3,"on":true,"in":{"a":"b"},"list":[1,2]})"),
            (KeyValues{{"driver", "x"}, {"in.a", "b"}, {"list.0", "1"}, {"list.1", "2"}, {"n", "3"}, {"on", "on"}}));
  EXPECT_FALSE(parse_key_values("{bad", ""));
}

TEST(KeyValueReader, TakesTypesAndNamesTheRest) {
  KeyValueReader reader("-smp", parse("cpus=4,cores=0x2,flag=on,size=1G,zise=3"));
  unsigned cpus = 0;
  unsigned cores = 0;
  bool flag = false;
  std::uint64_t size = 0;
  EXPECT_TRUE(reader.number("cpus", cpus));
  EXPECT_TRUE(reader.number("cores", cores));
  EXPECT_TRUE(reader.boolean("flag", flag));
  EXPECT_TRUE(reader.size("size", size));
  EXPECT_EQ(cpus + cores, 6U);
  EXPECT_TRUE(flag);
  EXPECT_EQ(size, 1ULL << 30U);
  EXPECT_EQ(reader.finish().error().message(), "-smp: there is no key 'zise' (did you mean 'size'?)");
}

TEST(KeyValueReader, BadValueNamesOptionAndKey) {
  KeyValueReader reader("-smp", parse("cpus=four"));
  unsigned cpus = 0;
  EXPECT_EQ(reader.number("cpus", cpus).error().message(), "-smp: cpus= expects a number, not 'four'");
}

TEST(KeyValueReader, LastOfRepeatedKeysWins) {
  KeyValueReader reader("-m", parse("size=1,size=2"));
  EXPECT_EQ(*reader.take("size"), "2");
  EXPECT_TRUE(reader.finish());
}

}  // namespace
}  // namespace doppel::cli
