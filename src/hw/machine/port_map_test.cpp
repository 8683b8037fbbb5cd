#include "hw/machine/port_map.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace doppel::hw {
namespace {

using testing::HasSubstr;

struct Echo final : memory::IoHandler {
  std::uint64_t read(std::uint64_t offset, unsigned /*size*/) override { return 0x40 + offset; }
  void write(std::uint64_t /*offset*/, unsigned /*size*/, std::uint64_t /*value*/) override {}
};

class PortMapTest : public testing::Test {
 protected:
  Result<> add(std::string name, std::uint64_t port, std::uint64_t count) {
    return map_.add(std::move(name), port, count, echo_, {1, 1});
  }
  std::string error(std::uint64_t port, std::uint64_t count) {
    const auto added = add("new", port, count);
    return added ? "" : added.error().describe();
  }
  std::uint64_t in(std::uint64_t port) { return space_.read(memory::GuestPhysAddr{port}, 1); }

  memory::Topology topology_;
  memory::AddressSpace space_{topology_, topology_.container("io", 0x10000), "ports"};
  Echo echo_;
  PortMap map_{topology_, space_};
};

TEST_F(PortMapTest, HandlersSeeOffsetsIntoTheirRange) {
  ASSERT_TRUE(add("a", 0x3f8, 8));
  EXPECT_EQ(in(0x3f8), 0x40U);
  EXPECT_EQ(in(0x3ff), 0x47U);
  EXPECT_EQ(in(0x3f7), 0xffU);
  EXPECT_EQ(in(0x400), 0xffU);
}

TEST_F(PortMapTest, AnOverlapNamesBothRanges) {
  ASSERT_TRUE(add("old", 0x100, 0x10));
  for (const auto& [port, count] : {std::pair{0x100U, 1U}, {0x10fU, 2U}, {0xf0U, 0x11U}, {0xf0U, 0x100U}}) {
    const std::string text = error(port, count);
    EXPECT_THAT(text, HasSubstr("new: ports "));
    EXPECT_THAT(text, HasSubstr("old, 0x100-0x10f"));
  }
  EXPECT_EQ(in(0xf0), 0xffU) << "the refused one is not there";
}

TEST_F(PortMapTest, NeighboursDoNotOverlap) {
  ASSERT_TRUE(add("a", 0x100, 0x10));
  EXPECT_TRUE(add("b", 0x110, 1));
  EXPECT_TRUE(add("c", 0xff, 1));
}

TEST_F(PortMapTest, RangesEndAtTheLastPort) {
  EXPECT_TRUE(add("top", 0xffff, 1));
  EXPECT_THAT(error(0x8000, 0x8001), HasSubstr("do not fit"));
  EXPECT_THAT(error(0x10000, 1), HasSubstr("do not fit"));
  EXPECT_THAT(error(0, 0), HasSubstr("do not fit"));
  EXPECT_THAT(error(0xffffffffffffffff, 2), HasSubstr("do not fit"));
  EXPECT_THAT(error(2, 0xffffffffffffffff), HasSubstr("do not fit"));
}

TEST_F(PortMapTest, ReservedPortsAreTakenButNotDecodedHere) {
  ASSERT_TRUE(map_.reserve("pic", 0x20, 2));
  EXPECT_EQ(in(0x20), 0xffU);
  EXPECT_THAT(error(0x21, 1), HasSubstr("pic, 0x20-0x21"));
  EXPECT_FALSE(map_.reserve("again", 0x20, 1));
}

}  // namespace
}  // namespace doppel::hw
