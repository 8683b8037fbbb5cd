#include "accel/soft/translator/code_regions.h"

#include <gtest/gtest.h>

#include <memory>

namespace doppel::accel::soft {
namespace {

constexpr std::size_t kBegin = 0x1000;
constexpr std::size_t kCapacity = std::size_t{1} << 20U;
constexpr std::uint32_t kSize = 1000;  // bytes of a translation

class CodeRegionsTest : public testing::Test {
 protected:
  /// One more translation where there is room, after which the region is full if FILL.
  Translation& make(bool fill = false) {
    Emitter::Cursors& cursors = regions.cursors();
    auto& made = *translations.emplace_back(std::make_unique<Translation>());
    made.entry = static_cast<std::uint32_t>(cursors.hot);
    made.end = made.entry + kSize;
    cursors.hot += kSize;
    cursors.cold += fill ? Emitter::kMostCold * 4 : 1;
    regions.add(made);
    return made;
  }

  CodeRegions regions{kBegin, kCapacity};
  std::vector<std::unique_ptr<Translation>> translations;
};

TEST_F(CodeRegionsTest, FindsWhoseCodeItIs) {
  Translation& first = make();
  Translation& second = make();
  EXPECT_EQ(&regions.at(first.entry), &first);
  EXPECT_EQ(&regions.at(first.end - 1), &first);
  EXPECT_EQ(&regions.at(second.entry), &second);
  regions.remove(first);
  EXPECT_EQ(&regions.at(second.end - 1), &second);
  EXPECT_EQ(regions.all(), std::vector{&second});
}

TEST_F(CodeRegionsTest, EmptyRegionsComeBeforeFullOnes) {
  for (std::size_t i = 0; i < CodeRegions::kRegions; ++i) {
    EXPECT_TRUE(regions.has_room());
    make(true);
    EXPECT_FALSE(regions.has_room());
    if (i + 1 == CodeRegions::kRegions) break;
    EXPECT_TRUE(regions.advance().empty());
  }
  EXPECT_EQ(regions.all().size(), CodeRegions::kRegions);
}

TEST_F(CodeRegionsTest, TheOneUsedLongestAgoGoes) {
  for (std::size_t i = 0; i < CodeRegions::kRegions; ++i) {
    if (i != 0) (void)regions.advance();
    make(true);
  }
  for (const std::size_t used : {0U, 1U, 3U}) regions.note_use(translations.at(used)->entry);
  Translation* const second = translations.at(2).get();
  const std::vector<Translation*> gone = regions.advance();
  ASSERT_EQ(gone, std::vector{second});
  regions.remove(*second);
  EXPECT_TRUE(regions.has_room());
  EXPECT_EQ(make().entry, second->entry);
  EXPECT_EQ(&regions.at(second->entry), translations.back().get());
  EXPECT_EQ(regions.all().size(), CodeRegions::kRegions);
}

}  // namespace
}  // namespace doppel::accel::soft
