#include "event/loop.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <thread>
#include <vector>

#include "base/unique_fd.h"
#include "event/event_fd.h"

namespace doppel::event {
namespace {

TEST(Loop, RunsPostedWorkInOrderAndQuits) {
  Loop loop;
  std::vector<int> order;
  for (int i = 0; i < 5; ++i) loop.post([&order, i] { order.push_back(i); });
  loop.post([&] { loop.quit(); });
  loop.post([&] { order.push_back(99); });  // behind the quit
  loop.run();
  EXPECT_EQ(order, (std::vector<int>{0, 1, 2, 3, 4}));
  loop.run_ready();
  EXPECT_EQ(order.back(), 99);
}

TEST(Loop, QuitBeforeRunReturnsAtOnceAndHoldsOnce) {
  Loop loop;
  int ran = 0;
  loop.post([&] { ++ran; });
  loop.quit();
  loop.run_ready();  // does not mind the quit, nor use it up
  EXPECT_EQ(ran, 1);
  loop.run();
  loop.post([&] { loop.quit(); });
  loop.run();
}

TEST(Loop, WorkPostedByWorkRunsInTheSameRunReady) {
  Loop loop;
  int depth = 0;
  std::function<void()> again = [&] {
    if (++depth < 10) loop.post(again);
  };
  loop.post(again);
  loop.run_ready();
  EXPECT_EQ(depth, 10);
}

TEST(Loop, KnowsItsThread) {
  Loop loop;
  EXPECT_FALSE(loop.is_loop_thread());
  bool inside = false;
  bool other = true;
  loop.post([&] {
    inside = loop.is_loop_thread();
    std::thread([&] { other = loop.is_loop_thread(); }).join();
  });
  loop.run_ready();
  EXPECT_TRUE(inside);
  EXPECT_FALSE(other);
  EXPECT_FALSE(loop.is_loop_thread());
}

TEST(Loop, TakesPostsFromManyThreads) {
  constexpr int kThreads = 4;
  constexpr int kPosts = 2000;
  Loop loop;
  std::vector<int> last(kThreads, -1);
  int total = 0;
  bool ordered = true;
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < kThreads; ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < kPosts; ++i)
        loop.post([&, t, i] {
          ordered = ordered && last[t] == i - 1;
          last[t] = i;
          if (++total == kThreads * kPosts) loop.quit();
        });
    });
  loop.run();
  for (auto& thread : threads) thread.join();
  EXPECT_TRUE(ordered);
  EXPECT_EQ(total, kThreads * kPosts);
}

TEST(Loop, DropsUnrunWorkThatOwnsWatchesAndTimers) {
  Loop loop;
  const auto event = EventFd::create();
  std::shared_ptr<FdWatch> watch = loop.watch_fd(event->fd(), FdReady::kReadable, [] {});
  std::shared_ptr<Timer> timer = loop.realtime_clock().create_timer([] {});
  timer->arm(loop.realtime_clock().now_ns() + kNsPerSecond);
  loop.post([watch, timer] {});
}

