#include "memory/dirty_bitmap.h"

#include <gtest/gtest.h>

#include <random>
#include <thread>

#include "memory/address.h"

namespace doppel::memory {
namespace {

constexpr auto kDisplay = DirtyClient::kDisplay;
constexpr auto kMigration = DirtyClient::kMigration;

TEST(DirtyBitmap, LogsNothingUntilAsked) {
  DirtyBitmap bitmap(16 * kPageSize);
  bitmap.mark(0, 16 * kPageSize);
  EXPECT_FALSE(bitmap.any());
  EXPECT_EQ(bitmap.take(kDisplay, 0, 16), std::vector<std::uint64_t>{0});
  bitmap.start(kDisplay);
  EXPECT_TRUE(bitmap.any());
  EXPECT_FALSE(bitmap.test(kDisplay, 0));
}

TEST(DirtyBitmap, MarksEveryPageTouched) {
  DirtyBitmap bitmap(16 * kPageSize);
  bitmap.start(kDisplay);
  bitmap.mark(kPageSize - 1, 2);
  bitmap.mark(5 * kPageSize, 1);
  bitmap.mark(7 * kPageSize, 0);
  EXPECT_EQ(bitmap.take(kDisplay, 0, 16), std::vector<std::uint64_t>{0b100011});
  EXPECT_EQ(bitmap.take(kDisplay, 0, 16), std::vector<std::uint64_t>{0});
}

TEST(DirtyBitmap, ClientsAreIndependent) {
  DirtyBitmap bitmap(4 * kPageSize);
  bitmap.start(kDisplay);
  bitmap.mark(0, 1);
  bitmap.start(kMigration);
  bitmap.mark(kPageSize, 1);
  EXPECT_EQ(bitmap.take(kDisplay, 0, 4), std::vector<std::uint64_t>{0b11});
  EXPECT_EQ(bitmap.take(kMigration, 0, 4), std::vector<std::uint64_t>{0b10});
  bitmap.stop(kMigration);
  EXPECT_FALSE(bitmap.logging(kMigration));
  bitmap.mark(0, 1);
  EXPECT_TRUE(bitmap.test(kDisplay, 0));
  EXPECT_FALSE(bitmap.test(kMigration, 0));
}

TEST(DirtyBitmap, StartsCleanAgain) {
  DirtyBitmap bitmap(4 * kPageSize);
  bitmap.start(kDisplay);
  bitmap.mark(0, 1);
  bitmap.start(kDisplay);  // goes on
  EXPECT_TRUE(bitmap.test(kDisplay, 0));
  bitmap.stop(kDisplay);
  bitmap.start(kDisplay);
  EXPECT_FALSE(bitmap.test(kDisplay, 0));
}

TEST(DirtyBitmap, IgnoresWhatIsOutside) {
  DirtyBitmap bitmap(3 * kPageSize + 1);  // four pages
  bitmap.start(kDisplay);
  bitmap.mark(3 * kPageSize, ~std::uint64_t{0});
  bitmap.mark(~std::uint64_t{0}, 1);
  bitmap.mark(100 * kPageSize, 1);
  bitmap.merge(kDisplay, 2, std::vector<std::uint64_t>{~std::uint64_t{0}, ~std::uint64_t{0}});
  EXPECT_EQ(bitmap.take(kDisplay, 0, 1'000'000), std::vector<std::uint64_t>{0b1100});
  EXPECT_FALSE(bitmap.test(kDisplay, 1'000'000));
  EXPECT_TRUE(bitmap.take(kDisplay, 1'000'000, 64).empty());
}

TEST(DirtyBitmap, MergeAndTakeAtAnyPageAgreeWithPlainBits) {
  constexpr unsigned kSeed = 99;
  constexpr std::uint64_t kPages = 517;
  std::mt19937_64 random(kSeed);
  DirtyBitmap bitmap(kPages * kPageSize);
  bitmap.start(kMigration);
  std::vector<bool> model(kPages);
  for (int round = 0; round < 2'000; ++round) {
    const std::uint64_t first = random() % kPages;
    if (round % 2 == 0) {
      std::vector<std::uint64_t> words(random() % 4);
      for (auto& word : words) word = random() & random();
      bitmap.merge(kMigration, first, words);
      for (std::uint64_t i = 0; i < words.size() * 64 && first + i < kPages; ++i)
        if (((words[i / 64] >> (i % 64)) & 1) != 0) model[first + i] = true;
    } else {
      const std::uint64_t pages = random() % (kPages - first + 1);
      const auto words = bitmap.take(kMigration, first, pages);
      ASSERT_EQ(words.size(), (pages + 63) / 64);
      for (std::uint64_t i = 0; i < words.size() * 64; ++i) {
        const bool expected = i < pages && model[first + i];
        ASSERT_EQ(((words[i / 64] >> (i % 64)) & 1) != 0, expected) << "seed " << kSeed << " round " << round;
        if (i < pages) model[first + i] = false;
      }
    }
  }
}

TEST(DirtyBitmap, LosesNoWriteBetweenThreads) {
  constexpr std::uint64_t kPages = 128;
  DirtyBitmap bitmap(kPages * kPageSize);
  bitmap.start(kDisplay);
  std::atomic<std::uint64_t> value{0};
  constexpr std::uint64_t kLast = 20'000;
  std::thread writer([&] {
    for (std::uint64_t i = 1; i <= kLast; ++i) {
      value.store(i, std::memory_order_relaxed);
      bitmap.mark((i % kPages) * kPageSize, 1);
    }
  });
  std::uint64_t seen = 0;
  while (seen != kLast) {
    bool dirty = false;
    for (const std::uint64_t word : bitmap.take(kDisplay, 0, kPages)) dirty = dirty || word != 0;
    if (dirty) seen = value.load(std::memory_order_relaxed);
  }
  writer.join();
}

}  // namespace
}  // namespace doppel::memory
