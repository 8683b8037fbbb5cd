#include "block/task.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace doppel::block {
namespace {

Task<int> answer() {
  co_return 42;
}

Task<Result<int>> half(int number) {
  if (number % 2 != 0) co_return fail(ErrorKind::kInvalidArgument, "{} is odd", number);
  co_return number / 2;
}

Task<Result<int>> quarter(int number) {
  DOPPEL_CO_ASSIGN(const int once, co_await half(number));
  DOPPEL_CO_ASSIGN(const int twice, co_await half(once));
  co_return twice;
}

TEST(Task, DoesNothingUntilAwaited) {
  bool ran = false;
  const auto make = [](bool& flag) -> Task<int> {
    flag = true;
    co_return 1;
  };
  auto task = make(ran);
  EXPECT_FALSE(ran);
  int result = 0;
  spawn(std::move(task), [&](int value) { result = value; });
  EXPECT_TRUE(ran);
  EXPECT_EQ(result, 1);
}

TEST(Task, HandsErrorsUp) {
  event::Loop loop;
  EXPECT_EQ(run_to_end(loop, quarter(12)).value(), 3);
  const auto odd = run_to_end(loop, quarter(6));
  ASSERT_FALSE(odd);
  EXPECT_EQ(odd.error().message(), "3 is odd");
}

Task<int> sum_of_answers(int count) {
  int sum = 0;
  for (int i = 0; i < count; ++i) sum += co_await answer();
  co_return sum;
}

TEST(Task, AMillionThatNeverWaitNeedNoStack) {
  event::Loop loop;
  EXPECT_EQ(run_to_end(loop, sum_of_answers(1'000'000)), 42'000'000);
}

TEST(Task, FreesItsFrameWhetherStartedOrNot) {
  const auto held = std::make_shared<int>(0);
  const auto keep = [](std::shared_ptr<int> kept) -> Task<long> { co_return kept.use_count(); };
  {
    const auto never = keep(held);
  }
  EXPECT_EQ(held.use_count(), 1);
  event::Loop loop;
  EXPECT_GT(run_to_end(loop, keep(held)), 1);
  EXPECT_EQ(held.use_count(), 1);
}

TEST(Completion, WaitsForACallbackThatComesBeforeOrAfter) {
  event::Loop loop;
  Completion<std::string> early;
  early.complete("early");
  Completion<std::string> late;
  loop.post([&] { late.complete("late"); });
  const auto both = [](Completion<std::string>& first, Completion<std::string>& second) -> Task<std::string> {
    std::string text = co_await first;
    text += co_await second;
    co_return text;
  };
  EXPECT_EQ(run_to_end(loop, both(early, late)), "earlylate");
}

TEST(LoopTurn, LetsOthersGoFirst) {
  event::Loop loop;
  std::vector<int> order;
  loop.post([&] { order.push_back(1); });
  const auto behind = [](event::Loop& turns, std::vector<int>& list) -> Task<int> {
    co_await LoopTurn(turns);
    list.push_back(2);
    co_return 0;
  };
  run_to_end(loop, behind(loop, order));
  EXPECT_EQ(order, (std::vector<int>{1, 2}));
}

TEST(InWorker, RunsElsewhereAndComesBack) {
  event::Loop loop;
  event::WorkerPool pool(loop);
  std::function<std::thread::id()> where = [] { return std::this_thread::get_id(); };
  EXPECT_NE(run_to_end(loop, in_worker(pool, where)), std::this_thread::get_id());
}

/// Takes the mutex, notes its name, waits a turn of the loop, notes its name again.
Task<int> visit(event::Loop& loop, Mutex& mutex, Mutex::Mode mode, std::string& log, char name) {
  const auto guard = co_await (mode == Mutex::Mode::kShared ? mutex.lock_shared() : mutex.lock());
  log += name;
  co_await LoopTurn(loop);
  log += name;
  co_return 0;
}

TEST(Mutex, OneOwnerAtATimeInOrderOfArrival) {
  event::Loop loop;
  Mutex mutex;
  std::string log;
  for (const char name : {'a', 'b', 'c'}) spawn(visit(loop, mutex, Mutex::Mode::kExclusive, log, name), [](int) {});
  loop.run_ready();
  EXPECT_EQ(log, "aabbcc");
}

TEST(Mutex, SharersOverlapButDoNotOvertakeAnOwner) {
  event::Loop loop;
  Mutex mutex;
  std::string log;
  using enum Mutex::Mode;
  for (const auto& [name, mode] : {std::pair{'a', kShared}, {'b', kShared}, {'C', kExclusive}, {'d', kShared}})
    spawn(visit(loop, mutex, mode, log, name), [](int) {});
  loop.run_ready();
  EXPECT_EQ(log, "ababCCdd");
}

Task<int> take_and_release(Mutex& mutex, int& count) {
  const auto guard = co_await mutex.lock();
  ++count;
  co_return 0;
}

TEST(Mutex, HandingOverToManyNeedsNoStack) {
  Mutex mutex;
  int count = 0;
  const auto hold = [](Mutex& held, Completion<bool>& until) -> Task<int> {
    const auto guard = co_await held.lock();
    co_await until;
    co_return 0;
  };
  Completion<bool> release;
  spawn(hold(mutex, release), [](int) {});
  for (int i = 0; i < 100'000; ++i) spawn(take_and_release(mutex, count), [](int) {});
  EXPECT_EQ(count, 0);
  release.complete(true);
  EXPECT_EQ(count, 100'000);
}

}  // namespace
}  // namespace doppel::block
