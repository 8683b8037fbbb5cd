#include "nbd/buffer_pool.h"

#include <gtest/gtest.h>

#include "nbd/budget.h"

namespace doppel::nbd {
namespace {

TEST(BufferPool, GivesTheSameMemoryAgain) {
  BufferPool pool(1 << 20);
  const std::byte* first = nullptr;
  {
    const auto buffer = pool.get(5000);
    ASSERT_TRUE(buffer.valid());
    EXPECT_EQ(buffer.bytes().size(), 5000U);
    first = buffer.bytes().data();
  }
  EXPECT_EQ(pool.get(6000).bytes().data(), first);
}

TEST(BufferPool, SmallRequestsDoNotTakeLargeBuffers) {
  BufferPool pool(1 << 20);
  const std::byte* large = nullptr;
  {
    const auto buffer = pool.get(1 << 19);
    large = buffer.bytes().data();
  }
  const auto small = pool.get(512);
  EXPECT_NE(small.bytes().data(), large);
}

TEST(Budget, ALargeRequestGoesAlone) {
  Budget budget(1000, 3);
  auto small = budget.take(600);
  ASSERT_TRUE(small.await_ready());
  auto charge = std::make_unique<Budget::Charge>(small.await_resume());
  EXPECT_FALSE(budget.take(401).await_ready());
  EXPECT_TRUE(budget.take(400).await_ready());
  EXPECT_FALSE(budget.all_returned().await_ready());
  charge = nullptr;
  EXPECT_TRUE(budget.take(5000).await_ready());
  EXPECT_TRUE(budget.all_returned().await_ready());
}

}  // namespace
}  // namespace doppel::nbd
