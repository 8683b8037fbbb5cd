#include "cli/key_values.h"

#include <gtest/gtest.h>

namespace doppel::cli {
namespace {

using vm::KeyValues;

KeyValues parse(std::string_view text, std::string_view implied = "first") {
  const auto pairs = parse_key_values_or_json(text, implied);
  EXPECT_TRUE(pairs) << pairs.error().describe();
  return pairs.value_or(KeyValues{});
}

template <class T>
std::string message(const Result<T>& result) {
  return result ? "" : result.error().describe();
}

TEST(KeyValues, ImpliedFirstKeyAndFlags) {
  EXPECT_EQ(parse("pc,accel=kvm,usb,nohpet"),
            (KeyValues{{"first", "pc"}, {"accel", "kvm"}, {"usb", "on"}, {"hpet", "off"}}));
}

TEST(KeyValues, WithoutAnImpliedKeyTheFirstPieceIsAFlag) {
  EXPECT_EQ(parse("wait", ""), (KeyValues{{"wait", "on"}}));
  EXPECT_EQ(parse("nowait", ""), (KeyValues{{"wait", "off"}}));
}

TEST(KeyValues, AKeyThatBeginsWithNoIsNotNegated) {
  EXPECT_EQ(parse("socket,nodelay,no"), (KeyValues{{"first", "socket"}, {"nodelay", "on"}, {"no", "on"}}));
}

TEST(KeyValues, QuestionMarkIsHelp) {
  EXPECT_EQ(parse("x,?"), (KeyValues{{"first", "x"}, {"help", "on"}}));
}

TEST(KeyValues, DoubledCommaIsAComma) {
  EXPECT_EQ(parse("path=a,,b,x=1"), (KeyValues{{"path", "a,b"}, {"x", "1"}}));
  EXPECT_EQ(parse("a,,b"), (KeyValues{{"first", "a,b"}}));
}

TEST(KeyValues, ValueMayHoldEqualsSigns) {
  EXPECT_EQ(parse("append=root=/dev/sda"), (KeyValues{{"append", "root=/dev/sda"}}));
}

TEST(KeyValues, EmptyTextHasNoPairsAndEmptyValuesCount) {
  EXPECT_EQ(parse(""), KeyValues{});
  EXPECT_EQ(parse("a="), (KeyValues{{"a", ""}}));
}

TEST(KeyValues, TrailingCommaIsHarmless) {
  EXPECT_EQ(parse("pc,"), (KeyValues{{"first", "pc"}}));
}

TEST(KeyValues, EmptyPieceInTheMiddleIsNot) {
  EXPECT_EQ(message(parse_key_values("a=1,,,b=2", "")), "");  // ",," and then ","
  EXPECT_EQ(message(parse_key_values("a=1, ,b=2", "")), "");
  EXPECT_EQ(message(parse_key_values(",b=2", "")),
            "there is nothing between two commas of ',b=2'; write ',,' for a comma in a value");
  EXPECT_EQ(message(parse_key_values("=2", "x")), "'=2' has no name before its '='");
}

TEST(KeyValues, JsonIsFlattenedInItsOrder) {
  EXPECT_EQ(
      parse(R"({"driver":"x","n":3,"on":true,"off":false,"none":null,"in":{"a":"b"},"list":[1,2]})"),
      (KeyValues{
          {"driver", "x"}, {"n", "3"}, {"on", "on"}, {"off", "off"}, {"in.a", "b"}, {"list.0", "1"}, {"list.1", "2"}}));
}

TEST(KeyValues, DamagedJsonSaysWhere) {
  EXPECT_EQ(message(parse_key_values_or_json("{bad", "")),
            "this is not valid JSON: character 2 of 4 is not expected there");
  const std::string deep = "{\"a\":" + std::string(5000, '[') + std::string(5000, ']') + "}";
  EXPECT_EQ(message(parse_key_values_or_json(deep, "")), "this JSON is nested more than 16 deep");
}

TEST(KeyValues, JsonIsNotForEveryOption) {
  EXPECT_EQ(message(parse_key_values("{\"a\":1}", "")), "this option takes key=value pairs, not JSON");
}

TEST(KeyValues, Ids) {
  for (const char* good : {"a", "disk0", "A-b.c_9"}) EXPECT_TRUE(check_id(good)) << good;
  for (const char* bad : {"", "0a", "-a", "a b", "a/b", "ä"}) EXPECT_FALSE(check_id(bad)) << bad;
  EXPECT_EQ(message(check_id("1x")), "id= expects a letter and then letters, digits, '-', '.' or '_', not '1x'");
}

TEST(KeyValueReader, TakesTypesAndNamesTheRest) {
  KeyValueReader reader(parse("cpus=4,cores=0x2,flag=on,size=1G,zise=3"));
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
  EXPECT_EQ(message(reader.finish()), "there is no key 'zise' (did you mean 'size'?)");
}

TEST(KeyValueReader, WithoutANearKeyAllAreNamed) {
  KeyValueReader reader(parse("quite-different=1"));
  std::string text;
  reader.text("size", text);
  reader.text("slots", text);
  EXPECT_EQ(message(reader.finish()), "there is no key 'quite-different'; the keys are size, slots");
}

TEST(KeyValueReader, AbsentKeysLeaveTheValue) {
  KeyValueReader reader({});
  unsigned number = 7;
  bool flag = true;
  std::uint64_t size = 9;
  std::string text = "t";
  EXPECT_TRUE(reader.number("a", number) && reader.boolean("b", flag) && reader.size("c", size));
  reader.text("d", text);
  EXPECT_TRUE(number == 7 && flag && size == 9 && text == "t");
  EXPECT_FALSE(reader.take("e"));
  EXPECT_TRUE(reader.finish());
}

TEST(KeyValueReader, BadValuesNameTheKey) {
  KeyValueReader reader(parse("n=four,m=99999999999,z=0,b=perhaps,s=big,small=300"));
  unsigned n = 0;
  std::uint8_t small = 0;
  bool b = false;
  std::uint64_t s = 0;
  EXPECT_EQ(message(reader.number("n", n)), "n= expects a number, not 'four'");
  EXPECT_EQ(message(reader.number("m", n)), "m= expects a number up to 4294967295, not '99999999999'");
  EXPECT_EQ(message(reader.number("z", n, 1U)), "z= expects a number of at least 1, not '0'");
  EXPECT_EQ(message(reader.number("small", small)), "small= expects a number up to 255, not '300'");
  EXPECT_EQ(message(reader.boolean("b", b)), "b= expects 'on' or 'off', not 'perhaps'");
  EXPECT_EQ(message(reader.size("s", s)), "'big' is not a size; write a number with K, M, G or T, such as 512M");
}

TEST(KeyValueReader, Choice) {
  int value = 0;
  KeyValueReader good(parse("k=b"));
  EXPECT_TRUE(good.choice("k", value, {{"a", 1}, {"b", 2}}));
  EXPECT_EQ(value, 2);
  KeyValueReader bad(parse("k=c"));
  EXPECT_EQ(message(bad.choice("k", value, {{"a", 1}, {"b", 2}})), "k= expects a or b, not 'c'");
}

TEST(KeyValueReader, LastOfRepeatedKeysWinsAndListsKeepAll) {
  KeyValueReader reader(parse("size=1,size=2"));
  EXPECT_EQ(reader.take("size"), "2");
  EXPECT_TRUE(reader.finish());
  KeyValueReader list(parse(R"({"n":[5,6],"n.x":1})"));
  EXPECT_EQ(list.take_all("n"), (std::vector<std::string>{"5", "6"}));
  EXPECT_FALSE(list.finish());
}

TEST(KeyValueReader, Help) {
  KeyValueReader reader(parse("x,help"));
  EXPECT_TRUE(reader.take_help());
  EXPECT_FALSE(reader.take_help());
}

}  // namespace
}  // namespace doppel::cli
