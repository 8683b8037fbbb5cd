#include "accel/soft/mmu/tlb.h"

#include <gtest/gtest.h>

#include <array>
#include <memory>
#include <optional>
#include <random>

namespace doppel::accel::soft {
namespace {

constexpr std::uint64_t kPage = 4096;
constexpr auto kUser = MmuIndex::kUser;
constexpr auto kSupervisor = MmuIndex::kSupervisor;

class TlbTest : public testing::Test {
 protected:
  void insert(MmuIndex index, std::uint64_t linear, std::uint64_t gpa, bool global = false, std::uint8_t shift = 12) {
    tlb().insert(index, {.linear = linear,
                         .gpa = gpa,
                         .rights = {.read = true, .write = true, .fetch = true},
                         .global = global,
                         .size_shift = shift});
    TlbEntry& entry = tlb().entry(index, linear);
    entry.read_tag = entry.write_tag = linear;
  }
  void insert_keyed(std::uint64_t linear, std::uint8_t key) {
    tlb().insert(kUser, {.linear = linear, .gpa = linear, .rights = {.read = true}, .protection_key = key});
    tlb().entry(kUser, linear).read_tag = linear;
  }
  [[nodiscard]] bool knows(MmuIndex index, std::uint64_t linear) {
    const TlbEntry& entry = tlb().entry(index, linear);
    const bool tagged = entry.read_tag == linear;
    EXPECT_EQ(tagged, tlb().info(index, linear).linear == linear);
    return tagged;
  }
  [[nodiscard]] bool may_write(MmuIndex index, std::uint64_t linear) {
    return tlb().entry(index, linear).write_tag == linear;
  }
  [[nodiscard]] Tlb& tlb() { return *tlb_; }

