#include "vm/guest_memory.h"

#include <gtest/gtest.h>

#include "base/bits.h"

namespace doppel::vm {
namespace {

class GuestMemoryTest : public testing::Test {
 protected:
  Result<GuestMemory> create(unsigned cpus = 4, std::string_view backend = "") {
    return create_guest_memory(config_, backend, cpus, topology_);
  }
  std::string error(unsigned cpus = 4, std::string_view backend = "") {
    const auto memory = create(cpus, backend);
    return memory ? "" : memory.error().describe();
  }

  VmConfig config_;
  memory::Topology topology_;
};

TEST_F(GuestMemoryTest, OneBlockWithoutNuma) {
  const auto memory = create();
  ASSERT_TRUE(memory);
  EXPECT_EQ(memory->blocks.size(), 1U);
  EXPECT_EQ(memory->ram->size(), 128 * kMiB);
  EXPECT_TRUE(memory->nodes.empty());
}

TEST_F(GuestMemoryTest, NodesShareTheMemoryAndTheCpus) {
  config_.numa.nodes = {{.id = 0, .cpus = {0}, .memdev = "", .size = 0},
                        {.id = 1, .cpus = {2, 3}, .memdev = "", .size = 0}};
  const auto memory = create();
  ASSERT_TRUE(memory);
  ASSERT_EQ(memory->nodes.size(), 2U);
  EXPECT_EQ(memory->nodes[1].ram_start, 64 * kMiB);
  EXPECT_EQ(memory->nodes[0].cpus, (std::vector<unsigned>{0, 1}));  // 1 was named by nobody
}

TEST_F(GuestMemoryTest, NodeSizesMustAddUp) {
  config_.numa.nodes = {{.id = 0, .cpus = {}, .memdev = "", .size = 64 * kMiB},
                        {.id = 1, .cpus = {}, .memdev = "", .size = 32 * kMiB}};
  EXPECT_EQ(error(), "-numa: the nodes have 96 MiB of memory together, but -m says 128 MiB");
}

TEST_F(GuestMemoryTest, OverlappingCpusAreNamed) {
  config_.numa.nodes = {{.id = 0, .cpus = {0, 1}, .memdev = "", .size = 0},
                        {.id = 1, .cpus = {1}, .memdev = "", .size = 0}};
  EXPECT_EQ(error(), "-numa: CPU 1 is in two nodes, one of them 1");
  EXPECT_NE(error(1), "");
}

TEST_F(GuestMemoryTest, NodeNumbersHaveNoGapsAndNoTwins) {
  config_.numa.nodes = {{.id = 0, .cpus = {}, .memdev = "", .size = 0}, {.id = 2, .cpus = {}, .memdev = "", .size = 0}};
  EXPECT_EQ(error(), "-numa: nodes are numbered from 0 without gaps; node 1 is missing");
  config_.numa.nodes[1].id = 0;
  EXPECT_EQ(error(), "-numa: node 0 is given twice");
}

TEST_F(GuestMemoryTest, DistancesAreMirroredWhereNotGiven) {
  config_.numa.nodes = {{.id = 0, .cpus = {}, .memdev = "", .size = 0}, {.id = 1, .cpus = {}, .memdev = "", .size = 0}};
  config_.numa.distances = {{.source = 0, .destination = 1, .value = 30}};
  const auto memory = create();
  ASSERT_TRUE(memory);
  EXPECT_EQ(memory->distances, (std::vector<std::uint8_t>{10, 30, 30, 10}));
  config_.numa.distances = {{.source = 0, .destination = 0, .value = 30}};
  EXPECT_NE(error(), "");
}

TEST_F(GuestMemoryTest, BackendsAreFoundByIdAndMustFit) {
  EXPECT_NE(error(4, "nope").find("there is no memory backend 'nope'"), std::string::npos);
  config_.memory_backends.push_back({.id = "m0", .options = {}});
  config_.memory_backends[0].options.size = 64 * kMiB;
  EXPECT_EQ(error(4, "m0"), "memory backend 'm0' has 64 MiB, but -m says 128 MiB");
  config_.memory.size = 64 * kMiB;
  EXPECT_EQ(error(4, "m0"), "");
}

TEST_F(GuestMemoryTest, UselessSizesAreRefused) {
  config_.memory.size = 0;
  EXPECT_EQ(error(), "-m: a machine needs memory; write a size such as '-m 512M'");
  config_.memory.size = 2 * kMiB + 1;
  EXPECT_NE(error(), "");
  config_.memory = {.size = 64 * kMiB, .slots = 0, .maxmem = 32 * kMiB, .path = "", .prealloc = false};
  EXPECT_EQ(error(), "-m: maxmem=32 MiB is less than the memory of 64 MiB");
}

}  // namespace
}  // namespace doppel::vm
