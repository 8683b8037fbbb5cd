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
  for (const char* name : {"tcg", "soft"}) {
    const auto opened = open_accelerator({{.name = name, .properties = {}}}, {});
    ASSERT_TRUE(opened);
    EXPECT_EQ((*opened)->name(), "soft");
  }
}

TEST(Accelerators, IfNoneWorksEachReasonIsGiven) {
  const std::string text = error({{.name = "xen", .properties = {}}, {.name = "hvf", .properties = {}}});
  EXPECT_THAT(text, HasSubstr("no accelerator works here"));
  EXPECT_THAT(text, HasSubstr("xen: "));
  EXPECT_THAT(text, HasSubstr("hvf: "));
}

TEST(Accelerators, TheFirstThatWorksIsTaken) {
  const auto opened = open_accelerator({{.name = "xen", .properties = {}}, {.name = "soft", .properties = {}}}, {});
  ASSERT_TRUE(opened);
  EXPECT_EQ((*opened)->name(), "soft");
}

TEST(Accelerators, KvmIsTheBestOnlyWhereItHasHardware) {
  const auto best = open_accelerator({}, {});
  ASSERT_TRUE(best);
  const auto kvm = open_accelerator({{.name = "kvm", .properties = {}}}, {});
  const bool hardware = kvm && !(*kvm)->traits().interprets_kernel_code;
  EXPECT_EQ((*best)->name(), hardware ? "kvm" : "soft");
}

}  // namespace
}  // namespace doppel::vm
