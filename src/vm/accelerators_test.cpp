#include "vm/accelerators.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace doppel::vm {
namespace {

using testing::HasSubstr;

std::string error(const std::vector<AccelConfig>& wanted) {
  const auto opened = open_accelerator(wanted, {});
  return opened ? "" : opened.error().describe();
}

TEST(Accelerators, AnUnknownOneIsNamed) {
  EXPECT_THAT(error({{.name = "xen", .properties = {}}}), HasSubstr("-accel xen: there is no such accelerator"));
}

TEST(Accelerators, ByQemusNameToo) {
  EXPECT_THAT(error({{.name = "tcg", .properties = {}}}), HasSubstr("not there yet"));
  EXPECT_THAT(error({{.name = "soft", .properties = {}}}), HasSubstr("not there yet"));
}

TEST(Accelerators, IfNoneWorksEachReasonIsGiven) {
  const std::string text = error({{.name = "xen", .properties = {}}, {.name = "soft", .properties = {}}});
  EXPECT_THAT(text, HasSubstr("no accelerator works here"));
  EXPECT_THAT(text, HasSubstr("xen: "));
  EXPECT_THAT(text, HasSubstr("soft: "));
}

TEST(Accelerators, TheFirstThatWorksIsTaken) {
  const auto alone = open_accelerator({{.name = "kvm", .properties = {}}}, {});
  if (!alone) GTEST_SKIP() << alone.error().describe();
  const auto opened = open_accelerator({{.name = "soft", .properties = {}}, {.name = "kvm", .properties = {}}}, {});
  ASSERT_TRUE(opened);
  EXPECT_EQ((*opened)->name(), "kvm");
  const auto best = open_accelerator({}, {});
  ASSERT_TRUE(best);
  EXPECT_EQ((*best)->name(), "kvm");
}

}  // namespace
}  // namespace doppel::vm
