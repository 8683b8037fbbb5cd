#include "accel/soft/runtime/guest_ram.h"

#include <gtest/gtest.h>

#include <array>

#include "memory/address.h"
#include "memory/dirty_bitmap.h"

namespace doppel::accel::soft {
namespace {

using memory::DirtyBitmap;
using memory::kPageSize;

class GuestRamTest : public testing::Test {
 protected:
  [[nodiscard]] MemorySlot slot(unsigned number, std::uint64_t address, std::uint64_t pages,
                                SlotFlags flags = SlotFlags::kNone, std::uint64_t host_page = 0) {
    return {.slot = number,
            .address = {address},
            .size = pages * kPageSize,
            .host = host_.data() + host_page * kPageSize,
            .flags = flags};
  }

  struct alignas(kPageSize) Host : std::array<std::byte, 16 * kPageSize> {};
  Host host_{};
  GuestRam ram_;
};

TEST_F(GuestRamTest, FindsWhatBacksAnAddress) {
  EXPECT_EQ(ram_.find(0), nullptr);
  ASSERT_TRUE(ram_.set(slot(0, 0x10000, 8)));
  ASSERT_TRUE(ram_.set(slot(1, 0x1000, 2)));
  EXPECT_EQ(ram_.find(0xfff), nullptr);
  EXPECT_EQ(ram_.find(0x1000), ram_.by_number(1));
  EXPECT_EQ(ram_.find(0x2fff), ram_.by_number(1));
  EXPECT_EQ(ram_.find(0x3000), nullptr);
  EXPECT_EQ(ram_.find(0x10000), ram_.by_number(0));
  EXPECT_EQ(ram_.find(0x18000), nullptr);
  EXPECT_EQ(ram_.find(~std::uint64_t{0}), nullptr);
  EXPECT_EQ(ram_.find(0x10123)->host(0x10123), host_.data() + 0x123);
}

TEST_F(GuestRamTest, RefusesWhatKvmRefuses) {
  ASSERT_TRUE(ram_.set(slot(1, 0x10000, 2)));
  struct Row {
    const char* what;
    MemorySlot slot;
    ErrorKind kind;
  };
  MemorySlot half = slot(2, 0x40000, 1);
  half.size = kPageSize / 2;
  MemorySlot crooked_host = slot(2, 0x40000, 1);
  crooked_host.host += 8;
  const Row rows[] = {
      {"overlap from below", slot(2, 0xf000, 2), ErrorKind::kAlreadyExists},
      {"overlap from above", slot(2, 0x11000, 2), ErrorKind::kAlreadyExists},
      {"overlap around", slot(2, 0xf000, 8), ErrorKind::kAlreadyExists},
      {"address within a page", slot(2, 0x40800, 1), ErrorKind::kInvalidArgument},
      {"half a page", half, ErrorKind::kInvalidArgument},
      {"host within a page", crooked_host, ErrorKind::kInvalidArgument},
      {"wraps", slot(2, ~std::uint64_t{0} - 0xfff, 2), ErrorKind::kInvalidArgument},
      {"resize", slot(1, 0x10000, 3), ErrorKind::kInvalidArgument},
      {"becomes ROM", slot(1, 0x10000, 2, SlotFlags::kReadOnly), ErrorKind::kInvalidArgument},
      {"other host memory", slot(1, 0x10000, 2, SlotFlags::kNone, 4), ErrorKind::kInvalidArgument},
      {"removes nothing", slot(7, 0, 0), ErrorKind::kInvalidArgument},
  };
  for (const Row& row : rows) {
    const auto result = ram_.set(row.slot);
    ASSERT_FALSE(result) << row.what;
    EXPECT_EQ(result.error().kind(), row.kind) << row.what;
  }
  EXPECT_NE(ram_.find(0x11000), nullptr);
}

TEST_F(GuestRamTest, MovesAndRemoves) {
  ASSERT_TRUE(ram_.set(slot(1, 0x10000, 2)));
  const std::uint64_t layout = ram_.layout();
  ASSERT_TRUE(ram_.set(slot(1, 0x11000, 2)));  // over its own old place
  EXPECT_EQ(ram_.find(0x10000), nullptr);
  EXPECT_NE(ram_.find(0x12000), nullptr);
  EXPECT_NE(ram_.layout(), layout);
  const std::uint64_t moved = ram_.layout();
  ASSERT_TRUE(ram_.set(slot(1, 0, 0)));
  EXPECT_EQ(ram_.find(0x12000), nullptr);
  EXPECT_EQ(ram_.by_number(1), nullptr);
  EXPECT_NE(ram_.layout(), moved);
}

TEST_F(GuestRamTest, ChangeOfFlagsIsNoChangeOfLayout) {
  ASSERT_TRUE(ram_.set(slot(1, 0x10000, 2)));
  RamSlot* const before = ram_.by_number(1);
  const std::uint64_t layout = ram_.layout();
  ASSERT_TRUE(ram_.set(slot(1, 0x10000, 2, SlotFlags::kLogDirty)));
  EXPECT_EQ(ram_.by_number(1), before);
  EXPECT_EQ(ram_.layout(), layout);
  EXPECT_TRUE(before->logs());
}

TEST_F(GuestRamTest, DirtyLogHasWhatWasStored) {
  ASSERT_TRUE(ram_.set(slot(1, 0x10000, 16)));
  const RamSlot& slot_1 = *ram_.by_number(1);
  EXPECT_TRUE(slot_1.stores_need_no_note(0x10000));
  slot_1.note_store(0x10000);  // from before it logged
  ASSERT_TRUE(ram_.set(slot(1, 0x10000, 16, SlotFlags::kLogDirty)));
  EXPECT_EQ(slot_1.take_dirty(), std::vector<std::uint64_t>{0});
  EXPECT_FALSE(slot_1.stores_need_no_note(0x13000));
  EXPECT_FALSE(slot_1.note_store(0x13ff8));
  EXPECT_TRUE(slot_1.stores_need_no_note(0x13000));
  slot_1.note_store(0x1f000);
  EXPECT_EQ(slot_1.take_dirty(), std::vector<std::uint64_t>{0x8008});
  EXPECT_EQ(slot_1.take_dirty(), std::vector<std::uint64_t>{0});
  EXPECT_FALSE(slot_1.stores_need_no_note(0x13000));
}

TEST_F(GuestRamTest, StoresToCodeMoveTheVersionUntilItIsData) {
  ASSERT_TRUE(ram_.set(slot(1, 0x10000, 16)));
  const RamSlot& slot_1 = *ram_.by_number(1);
  PageState& page = slot_1.page(0x12345);
  const std::uint32_t version = page.version.load();
  EXPECT_FALSE(slot_1.note_store(0x12345));
  EXPECT_EQ(page.version.load(), version);
  page.holds_code = true;
  EXPECT_FALSE(slot_1.stores_need_no_note(0x12000));
  EXPECT_FALSE(slot_1.note_store(0x11fff));
  for (unsigned n = 1; n <= PageState::kStoresToData; ++n) {
    EXPECT_TRUE(page.holds_code.load());
    EXPECT_TRUE(slot_1.note_store(0x12fff));
    EXPECT_EQ(page.version.load(), version + n);
  }
  EXPECT_FALSE(page.holds_code.load());
  EXPECT_FALSE(slot_1.note_store(0x12000));
  EXPECT_TRUE(slot_1.stores_need_no_note(0x12000));
}

TEST_F(GuestRamTest, HostWritesMoveTheVersion) {
  DirtyBitmap bitmap(32 * kPageSize);
  MemorySlot with_bitmap = slot(1, 0x10000, 16);
  with_bitmap.dirty = &bitmap;
  with_bitmap.dirty_offset = 8 * kPageSize;
  ASSERT_TRUE(ram_.set(with_bitmap));
  EXPECT_TRUE(ram_.host_writes_are_marked());
  const RamSlot& slot_1 = *ram_.by_number(1);
  const std::uint32_t version = slot_1.page(0x12000).version.load();
  EXPECT_FALSE(slot_1.has_host_write(0x12000));
  EXPECT_FALSE(slot_1.take_host_write(0x12000));

  bitmap.mark(10 * kPageSize + 5, 1);
  EXPECT_TRUE(slot_1.has_host_write(0x12000));
  EXPECT_FALSE(slot_1.take_host_write(0x11000));
  EXPECT_FALSE(slot_1.take_host_write(0x13000));
  EXPECT_TRUE(slot_1.take_host_write(0x12fff));
  EXPECT_FALSE(slot_1.has_host_write(0x12000));
  EXPECT_NE(slot_1.page(0x12000).version.load(), version);
  EXPECT_FALSE(slot_1.take_host_write(0x12fff));
}

TEST_F(GuestRamTest, SlotWithoutABitmapIsKnown) {
  ASSERT_TRUE(ram_.set(slot(1, 0x10000, 2)));
  EXPECT_FALSE(ram_.host_writes_are_marked());
  EXPECT_FALSE(ram_.by_number(1)->has_host_write(0x10000));
  EXPECT_FALSE(ram_.by_number(1)->take_host_write(0x10000));
  ASSERT_TRUE(ram_.set(slot(1, 0, 0)));
  EXPECT_TRUE(ram_.host_writes_are_marked());
}

TEST_F(GuestRamTest, BitmapMayComeLater) {
  ASSERT_TRUE(ram_.set(slot(1, 0x10000, 2)));
  const std::uint64_t layout = ram_.layout();
  DirtyBitmap bitmap(2 * kPageSize);
  MemorySlot with_bitmap = slot(1, 0x10000, 2);
  with_bitmap.dirty = &bitmap;
  ASSERT_TRUE(ram_.set(with_bitmap));
  EXPECT_NE(ram_.layout(), layout);  // whoever holds a mark must ask again
  bitmap.mark(0, 1);
  EXPECT_TRUE(ram_.by_number(1)->take_host_write(0x10000));
}

}  // namespace
}  // namespace doppel::accel::soft
