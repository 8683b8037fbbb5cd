#include "event/loop_thread.h"

#include <gtest/gtest.h>

#include <csignal>
#include <future>

#include "event/event_fd.h"

namespace doppel::event {
namespace {

TEST(LoopThread, RunsItsLoopElsewhere) {
  LoopThread thread("test");
  std::promise<std::thread::id> where;
  thread.loop().post([&where, &thread] {
    EXPECT_TRUE(thread.loop().is_loop_thread());
    where.set_value(std::this_thread::get_id());
  });
  thread.start();
  EXPECT_NE(where.get_future().get(), std::this_thread::get_id());
  thread.stop();
  EXPECT_FALSE(thread.running());
}

TEST(LoopThread, WhatIsLeftWaitsForTheNextStart) {
  LoopThread thread("");
  auto event = EventFd::create().value();
  int turns = 0;
  std::promise<void> again;
  const auto watch = thread.loop().watch_fd(event.fd(), FdReady::kReadable, [&] {
    (void)event.drain();
    if (++turns == 2) again.set_value();
  });
  event.signal();
  thread.loop().run_ready();
  EXPECT_EQ(turns, 1);
  for (int i = 0; i < 20; ++i) {
    thread.start();
    thread.start();  // nothing
    thread.stop();
    thread.stop();
  }
  EXPECT_EQ(turns, 1);
  event.signal();
  thread.start();
  again.get_future().get();
  thread.stop();
  EXPECT_EQ(turns, 2);
}

/// One that ends takes with it what it has asked an io_uring for.
TEST(LoopThread, IsTheSameOneEachTime) {
  LoopThread thread("");
  const auto id_of_next_run = [&thread] {
    std::promise<std::thread::id> id;
    thread.loop().post([&id] { id.set_value(std::this_thread::get_id()); });
    thread.start();
    const auto result = id.get_future().get();
    thread.stop();
    return result;
  };
  const std::thread::id first = id_of_next_run();
  EXPECT_EQ(id_of_next_run(), first);
}

/// A signal to the process never ends up there.
TEST(LoopThread, TakesNoSignals) {
  LoopThread thread("test");
  std::promise<bool> blocked;
  thread.loop().post([&blocked] {
    sigset_t set;
    pthread_sigmask(SIG_SETMASK, nullptr, &set);
    blocked.set_value(sigismember(&set, SIGTERM) == 1);
  });
  thread.start();
  EXPECT_TRUE(blocked.get_future().get());
}

}  // namespace
}  // namespace doppel::event
