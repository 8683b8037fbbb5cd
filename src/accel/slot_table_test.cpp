#include "accel/slot_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "accel/fake_vm.h"
#include "base/bits.h"

namespace doppel::accel {
namespace {

using memory::DirtyClient;
using memory::kPageSize;
using memory::RegionPtr;
using testing::ElementsAre;

constexpr std::uint64_t kRamSize = kMiB;

class NullHandler final : public memory::IoHandler {
 public:
  [[nodiscard]] std::uint64_t read(std::uint64_t, unsigned) override { return 0; }
  void write(std::uint64_t, unsigned, std::uint64_t) override {}
};

class SlotTableTest : public testing::Test {
 protected:
  SlotTableTest() {
    capabilities_ = {.ioeventfd = true, .read_only_memory = true, .dirty_log = true, .max_memory_slots = 8};
  }
  ~SlotTableTest() override {
    if (table_) space_.remove_listener(*table_);
  }

  void listen(SlotTable::Options options) {
    options.capabilities = capabilities_;
    table_ = std::make_unique<SlotTable>(vm_, options,
                                         [this](const Error& error) { failures_.push_back(error.describe()); });
    space_.add_listener(*table_);
  }
  void listen() { listen(SlotTable::Options()); }

  static std::shared_ptr<memory::RamBlock> block(std::uint64_t size = kRamSize) {
    memory::RamOptions options;
    options.size = size;
    return *memory::RamBlock::create(options);
  }

  /// The slots as (address, size) by address.
  [[nodiscard]] std::vector<std::pair<std::uint64_t, std::uint64_t>> ranges() const {
    std::vector<std::pair<std::uint64_t, std::uint64_t>> list;
    for (const auto& [number, slot] : vm_.slots) list.emplace_back(slot.address.value, slot.size);
    std::ranges::sort(list);
    return list;
  }