 private:
  std::unique_ptr<Tlb> tlb_ = std::make_unique<Tlb>();
};

TEST_F(TlbTest, BeginsEmpty) {
  for (const std::uint64_t linear : {std::uint64_t{0}, kPage, ~std::uint64_t{0xfff}}) {
    EXPECT_FALSE(knows(kUser, linear));
    EXPECT_FALSE(knows(kSupervisor, linear));
  }
}

TEST_F(TlbTest, ViewsAreSeparate) {
  insert(kUser, 0x5000, 0x1000);
  EXPECT_TRUE(knows(kUser, 0x5000));
  EXPECT_FALSE(knows(kSupervisor, 0x5000));
  EXPECT_FALSE(knows(MmuIndex::kSupervisorAc, 0x5000));
}

TEST_F(TlbTest, OnePlaceHoldsOnePage) {
  insert(kUser, 0x5000, 0x1000);
  insert(kUser, 0x5000 + Tlb::kEntries * kPage, 0x2000);
  EXPECT_FALSE(knows(kUser, 0x5000));
  EXPECT_TRUE(knows(kUser, 0x5000 + Tlb::kEntries * kPage));
}

TEST_F(TlbTest, InsertLeavesNoOldTags) {
  insert(kUser, 0x5000, 0x1000);
  tlb().insert(kUser, {.linear = 0x5000, .gpa = 0x3000, .rights = {}});
  EXPECT_NE(tlb().entry(kUser, 0x5000).write_tag, 0x5000U);
  EXPECT_EQ(tlb().info(kUser, 0x5000).gpa, 0x3000U);
}

TEST_F(TlbTest, FlushAllTakesEverything) {
  insert(kUser, 0x5000, 0x1000);
  insert(kSupervisor, 0x6000, 0x1000, true);
  const std::uint32_t generation = tlb().generation();
  tlb().flush_all();
  EXPECT_FALSE(knows(kUser, 0x5000));
  EXPECT_FALSE(knows(kSupervisor, 0x6000));
  EXPECT_NE(tlb().generation(), generation);
}

TEST_F(TlbTest, FlushNonGlobalLeavesGlobals) {
  insert(kUser, 0x5000, 0x1000);
  insert(kSupervisor, 0x6000, 0x1000, true);
  tlb().flush_non_global();
  EXPECT_FALSE(knows(kUser, 0x5000));
  EXPECT_TRUE(knows(kSupervisor, 0x6000));
  tlb().flush_all();
  EXPECT_FALSE(knows(kSupervisor, 0x6000));
}

TEST_F(TlbTest, PlacesThatChangeBetweenGlobalAndNot) {
  insert(kUser, 0x5000, 0x1000);
  insert(kUser, 0x5000, 0x1000, true);
  insert(kUser, 0x6000, 0x1000, true);
  insert(kUser, 0x6000, 0x1000);
  tlb().flush_non_global();
  EXPECT_TRUE(knows(kUser, 0x5000));
  EXPECT_FALSE(knows(kUser, 0x6000));
  insert(kUser, 0x5000, 0x1000);
  tlb().flush_non_global();
  EXPECT_FALSE(knows(kUser, 0x5000));
}

TEST_F(TlbTest, FlushPageTakesOnePageFromAllViews) {
  insert(kUser, 0x5000, 0x1000, true);
  insert(kSupervisor, 0x5000, 0x1000);
  insert(kUser, 0x6000, 0x2000);
  const std::uint64_t alias = 0x5000 + Tlb::kEntries * kPage;
  insert(MmuIndex::kSupervisorAc, alias, 0x2000);
  tlb().flush_page(0, 0x5fff);
  EXPECT_FALSE(knows(kUser, 0x5000));
  EXPECT_FALSE(knows(kSupervisor, 0x5000));
  EXPECT_TRUE(knows(kUser, 0x6000));
  EXPECT_TRUE(knows(MmuIndex::kSupervisorAc, alias));  // the same place, another page
}

TEST_F(TlbTest, FlushPageTakesTheWholeLargePage) {
  constexpr std::uint64_t kLarge = 0x4000'0000;
  insert(kUser, kLarge, 0x20'0000, false, 21);
  insert(kSupervisor, kLarge + 0x1f'f000, 0x3f'f000, true, 21);
  insert(kUser, kLarge + 0x20'0000, 0x40'0000, false, 21);  // the next one, another place than kLarge + 0x1000
  insert(kUser, kLarge - kPage, 0x1000);
  insert(kUser, 0x1000, 0x1000);
  tlb().flush_page(0, kLarge + 0x5'0000);  // itself not entered
  EXPECT_FALSE(knows(kSupervisor, kLarge + 0x1f'f000));
  EXPECT_FALSE(knows(kUser, kLarge));
  EXPECT_TRUE(knows(kUser, kLarge + 0x20'0000));
  EXPECT_TRUE(knows(kUser, kLarge - kPage));
  EXPECT_TRUE(knows(kUser, 0x1000));
}

TEST_F(TlbTest, DropWritesLeavesTheRest) {
  insert(kUser, 0x5000, 0x1000);
  insert(kSupervisor, 0x7000, 0x1000, true);  // another name of the same page
  insert(kUser, 0x6000, 0x2000);
  const std::uint32_t generation = tlb().generation();
  tlb().drop_writes(0x1000);
  EXPECT_FALSE(may_write(kUser, 0x5000));
  EXPECT_FALSE(may_write(kSupervisor, 0x7000));
  EXPECT_TRUE(may_write(kUser, 0x6000));
  EXPECT_TRUE(knows(kUser, 0x5000));
  EXPECT_EQ(tlb().generation(), generation);
  tlb().drop_all_writes();
  EXPECT_FALSE(may_write(kUser, 0x6000));
  EXPECT_TRUE(knows(kUser, 0x6000));
}

TEST_F(TlbTest, RandomOperationsForgetNothingTheyShouldNot) {
  std::mt19937 random(1);
  struct Known {
    bool global;
    std::uint64_t linear;
    bool operator<(const Known& other) const { return linear < other.linear; }
  };
  // A model with one entry per place of the user view.
  std::array<std::optional<Known>, Tlb::kEntries> model;
  const auto check = [&] {
    for (unsigned place = 0; place < Tlb::kEntries; ++place)
      for (std::uint64_t round = 0; round < 3; ++round) {
        const std::uint64_t linear = (round * Tlb::kEntries + place) * kPage;
        ASSERT_EQ(knows(kUser, linear), model[place] && model[place]->linear == linear);
      }
  };
  for (unsigned step = 0; step < 20000; ++step) {
    const std::uint64_t page = random() % (3 * Tlb::kEntries);
    auto& place = model[page % Tlb::kEntries];
    switch (random() % 64) {
      case 0:
        tlb().flush_non_global();
        for (auto& known : model)
          if (known && !known->global) known.reset();
        break;
      case 1:
        if (random() % 8 != 0) break;
        tlb().flush_all();
        model.fill(std::nullopt);
        break;
      case 2:
      case 3:
        tlb().flush_page(0, page * kPage);
        if (place && place->linear == page * kPage) place.reset();
        break;
      default: place = Known{random() % 2 == 0, page * kPage}; insert(kUser, page * kPage, 0, place->global);
    }
    if (step % 500 == 0) check();
  }
  check();
}

TEST_F(TlbTest, ForgetsPagesWhoseProtectionKeyMeansSomethingElse) {
  insert_keyed(5 * kPage, 0);
  insert_keyed(6 * kPage, 3);
  tlb().flush_keys(1U << 2U);
  EXPECT_TRUE(knows(kUser, 6 * kPage));
  tlb().flush_keys(1U << 2U | 1U << 3U);
  EXPECT_FALSE(knows(kUser, 6 * kPage));
  insert_keyed(5 * kPage, 0);
  tlb().flush_keys(1U << 3U);
  EXPECT_TRUE(knows(kUser, 5 * kPage));
}

// --- Sites ---

TEST_F(TlbTest, EveryChangeEmptiesTheSites) {
  TlbSites& sites = tlb().sites();
  const std::uint32_t number = sites.take(TlbSites::Result::kAddend).value();
  const TlbSite empty = sites.site(number);
  EXPECT_GE(empty.tag, std::uint64_t{1} << 63U);
  const auto fill = [&] {
    // As generated code does it.
    const_cast<TlbSite&>(sites.site(number)) = {.tag = 0x1000, .result = 7};
    const_cast<std::uint32_t&>(sites.filled()) = number;
    const_cast<std::uint32_t&>(sites.filled_count()) = 1;
    sites.miss(number).listed = true;
  };
  for (const auto change : std::to_array<void (*)(Tlb&)>(
           {[](Tlb& tlb) { tlb.flush_all(); }, [](Tlb& tlb) { tlb.flush_non_global(); },
            [](Tlb& tlb) { tlb.flush_page(0, 0x5000); }, [](Tlb& tlb) { tlb.drop_writes(0x5000); },
            [](Tlb& tlb) { tlb.drop_all_writes(); }})) {
    fill();
    change(tlb());
    EXPECT_EQ(sites.site(number).tag, empty.tag);
    EXPECT_EQ(sites.site(number).result, empty.result);
    EXPECT_FALSE(sites.miss(number).listed);
    EXPECT_EQ(sites.filled_count(), 0U);
  }
}

TEST_F(TlbTest, SitesAreHandedOutOnce) {
  TlbSites& sites = tlb().sites();
  std::vector<bool> taken(TlbSites::kSites);
  while (!sites.are_taken()) {
    const std::uint32_t number = sites.take(TlbSites::Result::kHost).value();
    EXPECT_FALSE(taken.at(number));
    taken.at(number) = true;
  }
  EXPECT_FALSE(sites.take(TlbSites::Result::kHost));
  sites.give_back(5);
  EXPECT_EQ(sites.take(TlbSites::Result::kAddend), 5U);
}

}  // namespace
}  // namespace doppel::accel::soft
