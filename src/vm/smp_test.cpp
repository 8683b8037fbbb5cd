#include "vm/smp.h"

#include <gtest/gtest.h>

namespace doppel::vm {
namespace {

TEST(ResolveSmp, NothingGivenIsOneCpu) {
  const auto smp = resolve_smp({}, 255);
  ASSERT_TRUE(smp);
  EXPECT_EQ(smp->cpus, 1U);
  EXPECT_EQ(smp->maxcpus, 1U);
}

TEST(ResolveSmp, PlainCountBecomesCoresOfOneSocket) {
  const auto smp = resolve_smp({.cpus = 4}, 255);
  ASSERT_TRUE(smp);
  EXPECT_EQ(smp->sockets, 1U);
  EXPECT_EQ(smp->cores, 4U);
  EXPECT_EQ(smp->threads, 1U);
}

TEST(ResolveSmp, CoresGivenLeavesTheRestToSockets) {
  const auto smp = resolve_smp({.cpus = 8, .cores = 2}, 255);
  ASSERT_TRUE(smp);
  EXPECT_EQ(smp->sockets, 4U);
}

TEST(ResolveSmp, TopologyAloneGivesTheCount) {
  const auto smp = resolve_smp({.sockets = 2, .cores = 3, .threads = 2}, 255);
  ASSERT_TRUE(smp);
  EXPECT_EQ(smp->cpus, 12U);
}

TEST(ResolveSmp, MaxcpusLeavesRoomForHotplug) {
  const auto smp = resolve_smp({.cpus = 2, .maxcpus = 4, .sockets = 1, .dies = 1, .cores = 4, .threads = 1}, 255);
  ASSERT_TRUE(smp);
  EXPECT_EQ(smp->cpus, 2U);
  EXPECT_EQ(smp->maxcpus, 4U);
}

TEST(ResolveSmp, InconsistentProductSaysSo) {
  const auto smp = resolve_smp({.cpus = 4, .cores = 3}, 255);
  ASSERT_FALSE(smp);
  EXPECT_EQ(smp.error().message(),
            "-smp: sockets (1) * dies (1) * cores (3) * threads (1) make 3 CPUs, but maxcpus is 4");
}

TEST(ResolveSmp, MoreThanMaxcpusOrTheLimitFails) {
  EXPECT_FALSE(resolve_smp({.cpus = 5, .maxcpus = 4}, 255));
  EXPECT_FALSE(resolve_smp({.cpus = 256}, 255));
}

TEST(ResolveSmp, HugeFactorsDoNotOverflow) {
  EXPECT_FALSE(resolve_smp({.sockets = 1U << 31U, .cores = 1U << 31U, .threads = 4}, 255));
}

}  // namespace
}  // namespace doppel::vm
