#include "accel/soft/translator/code_regions.h"

#include <gtest/gtest.h>

#include <utility>
#include <vector>

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
    TranslationDraft draft;
    draft.begin({}, regions.next_id());
    draft.guarded_entry = draft.saved_flags_entry = draft.entry = static_cast<std::uint32_t>(cursors.hot);
    draft.end = draft.end_of_last = draft.entry + kSize;
    draft.links = std::move(links);
    cursors.hot += kSize;
    cursors.cold += fill ? Emitter::kMostCold * 4 : 1;
    return *translations.emplace_back(&regions.add(draft));
  }

  CodeRegions regions{kBegin, kCapacity};
  std::vector<Translation*> translations;
  std::vector<Translation::Link> links;  // of the next one
};

TEST_F(CodeRegionsTest, FindsWhoseCodeItIs) {
  Translation& first = make();
  Translation& second = make();
  EXPECT_EQ(&regions.at(first.entry()), &first);
  EXPECT_EQ(&regions.at(first.end() - 1), &first);
  EXPECT_EQ(&regions.at(second.entry()), &second);
  first.exists = false;
  EXPECT_EQ(&regions.at(second.end() - 1), &second);
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

TEST_F(CodeRegionsTest, ListsAreKept) {
  for (std::uint64_t target = 1; target <= kMostLinks; ++target) {
    links.assign(target, {.target = target});
    make();
  }
  for (std::size_t i = 0; i < translations.size(); ++i) {
    EXPECT_EQ(&regions.of(translations[i]->id), translations[i]);
    ASSERT_EQ(translations[i]->links().size(), i + 1);
    EXPECT_EQ(translations[i]->links().back().target, i + 1);
    EXPECT_TRUE(translations[i]->instructions().empty());
  }
}

TEST_F(CodeRegionsTest, RecordsTakeNoMoreThanCode) {
  std::size_t bytes = 0;
  for (; regions.has_room(); bytes += translations.back()->bytes()) {
    links.resize(kMostLinks);
    regions.cursors() = {.hot = regions.cursors().hot - kSize, .cold = regions.cursors().cold - 1};
    make();
  }
  EXPECT_LE(bytes, kCapacity / CodeRegions::kRegions);
  EXPECT_GE(bytes, kCapacity / CodeRegions::kRegions / 2);
}

TEST_F(CodeRegionsTest, TheOneUsedLongestAgoGoes) {
  for (std::size_t i = 0; i < CodeRegions::kRegions; ++i) {
    if (i != 0) (void)regions.advance();
    make(true);
  }
  for (const std::size_t used : {0U, 1U, 3U}) regions.note_use(translations.at(used)->entry());
  Translation* const second = translations.at(2);
  const std::uint32_t entry = second->entry();
  const std::vector<Translation*> gone = regions.advance();
  ASSERT_EQ(gone, std::vector{second});
  EXPECT_TRUE(regions.has_room());
  EXPECT_EQ(make().entry(), entry);
  EXPECT_EQ(&regions.at(entry), translations.back());
  EXPECT_EQ(regions.all().size(), CodeRegions::kRegions);
}

}  // namespace
}  // namespace doppel::accel::soft
