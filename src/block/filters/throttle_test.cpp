// Requests against a clock that only the test moves.
#include "block/filters/throttle_node.h"

#include "block/memory_node.h"
#include "block/test_support.h"
#include "event/fake_clock.h"

namespace doppel::block {
namespace {

using event::kNsPerMillisecond;
using event::kNsPerSecond;

struct ThrottleRig {
  std::shared_ptr<ThrottleGroup> group(std::initializer_list<std::pair<std::string_view, std::uint64_t>> values) {
    ThrottleLimits limits;
    for (const auto& [name, value] : values) EXPECT_TRUE(limits.set(name, value)) << name;
    const auto sound = limits.check();
    EXPECT_TRUE(sound) << sound.error().describe();
    return std::make_shared<ThrottleGroup>(loop, clock, "g", limits);
  }
  static std::unique_ptr<ThrottleNode> node(std::shared_ptr<ThrottleGroup> group) {
    return std::make_unique<ThrottleNode>(std::make_unique<MemoryNode>(Bytes(1 << 20)), std::move(group));
  }
  /// COUNT reads of SIZE bytes at once; each one that is done adds one to DONE.
  void read(Node& node, unsigned count, std::size_t size, unsigned& done) {
    for (unsigned i = 0; i < count; ++i)
      spawn(node.read(0, std::span<std::byte>(buffer).first(size)), [&](Result<> result) {
        EXPECT_TRUE(result);
        ++done;
      });
  }
  /// In steps of a millisecond, each with what follows from it.
  void advance(std::int64_t ns) {
    for (std::int64_t left = ns; left > 0; left -= kNsPerMillisecond) {
      clock.advance(std::min(left, kNsPerMillisecond));
      loop.run_ready();
    }
  }

  event::Loop loop;
  event::FakeClock clock;
  Bytes buffer = filled(1 << 20, 0);
};

TEST(Throttle, BytesPassAtTheAverageRate) {
  ThrottleRig rig;
  const auto node = rig.node(rig.group({{"bps-total", 100'000}}));
  unsigned done = 0;
  rig.read(*node, 100, 10'000, done);
  // A tenth of a second's worth at once, and the request that goes over it.
  EXPECT_EQ(done, 2U);
  rig.advance(kNsPerSecond);
  EXPECT_NEAR(done, 12, 1);
  rig.advance(4 * kNsPerSecond);
  EXPECT_NEAR(done, 52, 1);
  node->hurry();
  EXPECT_EQ(done, 100U);
}

TEST(Throttle, RequestsAreCountedAndLargeOnesSeveralTimes) {
  ThrottleRig rig;
  const auto node = rig.node(rig.group({{"iops-read", 10}, {"iops-size", 4096}}));
  unsigned small = 0;
  rig.read(*node, 100, 512, small);
  rig.advance(2 * kNsPerSecond);
  EXPECT_NEAR(small, 21, 2);
  node->hurry();

  const auto other = rig.node(rig.group({{"iops-read", 10}, {"iops-size", 4096}}));
  unsigned large = 0;
  rig.read(*other, 100, 8192, large);
  rig.advance(2 * kNsPerSecond);
  EXPECT_NEAR(large, 11, 2);
  other->hurry();
}

TEST(Throttle, WritesAreNotHeldUpByALimitOfReads) {
  ThrottleRig rig;
  const auto node = rig.node(rig.group({{"bps-read", 1000}}));
  unsigned reads = 0;
  rig.read(*node, 5, 1000, reads);
  EXPECT_LT(reads, 5U);
  bool written = false;
  spawn(node->write(0, std::span<std::byte>(rig.buffer)), [&](Result<> result) { written = result.has_value(); });
  EXPECT_TRUE(written);
  node->hurry();
}

TEST(Throttle, ABurstIsFasterForItsLength) {
  ThrottleRig rig;
  const auto node = rig.node(rig.group({{"iops-total", 10}, {"iops-total-max", 100}, {"iops-total-max-length", 3}}));
  unsigned done = 0;
  rig.read(*node, 2000, 512, done);
  rig.advance(kNsPerSecond);
  EXPECT_NEAR(done, 110, 5);  // the burst's own tenth of a second first
  rig.advance(9 * kNsPerSecond);
  // A bucket of 300, which 10 a second leave: full after a bit more than 3 s, and then at the average.
  EXPECT_NEAR(done, 400, 10);
  node->hurry();
}

TEST(Throttle, NodesOfAGroupTakeTurns) {
  ThrottleRig rig;
  const auto group = rig.group({{"iops-total", 100}});
  const auto greedy = rig.node(group);
  const auto modest = rig.node(group);
  unsigned many = 0;
  unsigned few = 0;
  rig.read(*greedy, 1000, 512, many);
  rig.read(*modest, 100, 512, few);
  rig.advance(kNsPerSecond);
  EXPECT_NEAR(many + few, 110, 3);
  EXPECT_NEAR(few, 50, 2);
  greedy->hurry();
  modest->hurry();
}

TEST(Throttle, RefusesLimitsThatMakeNoSense) {
  const auto error = [](std::initializer_list<std::pair<std::string_view, std::uint64_t>> values) {
    ThrottleLimits limits;
    for (const auto& [name, value] : values) EXPECT_TRUE(limits.set(name, value));
    const auto checked = limits.check();
    return checked ? "" : checked.error().describe();
  };
  EXPECT_EQ(error({{"bps-total", 1}, {"bps-read", 1}}), "bps-total and bps-read exclude each other");
  EXPECT_EQ(error({{"bps-read-max", 1}}), "bps-read-max needs bps-read");
  EXPECT_EQ(error({{"bps-read", 2}, {"bps-read-max", 1}}), "bps-read-max is less than bps-read");
  EXPECT_EQ(error({{"iops-total", 1}, {"iops-total-max-length", 5}}), "iops-total-max-length needs iops-total-max");
  EXPECT_EQ(error({{"iops-total", 1}, {"iops-total-max-length", 0}}),
            "iops-total-max-length is a number of seconds, at least 1");
  EXPECT_EQ(error({{"iops-size", 1}}), "iops-size needs a limit of requests, such as iops-total");
  EXPECT_EQ(error({{"bps-total", 2'000'000'000'000'000}}), "bps-total goes up to 1000000000000000");
  EXPECT_EQ(error({}), "");
}

}  // namespace
}  // namespace doppel::block
