#include "accel/soft/runtime/rendezvous.h"

#include <gtest/gtest.h>

#include <array>
#include <memory>
#include <stdexcept>
#include <thread>
#include <vector>

namespace doppel::accel::soft {
namespace {

/// A thread that is inside and comes to safepoints when it is told to.
class Resident {
 public:
  explicit Resident(Rendezvous& rendezvous) : rendezvous_(rendezvous) {
    rendezvous_.add(attention_);
    thread_ = std::thread([this] { live(); });
  }
  ~Resident() {
    done_ = true;
    thread_.join();
    rendezvous_.remove(attention_);
  }
  Resident(const Resident&) = delete;
  Resident& operator=(const Resident&) = delete;

  [[nodiscard]] unsigned long rounds() const { return rounds_.load(); }
  [[nodiscard]] bool is_inside() const { return inside_.load(); }

 private:
  void live() {
    rendezvous_.enter();
    inside_ = true;
    while (!done_) {
      ++rounds_;
      if (!attention_.take()) continue;
      inside_ = false;
      rendezvous_.safepoint();
      inside_ = true;
    }
    inside_ = false;
    rendezvous_.leave();
  }

  Rendezvous& rendezvous_;
  Attention attention_;
  std::atomic<bool> done_{false};
  std::atomic<bool> inside_{false};
  std::atomic<unsigned long> rounds_{0};
  std::thread thread_;
};

TEST(Rendezvous, WithNobodyInside) {
  Rendezvous rendezvous;
  bool ran = false;
  rendezvous.exclusive(false, [&] {
    EXPECT_TRUE(rendezvous.stopping());
    ran = true;
  });
  EXPECT_TRUE(ran);
  EXPECT_FALSE(rendezvous.stopping());
}

TEST(Rendezvous, OnlyOneInside) {
  Rendezvous rendezvous;
  Attention attention;
  rendezvous.add(attention);
  rendezvous.enter();
  bool ran = false;
  rendezvous.exclusive(true, [&] { ran = true; });
  EXPECT_TRUE(ran);
  rendezvous.safepoint();  // nobody waits: returns
  rendezvous.leave();
  rendezvous.remove(attention);
}

TEST(Rendezvous, WorkThatThrowsSetsTheWorldFree) {
  Rendezvous rendezvous;
  rendezvous.enter();
  EXPECT_THROW(rendezvous.exclusive(true, [] { throw std::runtime_error("fault"); }), std::runtime_error);
  EXPECT_FALSE(rendezvous.stopping());
  rendezvous.exclusive(true, [] {});
  rendezvous.leave();
  rendezvous.exclusive(false, [] {});
}

TEST(Rendezvous, NobodyIsInsideDuringWork) {
  Rendezvous rendezvous;
  std::vector<std::unique_ptr<Resident>> residents;
  for (unsigned i = 0; i < 3; ++i) residents.push_back(std::make_unique<Resident>(rendezvous));
  for (unsigned i = 0; i < 300; ++i)
    rendezvous.exclusive(false, [&] {
      for (const auto& resident : residents) EXPECT_FALSE(resident->is_inside());
    });
}

TEST(Rendezvous, InitiatorsInsideAndOutsideDoNotBlockEachOther) {
  Rendezvous rendezvous;
  constexpr unsigned kThreads = 4;
  constexpr unsigned kRounds = 300;
  std::uint64_t plain = 0;  // guarded by exclusive use alone: for TSan, and for the sum
  std::vector<std::thread> threads;
  std::array<Attention, kThreads> attention{};
  for (auto& flag : attention) rendezvous.add(flag);
  for (unsigned i = 0; i < kThreads; ++i)
    threads.emplace_back([&, i] {
      const bool inside = i % 2 == 0;
      if (inside) rendezvous.enter();
      for (unsigned round = 0; round < kRounds; ++round) {
        rendezvous.exclusive(inside, [&] { ++plain; });
        if (inside && attention[i].take()) rendezvous.safepoint();
      }
      if (inside) rendezvous.leave();
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(plain, kThreads * kRounds);
}

TEST(Rendezvous, NobodyStarves) {
  Rendezvous rendezvous;
  std::atomic<bool> done{false};
  std::vector<std::thread> stoppers;
  for (unsigned i = 0; i < 2; ++i)
    stoppers.emplace_back([&] {
      while (!done) rendezvous.exclusive(false, [] {});
    });
  {
    const Resident resident(rendezvous);
    while (resident.rounds() < 50) std::this_thread::yield();
  }
  done = true;
  for (std::thread& thread : stoppers) thread.join();
}

TEST(Rendezvous, EveryRegisteredFlagIsSet) {
  Rendezvous rendezvous;
  Attention first;
  Attention second;
  rendezvous.add(first);
  rendezvous.add(second);
  rendezvous.remove(second);
  rendezvous.exclusive(false, [] {});
  EXPECT_TRUE(first.requested());
  EXPECT_FALSE(second.requested());
}

}  // namespace
}  // namespace doppel::accel::soft
