#include "accel/soft/runtime/code_changes.h"

#include <gtest/gtest.h>

#include <vector>

namespace doppel::accel::soft {
namespace {

TEST(CodeChangesTest, NamesThePagesBehindWhatWasSeen) {
  CodeChanges changes;
  changes.note(0x1234);
  const std::uint64_t seen = changes.count();
  changes.note(0x5fff);
  changes.note(0xf'ffff'f000);
  std::vector<std::uint64_t> pages;
  EXPECT_TRUE(changes.visit(seen, changes.count(), [&](std::uint64_t gpa) { pages.push_back(gpa); }));
  EXPECT_EQ(pages, (std::vector<std::uint64_t>{0x5000, 0xf'ffff'f000}));
}

TEST(CodeChangesTest, SaysWhenThereWereTooMany) {
  CodeChanges changes;
  for (unsigned n = 0; n < 1000; ++n) changes.note(n * 0x1000);
  const auto ignore = [](std::uint64_t) {};
  EXPECT_TRUE(changes.visit(999, 1000, ignore));
  EXPECT_FALSE(changes.visit(0, 1000, ignore));
  EXPECT_FALSE(changes.visit(1000, 1001, ignore)) << "the last was not noted yet";
}

}  // namespace
}  // namespace doppel::accel::soft