  memory::Topology topology_;
  RegionPtr root_ = topology_.container("root", 0);
  memory::AddressSpace space_{topology_, root_, "memory"};
  FakeVm vm_;
  Capabilities capabilities_;
  NullHandler handler_;
  std::vector<std::string> failures_;
  std::unique_ptr<SlotTable> table_;
};

TEST_F(SlotTableTest, RamBecomesASlot) {
  const auto ram = block();
  root_->add(topology_.ram("ram", ram, 0, kRamSize), 0x100000);
  listen();
  ASSERT_EQ(vm_.slots.size(), 1U);
  const MemorySlot& slot = vm_.slots[0];
  EXPECT_EQ(slot.address.value, 0x100000U);
  EXPECT_EQ(slot.size, kRamSize);
  EXPECT_EQ(slot.host, ram->host());
  EXPECT_EQ(slot.flags, SlotFlags::kNone);
  EXPECT_EQ(table_->slots_in_use(), 1U);
  EXPECT_THAT(failures_, ElementsAre());
}

TEST_F(SlotTableTest, DeviceInFrontCutsAHole) {
  const auto ram = block();
  root_->add(topology_.ram("ram", ram, 0, kRamSize), 0);
  listen();
  const RegionPtr device = topology_.io("device", 0x20000, handler_);
  root_->add(device, 0xa0000, 1);
  EXPECT_THAT(ranges(), ElementsAre(std::pair(0, 0xa0000), std::pair(0xc0000, kRamSize - 0xc0000)));
  for (const auto& [number, slot] : vm_.slots) EXPECT_EQ(slot.host, ram->host() + slot.address.value);
  device->set_enabled(false);
  EXPECT_THAT(ranges(), ElementsAre(std::pair(0, kRamSize)));
  EXPECT_THAT(failures_, ElementsAre());
}

TEST_F(SlotTableTest, SlotNumbersAreReused) {
  listen();
  const auto ram = block();
  for (int i = 0; i < 50; ++i) {
    const RegionPtr region = topology_.ram("ram", ram, 0, kRamSize);
    root_->add(region, 0);
    EXPECT_THAT(vm_.slots, ElementsAre(testing::Key(0U)));
    root_->remove(region);
    EXPECT_TRUE(vm_.slots.empty());
  }
  EXPECT_THAT(failures_, ElementsAre());
}

TEST_F(SlotTableTest, UnrelatedChangesLeaveSlotsAlone) {
  root_->add(topology_.ram("ram", block(), 0, kRamSize), 0);
  listen();
  const unsigned calls = vm_.slot_calls;
  root_->add(topology_.io("device", 0x1000, handler_), 0xd0000000);
  EXPECT_EQ(vm_.slot_calls, calls);
}

TEST_F(SlotTableTest, RomIsReadOnly) {
  root_->add(topology_.rom("rom", block(), 0, kRamSize), 0xfff00000);
  listen();
  ASSERT_EQ(vm_.slots.size(), 1U);
  EXPECT_EQ(vm_.slots[0].flags, SlotFlags::kReadOnly);
}

TEST_F(SlotTableTest, RomStaysOutsideWithoutReadOnlyMemory) {
  capabilities_.read_only_memory = false;
  root_->add(topology_.rom("rom", block(), 0, kRamSize), 0xfff00000);
  listen();
  EXPECT_TRUE(vm_.slots.empty());
  EXPECT_THAT(failures_, ElementsAre());
}

TEST_F(SlotTableTest, FlashInCommandModeIsADevice) {
  const RegionPtr flash = topology_.rom_device("flash", block(), handler_);
  root_->add(flash, 0xffc00000);
  listen();
  ASSERT_EQ(vm_.slots.size(), 1U);
  EXPECT_TRUE(has(vm_.slots[0].flags, SlotFlags::kReadOnly));
  flash->set_rom_readable(false);
  EXPECT_TRUE(vm_.slots.empty());
  flash->set_rom_readable(true);
  EXPECT_EQ(vm_.slots.size(), 1U);
}

TEST_F(SlotTableTest, RamMadeReadOnlyChangesItsSlot) {
  const RegionPtr ram = topology_.ram("ram", block(), 0, kRamSize);
  root_->add(ram, 0);
  listen();
  ram->set_read_only(true);
  ASSERT_EQ(vm_.slots.size(), 1U);
  EXPECT_EQ(vm_.slots.begin()->second.flags, SlotFlags::kReadOnly);
  EXPECT_THAT(failures_, ElementsAre());
}

TEST_F(SlotTableTest, OnlyWholePagesAreMapped) {
  root_->add(topology_.ram("ram", block(), 0, kRamSize), 0);
  root_->add(topology_.io("device", 0x10, handler_), 0x8ff8, 1);
  listen();
  EXPECT_THAT(ranges(), ElementsAre(std::pair(0, 0x8000), std::pair(0xa000, kRamSize - 0xa000)));
}

TEST_F(SlotTableTest, SmallerThanAPageOrShiftedWithinOneIsNotMapped) {
  root_->add(topology_.ram("small", block(), 0, 0x800), 0x1000);
  root_->add(topology_.ram("shifted", block(), 0x800, 0x4000), 0x10000);
  listen();
  EXPECT_TRUE(vm_.slots.empty());
}

TEST_F(SlotTableTest, LargeRangesBecomeSeveralSlots) {
  const auto ram = block();
  root_->add(topology_.ram("ram", ram, 0, kRamSize), 0);
  listen({.largest_slot = 0x60000});
  EXPECT_THAT(ranges(), ElementsAre(std::pair(0, 0x60000), std::pair(0x60000, 0x60000), std::pair(0xc0000, 0x40000)));
  for (const auto& [number, slot] : vm_.slots) EXPECT_EQ(slot.host, ram->host() + slot.address.value);
}

TEST_F(SlotTableTest, RunningOutOfSlotsIsReported) {
  const auto ram = block();
  for (std::uint64_t i = 0; i < 9; ++i) root_->add(topology_.ram("piece", ram, 0, kPageSize), i * 0x10000);
  listen();
  EXPECT_EQ(vm_.slots.size(), 8U);
  ASSERT_EQ(failures_.size(), 1U);
  EXPECT_THAT(failures_[0], testing::HasSubstr("0x80000-0x80fff"));
  EXPECT_THAT(failures_[0], testing::HasSubstr("all 8 memory slots are taken"));
}

TEST_F(SlotTableTest, RefusalIsReportedAndItsSlotIsFree) {
  const RegionPtr ram = topology_.ram("ram", block(), 0, kRamSize);
  listen();
  vm_.refuse = true;
  root_->add(ram, 0);
  EXPECT_EQ(failures_.size(), 1U);
  vm_.refuse = false;
  root_->remove(ram);
  root_->add(ram, 0x100000);
  EXPECT_THAT(vm_.slots, ElementsAre(testing::Key(0U)));
  EXPECT_EQ(failures_.size(), 1U);
}

TEST_F(SlotTableTest, LoggingFollowsTheBlocksClients) {
  const auto logged = block();
  const auto other = block();
  root_->add(topology_.ram("logged", logged, 0, kRamSize), 0);
  root_->add(topology_.ram("other", other, 0, kRamSize), kRamSize);
  root_->add(topology_.rom("rom", logged, 0, kRamSize), 2 * kRamSize);
  listen();
  logged->dirty().start(DirtyClient::kMigration);
  ASSERT_TRUE(table_->update_dirty_logging());
  EXPECT_EQ(vm_.slots[0].flags, SlotFlags::kLogDirty);
  EXPECT_EQ(vm_.slots[1].flags, SlotFlags::kNone);
  EXPECT_EQ(vm_.slots[2].flags, SlotFlags::kReadOnly);
  logged->dirty().stop(DirtyClient::kMigration);
  ASSERT_TRUE(table_->update_dirty_logging());
  EXPECT_EQ(vm_.slots[0].flags, SlotFlags::kNone);
}

TEST_F(SlotTableTest, DirtyBitsReachEveryClient) {
  const auto ram = block();
  ram->dirty().start(DirtyClient::kMigration);
  ram->dirty().start(DirtyClient::kDisplay);
  root_->add(topology_.ram("ram", ram, 0x10000, kRamSize - 0x10000), 0x400000);  // page 0x10 of the block
  listen();
  vm_.dirty[0] = {bit(0) | bit(5)};
  ASSERT_TRUE(table_->sync_dirty_log());
  for (const DirtyClient client : {DirtyClient::kMigration, DirtyClient::kDisplay}) {
    EXPECT_TRUE(ram->dirty().test(client, 0x10));
    EXPECT_TRUE(ram->dirty().test(client, 0x15));
    EXPECT_FALSE(ram->dirty().test(client, 0x11));
  }
}

TEST_F(SlotTableTest, OneBlockAloneCanBeSynced) {
  const auto first = block();
  const auto second = block();
  first->dirty().start(DirtyClient::kDisplay);
  second->dirty().start(DirtyClient::kDisplay);
  root_->add(topology_.ram("first", first, 0, kRamSize), 0);
  root_->add(topology_.ram("second", second, 0, kRamSize), kRamSize);
  listen();
  vm_.dirty[0] = {1};
  vm_.dirty[1] = {1};
  ASSERT_TRUE(table_->sync_dirty_log(second.get()));
  EXPECT_FALSE(first->dirty().test(DirtyClient::kDisplay, 0));
  EXPECT_TRUE(second->dirty().test(DirtyClient::kDisplay, 0));
}

TEST_F(SlotTableTest, ASlotThatGoesLeavesItsDirtyBits) {
  const auto ram = block();
  ram->dirty().start(DirtyClient::kMigration);
  const RegionPtr region = topology_.ram("ram", ram, 0, kRamSize);
  root_->add(region, 0);
  listen();
  vm_.dirty[0] = {bit(7)};
  root_->remove(region);
  EXPECT_TRUE(ram->dirty().test(DirtyClient::kMigration, 7));
  EXPECT_THAT(failures_, ElementsAre());
}

TEST_F(SlotTableTest, DoorbellsAreAttachedAndDetached) {
  listen();
  const auto event = event::EventFd::create();
  const memory::IoEvent bell{.address = {0xd0000000}, .size = 2, .value = 3, .event = &*event};
  space_.add_io_event(bell);
  ASSERT_EQ(vm_.doorbells.size(), 1U);
  EXPECT_EQ(vm_.doorbells[0].address, bell.address);
  EXPECT_FALSE(vm_.doorbells[0].is_port);
  EXPECT_EQ(vm_.doorbells[0].size, 2U);
  EXPECT_EQ(vm_.doorbells[0].value, 3U);
  space_.remove_io_event(bell);
  EXPECT_TRUE(vm_.doorbells.empty());
}

TEST_F(SlotTableTest, PortsHaveDoorbellsAndNoMemory) {
  root_->add(topology_.ram("ram", block(), 0, kRamSize), 0);
  listen({.space = SlotTable::Space::kPorts});
  const auto event = event::EventFd::create();
  space_.add_io_event({.address = {0xc050}, .size = 2, .value = {}, .event = &*event});
  EXPECT_TRUE(vm_.slots.empty());
  ASSERT_EQ(vm_.doorbells.size(), 1U);
  EXPECT_TRUE(vm_.doorbells[0].is_port);
}

TEST_F(SlotTableTest, RefusedDoorbellsAreLeftToTheAddressSpace) {
  listen();
  vm_.refuse = true;
  const auto event = event::EventFd::create();
  const memory::IoEvent bell{.address = {0xd0000000}, .size = 2, .value = {}, .event = &*event};
  space_.add_io_event(bell);
  space_.remove_io_event(bell);
  EXPECT_THAT(failures_, ElementsAre());
}

}  // namespace
}  // namespace doppel::accel
