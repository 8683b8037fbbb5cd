#include "hw/virtio/virtqueue.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "hw/virtio/split_queue.h"
#include "hw/virtio/virtio_test_rig.h"

namespace doppel::hw {
namespace {

using test::Piece;
using test::Used;
using testing::HasSubstr;

constexpr std::uint64_t kBase = 0x10000;
constexpr std::uint64_t kData = 0x100000;
constexpr std::uint64_t kTable = 0x80000;

struct Rig {
  explicit Rig(const RingFeatures& ring_features, std::uint16_t size = 8) : features(ring_features) {
    driver = test::QueueDriver::create(ram, kBase, size, features);
    queue = Virtqueue::create(size, driver->addresses(), features);
    EXPECT_TRUE(queue->open(ram.dma()));
  }
  Chain pop() {
    auto chain = queue->pop();
    EXPECT_TRUE(chain) << chain.error().describe();
    EXPECT_TRUE(chain && *chain) << "nothing is there";
    return chain && *chain ? **chain : Chain{};
  }
  bool is_empty() {
    const auto chain = queue->pop();
    return chain && !*chain;
  }
  std::string error() {
    const auto chain = queue->pop();
    return chain ? "no error" : chain.error().describe();
  }
  test::SplitDriver& split() { return dynamic_cast<test::SplitDriver&>(*driver); }

