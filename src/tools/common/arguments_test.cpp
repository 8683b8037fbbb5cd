#include "tools/common/arguments.h"

#include <gtest/gtest.h>

namespace doppel::tools {
namespace {

constexpr OptionRow kRows[] = {
    {'f', "", true}, {'p', "", false}, {'q', "quiet", false}, {0, "output", true}, {0, "shrink", false},
};

Result<Arguments> parse(std::vector<std::string> words) {
  return Arguments::parse(kRows, words);
}

TEST(Arguments, TakesAllFormsOfGetopt) {
  const auto arguments = parse({"-f", "raw", "-pq", "a", "--output=json", "-fqcow2", "--shrink", "-5M", "--", "-x"});
  ASSERT_TRUE(arguments);
  EXPECT_EQ(arguments->value("f"), "qcow2");
  EXPECT_EQ(arguments->values("f"), (std::vector<std::string>{"raw", "qcow2"}));
  EXPECT_TRUE(arguments->has("p"));
  EXPECT_TRUE(arguments->has("q"));
  EXPECT_TRUE(arguments->has("shrink"));
  EXPECT_EQ(arguments->value("output"), "json");
  EXPECT_EQ(arguments->rest(), (std::vector<std::string>{"a", "-5M", "-x"}));
  EXPECT_EQ(parse({"--output", "json"})->value_or("output", "human"), "json");
  EXPECT_EQ(parse({})->value_or("output", "human"), "human");
}

TEST(Arguments, SaysWhatIsWrong) {
  EXPECT_EQ(parse({"-x"}).error().message(), "there is no option '-x'");
  EXPECT_EQ(parse({"--outptu=x"}).error().message(), "there is no option '--outptu' (did you mean 'output'?)");
  EXPECT_EQ(parse({"-f"}).error().message(), "option '-f' needs a value");
}

}  // namespace
}  // namespace doppel::tools
