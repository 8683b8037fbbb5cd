#include "memory/dma.h"

#include <gtest/gtest.h>

#include "base/endian.h"

namespace doppel::memory {
namespace {

class Deaf final : public IoHandler {
 public:
  [[nodiscard]] std::uint64_t read(std::uint64_t, unsigned) override { return 0; }
  void write(std::uint64_t, unsigned, std::uint64_t) override { ADD_FAILURE() << "DMA reached a device"; }
};

/// RAM at 0x0 and, from another block, at 0x2000; ROM at 0x4000; a device at 0x6000.
class DmaTest : public ::testing::Test {
 protected:
  DmaTest() {
    root_->add(topology_.ram("low", low_, 0, 0x2000), 0);
    root_->add(topology_.ram("high", high_, 0x1000, 0x2000), 0x2000);
    root_->add(topology_.rom("rom", high_, 0, 0x1000), 0x4000);
    root_->add(topology_.io("device", 0x1000, device_), 0x6000);
  }
  Topology topology_;
  RegionPtr root_ = topology_.container("root", 0);
  AddressSpace space_{topology_, root_, "memory"};
  std::shared_ptr<RamBlock> low_ = *RamBlock::create({.size = 0x2000});
  std::shared_ptr<RamBlock> high_ = *RamBlock::create({.size = 0x3000});
  Deaf device_;
  DmaSpace dma_{space_};
};

struct Descriptor {
  Le64 address;
  Be16 length;
};

TEST_F(DmaTest, TypedRoundTripInExplicitOrder) {
  ASSERT_TRUE(dma_.write({0x100}, Descriptor{.address = 0x1122, .length = 0x3344}));
  EXPECT_EQ(low_->host()[0x100], std::byte{0x22});
  EXPECT_EQ(low_->host()[0x108], std::byte{0x33});
  const auto back = dma_.read<Descriptor>({0x100});
  ASSERT_TRUE(back);
  EXPECT_EQ(back->address, 0x1122U);
  EXPECT_EQ(back->length, 0x3344U);
}

TEST_F(DmaTest, SpanOfWritableBytesIsNotAValue) {
  std::array<std::byte, 4> data{std::byte{1}, std::byte{2}, std::byte{3}, std::byte{4}};
  ASSERT_TRUE(dma_.write({0x200}, std::span<std::byte>(data)));
  EXPECT_EQ(low_->host()[0x200], std::byte{1});
  EXPECT_EQ(low_->host()[0x203], std::byte{4});
  EXPECT_EQ(low_->host()[0x204], std::byte{0});
}

TEST_F(DmaTest, CrossesRangesAndMarksBothDirty) {
  low_->dirty().start(DirtyClient::kMigration);
  high_->dirty().start(DirtyClient::kMigration);
  std::vector<std::byte> data(0x1800, std::byte{0x77});
  ASSERT_TRUE(dma_.write({0x1800}, data));
  EXPECT_EQ(low_->host()[0x1fff], std::byte{0x77});
  EXPECT_EQ(high_->host()[0x1000], std::byte{0x77});
  EXPECT_EQ(low_->dirty().take(DirtyClient::kMigration, 0, 2), std::vector<std::uint64_t>{0b10});
  EXPECT_EQ(high_->dirty().take(DirtyClient::kMigration, 0, 3), std::vector<std::uint64_t>{0b010});
  std::vector<std::byte> back(data.size());
  ASSERT_TRUE(dma_.read({0x1800}, back));
  EXPECT_EQ(back, data);
}

TEST_F(DmaTest, ReadsRomButDoesNotWriteIt) {
  high_->host()[0x10] = std::byte{9};
  EXPECT_EQ(*dma_.read<std::uint8_t>({0x4010}), 9);
  const auto written = dma_.write<std::uint8_t>({0x4010}, 1);
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().kind(), ErrorKind::kOutOfRange);
  EXPECT_EQ(written.error().message(), "there is no writable memory at 0x4010 of memory");
}

TEST_F(DmaTest, StopsAtTheFirstAddressThatIsNotMemory) {
  std::vector<std::byte> data(0x1000, std::byte{1});
  EXPECT_EQ(dma_.write({0x3800}, data).error().message(), "there is no writable memory at 0x4000 of memory");
  EXPECT_EQ(high_->host()[0x2fff], std::byte{1});
  EXPECT_EQ(dma_.read({0x4800}, data).error().message(), "there is no memory at 0x5000 of memory");
  EXPECT_FALSE(dma_.write({0x6000}, data));
  EXPECT_FALSE(dma_.read({0x6000}, data));
  EXPECT_FALSE(dma_.read({~std::uint64_t{0} - 7}, data)) << "the last addresses there are";
  EXPECT_TRUE(dma_.read({0x9'0000}, std::span<std::byte>()));
}

TEST_F(DmaTest, MappingIsOnePieceOfOneBlock) {
  const auto mapping = dma_.map({0x2800}, 0x1800, DmaSpace::Access::kWrite);
  ASSERT_TRUE(mapping);
  EXPECT_EQ(mapping->bytes.data(), high_->host() + 0x1800);
  EXPECT_EQ(mapping->bytes.size(), 0x1800U);
  high_->dirty().start(DirtyClient::kDisplay);
  mapping->mark_dirty();
  EXPECT_EQ(high_->dirty().take(DirtyClient::kDisplay, 0, 3), std::vector<std::uint64_t>{0b110});
}

TEST_F(DmaTest, BadMappingsAreErrors) {
  using enum DmaSpace::Access;
  EXPECT_FALSE(dma_.map({0x1800}, 0x1000, kRead));  // two blocks
  EXPECT_FALSE(dma_.map({0x3000}, ~std::uint64_t{0}, kRead));
  EXPECT_FALSE(dma_.map({0x3000}, 0, kRead));
  EXPECT_FALSE(dma_.map({0x6000}, 1, kRead));
  EXPECT_FALSE(dma_.map({0x8000}, 1, kRead));
  EXPECT_TRUE(dma_.map({0x4000}, 0x1000, kRead));
  EXPECT_FALSE(dma_.map({0x4000}, 0x1000, kWrite));
}

TEST_F(DmaTest, MappingKeepsTheMemory) {
  auto mapping = dma_.map({0}, 0x1000, DmaSpace::Access::kWrite);
  ASSERT_TRUE(mapping);
  const auto view = space_.view();
  for (const auto& range : view->ranges())
    if (range.region->ram() == low_) root_->remove(range.region);
  low_.reset();
  mapping->bytes[0] = std::byte{1};
  EXPECT_FALSE(dma_.read<std::uint8_t>({0}));
}

}  // namespace
}  // namespace doppel::memory
