#include "accel/soft/interpreter/block_table.h"

#include <gtest/gtest.h>

#include <memory>

namespace doppel::accel::soft {
namespace {

Block& add(BlockTable& table, std::uint64_t gpa, CodeMode mode) {
  auto block = std::make_unique<Block>();
  block->first.gpa = gpa;
  block->mode = mode;
  return table.add(std::move(block));
}

TEST(BlockTableTest, FindsByPlaceAndMode) {
  BlockTable table;
  EXPECT_EQ(table.find(0x1000, CodeMode::kLong64), nullptr);
  Block& in_long_mode = add(table, 0x1000, CodeMode::kLong64);
  Block& in_real_mode = add(table, 0x1000, CodeMode::kReal16);
  EXPECT_EQ(table.find(0x1000, CodeMode::kLong64), &in_long_mode);
  EXPECT_EQ(table.find(0x1000, CodeMode::kReal16), &in_real_mode);
  EXPECT_EQ(table.find(0x1000, CodeMode::kProtected32), nullptr);
  EXPECT_EQ(table.find(0x1001, CodeMode::kLong64), nullptr);
}

TEST(BlockTableTest, KeepsWhatIsWanted) {
  constexpr std::uint64_t kBlocks = 500'000;  // several in each chain
  BlockTable table;
  for (std::uint64_t gpa = 0; gpa < kBlocks; ++gpa) add(table, gpa, CodeMode::kLong64);
  EXPECT_EQ(table.size(), kBlocks);
  table.erase_if([](const Block& block) { return block.first.gpa % 3 != 0; });
  EXPECT_EQ(table.size(), (kBlocks + 2) / 3);
  for (std::uint64_t gpa = 0; gpa < kBlocks; ++gpa)
    ASSERT_EQ(table.find(gpa, CodeMode::kLong64) != nullptr, gpa % 3 == 0) << gpa;
  table.clear();
  EXPECT_EQ(table.size(), 0U);
  EXPECT_EQ(table.find(0, CodeMode::kLong64), nullptr);
}

}  // namespace
}  // namespace doppel::accel::soft
