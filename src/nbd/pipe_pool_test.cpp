#include "nbd/pipe_pool.h"

#include <gtest/gtest.h>

namespace doppel::nbd {
namespace {

TEST(PipePool, UsesEmptyPipesAgain) {
  PipePool pool;
  int end = -1;
  {
    auto pipe = pool.get();
    ASSERT_TRUE(pipe);
    end = pipe->in();
    ASSERT_EQ(::write(end, "abc", 3), 3);
    pipe->set_bytes(3);
    char byte = 0;
    ASSERT_EQ(::read(pipe->out(), &byte, 1), 1);
    pipe->taken(1);
    EXPECT_EQ(pipe->bytes(), 2U);
    ASSERT_EQ(::read(pipe->out(), &byte, 1), 1);
    ASSERT_EQ(::read(pipe->out(), &byte, 1), 1);
    pipe->taken(2);
  }
  EXPECT_EQ(pool.get()->in(), end);
}

TEST(PipePool, OthersAreClosed) {
  PipePool pool;
  int left_over = -1;
  {
    auto pipe = pool.get();
    ASSERT_TRUE(pipe);
    left_over = pipe->out();
    ASSERT_EQ(::write(pipe->in(), "abc", 3), 3);
    pipe->set_bytes(3);
  }
  EXPECT_LT(::fcntl(left_over, F_GETFD), 0);
  {
    auto nobody_knows = pool.get();
    ASSERT_TRUE(nobody_knows);
    left_over = nobody_knows->out();
  }
  EXPECT_LT(::fcntl(left_over, F_GETFD), 0);
}

TEST(PipePool, LendsSoManyAndNoMore) {
  PipePool pool;
  std::vector<PipePool::Pipe> pipes;
  while (auto pipe = pool.get()) {
    ASSERT_LT(pipes.size(), 100U);
    pipes.push_back(std::move(*pipe));
  }
  EXPECT_GE(pipes.size(), 1U);
  pipes.pop_back();
  EXPECT_TRUE(pool.get());
}

}  // namespace
}  // namespace doppel::nbd
