#include "tools/img/copy.h"

#include <gtest/gtest.h>

#include "block/memory_node.h"
#include "block/test_support.h"

namespace doppel::img {
namespace {

using block::Bytes;
using block::filled;

TEST(RunLength, SplitsAtZeroesOfTheGrain) {
  Bytes bytes = filled(20, 0);
  bytes[8] = std::byte{1};
  bytes[15] = std::byte{1};
  bool zero = false;
  EXPECT_EQ(run_length(bytes, 4, zero), 8U);
  EXPECT_TRUE(zero);
  EXPECT_EQ(run_length(std::span(bytes).subspan(8), 4, zero), 8U);
  EXPECT_FALSE(zero);
  EXPECT_EQ(run_length(bytes, 0, zero), 20U);
  EXPECT_FALSE(zero);
}

TEST(CopyDisk, CopiesInAnyOrderWithAnyNumberOfWorkers) {
  Bytes contents = filled(1 << 20, 0);
  for (std::size_t i = 0; i < contents.size(); i += 5000) contents[i] = static_cast<std::byte>(i / 5000 + 1);
  for (const bool in_order : {true, false})
    for (const unsigned workers : {1U, 3U, 16U}) {
      block::BlockRig rig;
      block::MemoryNode source(contents);
      block::MemoryNode target(filled(contents.size() + 512, 0xee));
      const CopyOptions options{.workers = workers, .in_order = in_order, .piece = 4096};
      ASSERT_TRUE(rig.run(copy_disk(source, target, 512, options)));
      EXPECT_TRUE(std::ranges::equal(contents, std::span(target.contents()).subspan(512)));
    }
}

}  // namespace
}  // namespace doppel::img