struct SocketPair {
  SocketPair() {
    int fds[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    ours.reset(fds[0]);
    theirs.reset(fds[1]);
  }
  UniqueFd ours, theirs;
};

TEST(FdWatch, IsLevelTriggered) {
  Loop loop;
  SocketPair pair;
  int calls = 0;
  const auto watch = loop.watch_fd(pair.ours.get(), FdReady::kReadable, [&] { ++calls; });
  loop.run_ready();
  EXPECT_EQ(calls, 0);
  ASSERT_EQ(::write(pair.theirs.get(), "ab", 2), 2);
  loop.run_ready();
  loop.run_ready();
  EXPECT_EQ(calls, 2);  // nobody has read yet
  char data[2];
  ASSERT_EQ(::read(pair.ours.get(), data, 2), 2);
  loop.run_ready();
  EXPECT_EQ(calls, 2);
  pair.theirs.reset();
  loop.run_ready();
  EXPECT_EQ(calls, 3);  // end of file is readable
}

TEST(FdWatch, ReadingAndWritingOfOneDescriptorAreSeparate) {
  Loop loop;
  SocketPair pair;
  int reads = 0;
  int writes = 0;
  auto reader = loop.watch_fd(pair.ours.get(), FdReady::kReadable, [&] { ++reads; });
  auto writer = loop.watch_fd(pair.ours.get(), FdReady::kWritable, [&] { ++writes; });
  loop.run_ready();
  EXPECT_EQ(reads, 0);
  EXPECT_EQ(writes, 1);
  writer.reset();
  ASSERT_EQ(::write(pair.theirs.get(), "a", 1), 1);
  loop.run_ready();
  EXPECT_EQ(reads, 1);
  EXPECT_EQ(writes, 1);
  reader.reset();
  writer = loop.watch_fd(pair.ours.get(), FdReady::kWritable, [&] { ++writes; });
  loop.run_ready();
  EXPECT_EQ(reads, 1);
  EXPECT_EQ(writes, 2);
}

TEST(FdWatch, MayBeDestroyedByItsOwnCallback) {
  Loop loop;
  SocketPair pair;
  std::unique_ptr<FdWatch> watch;
  int calls = 0;
  watch = loop.watch_fd(pair.ours.get(), FdReady::kWritable, [&, guard = std::make_shared<int>(7)] {
    watch.reset();
    calls += *guard;
  });
  loop.run_ready();
  loop.run_ready();
  EXPECT_EQ(calls, 7);
}

TEST(FdWatch, LeavesTheDescriptorBlockingAndOpen) {
  Loop loop;
  SocketPair pair;
  auto watch = loop.watch_fd(pair.ours.get(), FdReady::kReadable, [] {});
  EXPECT_EQ(::fcntl(pair.ours.get(), F_GETFL) & O_NONBLOCK, 0);
  loop.run_ready();
  watch.reset();
  EXPECT_GE(::fcntl(pair.ours.get(), F_GETFD), 0);
}

TEST(FdWatch, NumberMayBeUsedAgainForAnotherFile) {
  Loop loop;
  auto first = std::make_unique<SocketPair>();
  const int number = first->ours.get();
  auto watch = loop.watch_fd(number, FdReady::kReadable, [] { FAIL(); });
  watch.reset();
  first.reset();
  SocketPair second;
  ASSERT_EQ(second.ours.get(), number);
  int calls = 0;
  watch = loop.watch_fd(number, FdReady::kReadable, [&] { ++calls; });
  ASSERT_EQ(::write(second.theirs.get(), "a", 1), 1);
  loop.run_ready();
  EXPECT_EQ(calls, 1);
}

TEST(FdWatch, FileThatCannotBePolledIsAlwaysReady) {
  Loop loop;
  const UniqueFd null(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  int calls = 0;
  const auto watch = loop.watch_fd(null.get(), FdReady::kReadable, [&] {
    if (++calls == 3) loop.quit();
  });
  loop.run();
  EXPECT_EQ(calls, 3);
}

TEST(SignalWatch, ReportsEachSignalUntilDestroyed) {
  Loop loop;
  int calls = 0;
  auto watch = loop.watch_signal(SIGUSR2, [&] {
    ++calls;
    loop.quit();
  });
  for (int i = 0; i < 2; ++i) {
    ASSERT_EQ(::raise(SIGUSR2), 0);
    loop.run();
  }
  EXPECT_EQ(calls, 2);
  watch = loop.watch_signal(SIGUSR2, [&] { watch.reset(); });
  ASSERT_EQ(::raise(SIGUSR2), 0);
  loop.run_ready();
  EXPECT_EQ(watch, nullptr);
}

TEST(SignalWatch, TwoWatchersOfOneSignalBothHear) {
  Loop loop;
  int a = 0;
  int b = 0;
  const auto first = loop.watch_signal(SIGUSR2, [&] { ++a; });
  const auto second = loop.watch_signal(SIGUSR2, [&] { ++b; });
  ASSERT_EQ(::raise(SIGUSR2), 0);
  loop.run_ready();
  EXPECT_EQ(a, 1);
  EXPECT_EQ(b, 1);
}

}  // namespace
}  // namespace doppel::event
