#include "accel/soft/mmu/second_level_tlb.h"

#include <gtest/gtest.h>

#include <memory>
#include <random>
#include <vector>

namespace doppel::accel::soft {
namespace {

constexpr std::uint64_t kPage = 4096;
constexpr auto kUser = MmuIndex::kUser;
constexpr auto kSupervisor = MmuIndex::kSupervisor;

class SecondLevelTlbTest : public testing::Test {
 protected:
  void insert(std::uint16_t pcid, std::uint64_t linear, std::uint64_t gpa, bool global = false, unsigned shift = 12) {
    tlb().insert(kUser, pcid,
                 {.linear = linear,
                  .gpa = gpa,
                  .rights = {.read = true},
                  .global = global,
                  .size_shift = static_cast<std::uint8_t>(shift)});
  }
  /// Zero: nowhere.
  [[nodiscard]] std::uint64_t where(std::uint16_t pcid, std::uint64_t linear) const {
    const TlbInfo* const info = tlb_->find(kUser, pcid, linear);
    return info == nullptr ? 0 : info->gpa;
  }
  [[nodiscard]] SecondLevelTlb& tlb() { return *tlb_; }

 private:
  std::unique_ptr<SecondLevelTlb> tlb_ = std::make_unique<SecondLevelTlb>();
};

TEST_F(SecondLevelTlbTest, AddressSpacesAndViewsAreSeparate) {
  EXPECT_EQ(where(0, 0), 0U);
  insert(1, 0x5000, 0x1000);
  insert(2, 0x5000, 0x2000);
  EXPECT_EQ(where(1, 0x5123), 0x1000U);
  EXPECT_EQ(where(2, 0x5000), 0x2000U);
  EXPECT_EQ(where(0, 0x5000), 0U);
  EXPECT_EQ(tlb().find(kSupervisor, 1, 0x5000), nullptr);
}

TEST_F(SecondLevelTlbTest, GlobalPagesAreInEachSpace) {
  insert(1, 0x5000, 0x1000, true);
  EXPECT_EQ(where(7, 0x5000), 0x1000U);
  tlb().flush_space(1);
  EXPECT_EQ(where(1, 0x5000), 0x1000U);
  tlb().flush_page(7, 0x5fff);
  EXPECT_EQ(where(1, 0x5000), 0U);
}

TEST_F(SecondLevelTlbTest, OneSpaceIsFlushed) {
  insert(1, 0x5000, 0x1000);
  insert(2, 0x5000, 0x2000);
  tlb().flush_space(1);
  EXPECT_EQ(where(1, 0x5000), 0U);
  EXPECT_EQ(where(2, 0x5000), 0x2000U);
  insert(1, 0x5000, 0x3000);
  EXPECT_EQ(where(1, 0x5000), 0x3000U);
}

TEST_F(SecondLevelTlbTest, AFlushedLargePageTakesItsPiecesAlong) {
  constexpr std::uint64_t kLarge = 0x4020'0000;
  insert(1, kLarge, 0x20'0000, false, 21);
  tlb().flush_page(1, kLarge + 0x5'0000);  // itself not entered
  EXPECT_EQ(where(1, kLarge), 0U);
}

TEST_F(SecondLevelTlbTest, PagesOfOneSetStayAsFarAsThereIsRoom) {
  constexpr std::uint64_t kApart = (kPage << 22U) + (kPage << 33U);  // pages of one set lie so, whatever its size is
  for (std::uint64_t n = 0; n < 4; ++n) insert(1, n * kApart, 0x1000 * (n + 1));
  for (std::uint64_t n = 0; n < 4; ++n) EXPECT_EQ(where(1, n * kApart), 0x1000 * (n + 1));
}

/// What it knows was entered, and no flush since then was about it.
TEST_F(SecondLevelTlbTest, KnowsNothingThatWasFlushed) {
  struct Page {
    std::uint64_t linear;
    std::uint16_t pcid;
    bool global;
    bool large;
    bool valid;
  };
  std::vector<Page> pages(1);  // the guest-physical page's number is the index
  std::mt19937_64 random{1};
  const auto below = [&](std::uint64_t limit) { return random() % limit; };
  unsigned found = 0;
  for (unsigned i = 0; i < 200'000 && !HasFailure(); ++i) {
    const auto pcid = static_cast<std::uint16_t>(below(3));
    const std::uint64_t linear = (below(64) | below(8) << 23U) * kPage;
    const auto flush = [&](auto is_meant) {
      for (Page& page : pages) page.valid = page.valid && !is_meant(page);
    };
    const std::uint64_t what = below(1000);
    if (what == 0 && below(10) == 0) {
      tlb().flush_all();
      flush([](const Page&) { return true; });
    } else if (what < 5) {
      tlb().flush_space(pcid);
      flush([&](const Page& page) { return !page.global && page.pcid == pcid; });
    } else if (what < 50) {
      tlb().flush_page(pcid, linear);
      const auto same = [&](const Page& page) {
        return page.large ? page.linear >> 21U == linear >> 21U : page.linear == linear;
      };
      flush([&](const Page& page) { return same(page) && (page.global || page.pcid == pcid); });
    } else if (what < 500) {
      const bool global = below(8) == 0;
      const bool large = below(8) == 0;
      // What the guest maps anew it has flushed before, at least if somebody could see it.
      tlb().flush_page(pcid, linear);
      flush([&](const Page& page) { return page.linear == linear && (page.global || page.pcid == pcid); });
      insert(pcid, linear, pages.size() * kPage, global, large ? 21 : 12);
      pages.push_back({.linear = linear, .pcid = pcid, .global = global, .large = large, .valid = true});
    } else if (const std::uint64_t gpa = where(pcid, linear); gpa != 0) {
      ++found;
      const Page& page = pages.at(gpa / kPage);
      EXPECT_TRUE(page.valid);
      EXPECT_EQ(page.linear, linear);
      EXPECT_TRUE(page.global || page.pcid == pcid);
    }
    if (pages.size() > 2000) {
      tlb().flush_all();
      pages.erase(pages.begin() + 1, pages.end());
    }
  }
  EXPECT_GT(found, 500U);
}

}  // namespace
}  // namespace doppel::accel::soft