  test::PciRig pci;
  test::GuestRam ram{pci};
  RingFeatures features;
  std::unique_ptr<test::QueueDriver> driver;
  std::unique_ptr<Virtqueue> queue;
};

class EveryFormat : public testing::TestWithParam<RingFeatures>, protected Rig {
 protected:
  EveryFormat() : Rig(GetParam()) {}
};

TEST_P(EveryFormat, ChainsGoThereAndBack) {
  EXPECT_TRUE(is_empty());
  const std::uint16_t id = driver->offer({{kData, 16}, {kData + 0x1000, 512, true}, {kData + 0x2000, 1, true}});
  const Chain chain = pop();
  EXPECT_EQ(chain.id, id);
  EXPECT_EQ(chain.readable, (std::vector<Segment>{{kData, 16}}));
  EXPECT_EQ(chain.writable, (std::vector<Segment>{{kData + 0x1000, 512}, {kData + 0x2000, 1}}));
  EXPECT_TRUE(is_empty());
  EXPECT_FALSE(driver->take());
  queue->push(chain, 513);
  EXPECT_TRUE(queue->publish());
  EXPECT_EQ(driver->take(), (Used{id, 513}));
  EXPECT_FALSE(driver->take());
}

TEST_P(EveryFormat, IndirectTablesAreFollowed) {
  std::vector<Piece> pieces;
  for (unsigned i = 0; i < 100; ++i) pieces.push_back({kData + 0x1000 * i, 0x1000, i >= 50});
  driver->offer(pieces, kTable);
  if (!GetParam().indirect) {
    EXPECT_THAT(error(), HasSubstr("indirect table stands where none may"));
    return;
  }
  const Chain chain = pop();
  EXPECT_EQ(chain.slots, 1);
  EXPECT_EQ(chain.readable.size(), 50U);
  EXPECT_EQ(chain.writable.size(), 50U);
  EXPECT_EQ(total_size(chain.writable), 50 * 0x1000U);
}

TEST_P(EveryFormat, GoesRoundManyTimesInAnyOrder) {
  std::mt19937 random(7);
  driver->want_interrupts(true);
  std::vector<Chain> taken;
  std::vector<std::uint16_t> expected;  // the order of giving back
  unsigned free_slots = driver->size();
  unsigned came_back = 0;
  for (unsigned step = 0; step < 20'000; ++step) {
    const auto length = static_cast<unsigned>(1 + random() % 3);
    if (random() % 2 == 0 && length <= free_slots) {
      std::vector<Piece> pieces(length, Piece{kData, 8});
      driver->offer(pieces);
      free_slots -= length;
      taken.push_back(pop());
      ASSERT_EQ(taken.back().readable.size(), length);
    } else if (!taken.empty()) {
      // In their order: a split driver here uses its descriptors again one after another.
      const Chain chain = taken.front();
      taken.erase(taken.begin());
      queue->push(chain, step);
      EXPECT_TRUE(queue->publish()) << "the driver is waiting";
      const auto used = driver->take();
      ASSERT_TRUE(used);
      EXPECT_EQ(*used, (Used{chain.id, step}));
      free_slots += static_cast<unsigned>(chain.readable.size());
      ++came_back;
    }
  }
  EXPECT_GT(came_back, 5'000U);
}

TEST_P(EveryFormat, KicksAreAskedForOnlyWhenNobodyLooks) {
  EXPECT_FALSE(queue->allow_kicks());
  driver->offer({{kData, 8}});
  EXPECT_TRUE(driver->wants_kick());
  queue->suppress_kicks();
  pop();
  driver->offer({{kData, 8}});
  EXPECT_FALSE(driver->wants_kick());
  EXPECT_TRUE(queue->allow_kicks()) << "something came meanwhile";
  pop();
  EXPECT_FALSE(queue->allow_kicks());
  driver->offer({{kData, 8}});
  EXPECT_TRUE(driver->wants_kick());
}

TEST_P(EveryFormat, InterruptsComeOnlyWhenWanted) {
  driver->want_interrupts(true);
  driver->offer({{kData, 8}});
  driver->offer({{kData, 8}});
  driver->offer({{kData, 8}});
  queue->push(pop(), 0);
  EXPECT_TRUE(queue->publish());
  EXPECT_FALSE(queue->publish()) << "nothing new";
  driver->want_interrupts(false);
  queue->push(pop(), 0);
  EXPECT_FALSE(queue->publish());
  while (driver->take()) {
  }
  driver->want_interrupts(true);
  queue->push(pop(), 0);
  EXPECT_TRUE(queue->publish());
}

TEST_P(EveryFormat, PositionsAreSavedAndGoneOnFrom) {
  for (unsigned i = 0; i < 11; ++i) {
    driver->offer({{kData, 8}});
    queue->push(pop(), 1);
    (void)queue->publish();
    EXPECT_TRUE(driver->take());
  }
  driver->offer({{kData, 8}});
  const Chain under_way = pop();
  driver->offer({{kData + 8, 8}});
  auto second = Virtqueue::create(queue->size(), driver->addresses(), features);
  ASSERT_TRUE(second->set_position(queue->position()));
  queue = std::move(second);
  ASSERT_TRUE(queue->open(ram.dma()));
  EXPECT_EQ(pop().readable, (std::vector<Segment>{{kData + 8, 8}}));
  queue->push(under_way, 5);
  EXPECT_TRUE(queue->publish()) << "nobody knows what the driver was told before";
  EXPECT_EQ(driver->take(), (Used{under_way.id, 5}));
}

TEST_P(EveryFormat, ABadPositionIsRefused) {
  RingPosition position;
  position.slots_taken = 9;
  EXPECT_FALSE(queue->set_position(position));
  position.slots_taken = 0;
  position.next_used = 8;
  EXPECT_EQ(queue->set_position(position).has_value(), !GetParam().packed);
}

TEST_P(EveryFormat, BadChainsAreRefused) {
  const auto refused = [](const std::vector<Piece>& pieces) {
    Rig rig(GetParam());
    rig.driver->offer(pieces);
    return rig.error();
  };
  EXPECT_THAT(refused({{kData, 8, true}, {kData, 8}}), HasSubstr("to read behind something to write"));
  EXPECT_THAT(refused({{~0ULL - 6, 8}}), HasSubstr("beyond the end of memory"));
  EXPECT_THAT(refused({{0, 0xffff'ffff}, {0, 0xffff'ffff}}), HasSubstr("longer than 4 GiB"));
  EXPECT_EQ(refused({{~0ULL, 0}, {1ULL << 60U, 8}}), "no error") << "only an access shows that nothing is there";
}

TEST_P(EveryFormat, BadTablesAreRefused) {
  if (!GetParam().indirect) return;
  std::vector<Piece> pieces(1100, Piece{kData, 8});
  driver->offer(pieces, kTable);
  EXPECT_THAT(error(), HasSubstr("more than 1024 descriptors"));
  for (const std::uint64_t table : {test::GuestRam::kSize - 8, ~std::uint64_t{0} - 15}) {
    Rig rig(GetParam());
    rig.driver->offer({}, kTable);  // makes room for a descriptor with TABLE
    const std::uint64_t at = rig.driver->addresses().descriptors;
    rig.ram.put<std::uint64_t>(at, table);
    rig.ram.put<std::uint32_t>(at + 8, 32);
    EXPECT_THAT(rig.error(), HasSubstr("there is no memory"));
  }
  Rig rig(GetParam());
  rig.driver->offer({}, kTable);
  EXPECT_THAT(rig.error(), HasSubstr("does not hold whole descriptors"));
}

TEST_P(EveryFormat, QueuesMustLieInMemoryAndBeAligned) {
  const auto opened = [this](RingAddresses addresses) {
    return Virtqueue::create(8, addresses, features)->open(ram.dma()).has_value();
  };
  const RingAddresses good = driver->addresses();
  EXPECT_TRUE(opened(good));
  for (const std::uint64_t bad :
       {test::GuestRam::kSize, test::GuestRam::kSize - 2, ~std::uint64_t{0} - 1, std::uint64_t{0x1001}}) {
    EXPECT_FALSE(opened({bad, good.driver, good.device})) << bad;
    EXPECT_FALSE(opened({good.descriptors, bad, good.device})) << bad;
    EXPECT_FALSE(opened({good.descriptors, good.driver, bad})) << bad;
  }
}

INSTANTIATE_TEST_SUITE_P(Virtqueue, EveryFormat,
                         testing::Values(RingFeatures{false, false, false}, RingFeatures{false, true, true},
                                         RingFeatures{true, false, true}, RingFeatures{true, true, true},
                                         RingFeatures{true, true, false}),
                         [](const auto& parameter) {
                           const RingFeatures& f = parameter.param;
                           return std::string(f.packed ? "Packed" : "Split") + (f.event_index ? "Event" : "") +
                                  (f.indirect ? "Indirect" : "");
                         });

// ---- What only a split queue's driver can get wrong

struct SplitTest : testing::Test, Rig {
  SplitTest() : Rig({.packed = false, .event_index = true, .indirect = true}) {}
};

TEST_F(SplitTest, TheLegacyLayoutIsThatOfTheSpecification) {
  const RingAddresses addresses = SplitQueue::legacy_addresses(0x5000, 256);
  EXPECT_EQ(addresses.descriptors, 0x5000U);
  EXPECT_EQ(addresses.driver, 0x6000U);
  EXPECT_EQ(addresses.device, 0x7000U);
}

TEST_F(SplitTest, LoopsEnd) {
  split().write_raw(kBase, kData, 8, virtio::descriptor::kNext, 0);
  split().offer_head(0);
  EXPECT_THAT(error(), HasSubstr("leads back to itself"));
}

TEST_F(SplitTest, HeadsAndLinksBeyondTheTableAreRefused) {
  split().offer_head(8);
  EXPECT_THAT(error(), HasSubstr("descriptor 8"));
  Rig rig(features);
  rig.split().write_raw(kBase, kData, 8, virtio::descriptor::kNext, 0xffff);
  rig.split().offer_head(0);
  EXPECT_THAT(rig.error(), HasSubstr("descriptor 65535"));
}

TEST_F(SplitTest, TablesMayNotLeadToTables) {
  split().write_raw(kTable, kTable, 16, virtio::descriptor::kIndirect, 0);
  split().write_raw(kBase, kTable, 16, virtio::descriptor::kIndirect, 0);
  split().offer_head(0);
  EXPECT_THAT(error(), HasSubstr("leads to another"));
}

TEST_F(SplitTest, IndexJumpsAreRefused) {
  ram.put<std::uint16_t>(driver->addresses().driver + 2, 9);
  EXPECT_THAT(error(), HasSubstr("jumps from 0 to 9"));
}

TEST_F(SplitTest, NoMoreChainsAreUnderWayThanFit) {
  for (unsigned i = 0; i < 8; ++i) {
    split().offer({{kData, 8}}, 0);
    pop();
  }
  split().offer({{kData, 8}}, 0);
  EXPECT_THAT(error(), HasSubstr("more chains are available"));
}

TEST(PackedQueue, NoMoreDescriptorsAreUnderWayThanFit) {
  Rig rig({.packed = true});
  rig.driver->offer(std::vector<Piece>(6, Piece{kData, 8}));
  rig.pop();
  // Three where two are free: the ring is overwritten.
  rig.driver->offer(std::vector<Piece>(3, Piece{kData, 8}));
  EXPECT_THAT(rig.error(), HasSubstr("than are free"));
}

}  // namespace
}  // namespace doppel::hw
