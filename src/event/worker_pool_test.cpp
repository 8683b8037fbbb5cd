#include "event/worker_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <latch>
#include <semaphore>
#include <thread>

#include "event/loop.h"

namespace doppel::event {
namespace {

TEST(WorkerPool, WorksElsewhereAndReportsOnTheLoop) {
  Loop loop;
  WorkerPool pool(loop);
  constexpr int kJobs = 100;
  std::atomic<int> worked{0};
  std::atomic<bool> wrong_thread{false};
  int done = 0;
  for (int i = 0; i < kJobs; ++i)
    pool.submit(
        [&] {
          if (loop.is_loop_thread()) wrong_thread = true;
          ++worked;
        },
        [&] {
          if (!loop.is_loop_thread()) wrong_thread = true;
          if (++done == kJobs) loop.quit();
        });
  loop.run();
  EXPECT_EQ(worked, kJobs);
  EXPECT_FALSE(wrong_thread);
}

TEST(WorkerPool, RunsAsManyAtOnceAsAllowed) {
  Loop loop;
  WorkerPool pool(loop, 3);
  std::latch all_there(3);  // hangs unless three run at once
  int done = 0;
  for (int i = 0; i < 3; ++i)
    pool.submit([&] { all_there.arrive_and_wait(); },
                [&] {
                  if (++done == 3) loop.quit();
                });
  loop.run();
}

TEST(WorkerPool, DestructionWaitsForWorkInProgressAndDropsTheRest) {
  Loop loop;
  std::binary_semaphore started{0};
  std::binary_semaphore go_on{0};
  std::atomic<bool> finished{false};
  bool dropped_ran = false;
  int done = 0;
  auto pool = std::make_unique<WorkerPool>(loop, 1);
  pool->submit(
      [&] {
        started.release();
        go_on.acquire();
        finished = true;
      },
      [&] { ++done; });
  started.acquire();
  auto held = std::make_shared<int>(0);
  const std::weak_ptr<int> watch = held;
  pool->submit([&, held] { dropped_ran = true; }, [&] { done += 100; });
  held.reset();
  std::thread helper([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));  // let the destructor begin
    go_on.release();
  });
  pool.reset();
  EXPECT_TRUE(finished);
  EXPECT_TRUE(watch.expired());
  helper.join();
  loop.run_ready();
  EXPECT_FALSE(dropped_ran);
  EXPECT_EQ(done, 1);
}

TEST(WorkerPool, WithoutWorkThereIsNothingToJoin) {
  Loop loop;
  const WorkerPool pool(loop, 0);
}

}  // namespace
}  // namespace doppel::event
