#include "memory/address_space.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "base/endian.h"

namespace doppel::memory {
namespace {

/// Sixteen bytes of registers.
class Registers final : public IoHandler {
 public:
  [[nodiscard]] std::uint64_t read(std::uint64_t offset, unsigned size) override {
    return load_le_sized(&bytes[offset], size);
  }
  void write(std::uint64_t offset, unsigned size, std::uint64_t value) override {
    store_le_sized(&bytes[offset], size, value);
    ++writes;
  }
  std::array<std::byte, 16> bytes{};
  int writes = 0;
};

/// Keeps a picture of the space by the differences alone.
class Mirror final : public AddressSpaceListener {
 public:
  void begin() override {
    EXPECT_FALSE(open_);
    open_ = true;
    added_ = false;
  }
  void range_removed(const FlatRange& range) override {
    EXPECT_FALSE(added_) << "removals come first";
    EXPECT_EQ(std::erase(ranges, range), 1U);
  }
  void range_added(const FlatRange& range) override {
    added_ = true;
    ranges.push_back(range);
  }
  void io_event_removed(const IoEvent& event) override { EXPECT_EQ(std::erase(events, event), 1U); }
  void io_event_added(const IoEvent& event) override { events.push_back(event); }
  void commit() override {
    EXPECT_TRUE(open_);
    open_ = false;
    ++commits;
    std::ranges::sort(ranges, {}, &FlatRange::start);
  }
  std::vector<FlatRange> ranges;
  std::vector<IoEvent> events;
  int commits = 0;

 private:
  bool open_ = false;
  bool added_ = false;
};

class AddressSpaceTest : public ::testing::Test {
 protected:
  static constexpr std::uint64_t kRamSize = 0x4000;
  AddressSpaceTest() { root_->add(ram_, 0); }

  Topology topology_;
  RegionPtr root_ = topology_.container("root", 0);
  AddressSpace space_{topology_, root_, "memory"};
  std::shared_ptr<RamBlock> block_ = *RamBlock::create({.size = kRamSize});
  RegionPtr ram_ = topology_.ram("ram", block_, 0, kRamSize);
  Registers registers_;
  RegionPtr io_ = topology_.io("io", 16, registers_);
};

TEST_F(AddressSpaceTest, RamIsLittleEndianAtAnySizeAndAlignment) {
  space_.write({0x101}, 8, 0x8877'6655'4433'2211);
  EXPECT_EQ(block_->host()[0x101], std::byte{0x11});
  EXPECT_EQ(space_.read({0x101}, 8), 0x8877'6655'4433'2211U);
  EXPECT_EQ(space_.read({0x102}, 1), 0x22U);
  EXPECT_EQ(space_.read({0x102}, 2), 0x3322U);
  EXPECT_EQ(space_.read({0x104}, 4), 0x7766'5544U);
}

TEST_F(AddressSpaceTest, HolesReadAsOnesAndSwallowWrites) {
  space_.write({0x10'0000}, 4, 0);
  EXPECT_EQ(space_.read({0x10'0000}, 1), 0xffU);
  EXPECT_EQ(space_.read({0x10'0000}, 8), ~std::uint64_t{0});
  EXPECT_EQ(space_.read({~std::uint64_t{0}}, 1), 0xffU);
  EXPECT_EQ(space_.read({~std::uint64_t{0} - 1}, 8) & 0xffff, 0xffffU);  // wraps around into RAM
  std::array<std::byte, 4> out{};
  space_.read({~std::uint64_t{0} - 1}, out);
  space_.write({~std::uint64_t{0} - 1}, out);
  EXPECT_EQ(out[0], std::byte{0xff});
  EXPECT_EQ(out[2], std::byte{0});
}

TEST_F(AddressSpaceTest, HandlersSeeOffsetsIntoTheirRegion) {
  root_->add(io_, 0x1'0000);
  space_.write({0x1'0004}, 4, 0xdead'beef);
  EXPECT_EQ(load_le<std::uint32_t>(&registers_.bytes[4]), 0xdead'beefU);
  EXPECT_EQ(space_.read({0x1'0006}, 2), 0xdeadU);
  // Half hidden, the rest keeps its offsets.
  root_->add(topology_.ram("cover", block_, 0, 8), 0x1'0000, 1);
  space_.write({0x1'0008}, 1, 0x77);
  EXPECT_EQ(registers_.bytes[8], std::byte{0x77});
}

TEST_F(AddressSpaceTest, AccessAcrossRangesIsSplitBetweenThem) {
  root_->add(io_, kRamSize);
  space_.write({kRamSize - 2}, 4, 0x4433'2211);
  EXPECT_EQ(load_le<std::uint16_t>(block_->host() + kRamSize - 2), 0x2211U);
  EXPECT_EQ(load_le<std::uint16_t>(registers_.bytes.data()), 0x4433U);
  EXPECT_EQ(space_.read({kRamSize - 2}, 4), 0x4433'2211U);
  EXPECT_EQ(space_.read({kRamSize + 14}, 4), 0xffff'0000U);  // into the hole behind
  root_->add(topology_.ram("behind a hole", block_, 0, 0x100), kRamSize + 18);
  block_->host()[0] = std::byte{0x5a};
  EXPECT_EQ(space_.read({kRamSize + 16}, 4), 0x005a'ffffU);  // from a hole into RAM
}

TEST_F(AddressSpaceTest, ReadOnlyMemoryTakesNoWrites) {
  ram_->set_read_only(true);
  space_.write({0}, 4, 0x1234);
  EXPECT_EQ(space_.read({0}, 4), 0U);
  ram_->set_read_only(false);
  space_.write({0}, 4, 0x1234);
  EXPECT_EQ(space_.read({0}, 4), 0x1234U);
}

TEST_F(AddressSpaceTest, BlockMappedReadOnlyIsNeverWritten) {
  const auto locked = *RamBlock::create({.size = kPageSize, .read_only = true});
  root_->add(topology_.ram("locked", locked, 0, kPageSize), 0x1'0000);
  space_.write({0x1'0000}, 4, 1);  // would be a segmentation fault
  const std::array<std::byte, 16> data{};
  space_.write({0x1'0000}, data);
  EXPECT_EQ(space_.read({0x1'0000}, 4), 0U);
}

TEST_F(AddressSpaceTest, RomDeviceReadsMemoryAndHearsWrites) {
  const auto block = *RamBlock::create({.size = 16});
  const auto flash = topology_.rom_device("flash", block, registers_);
  root_->add(flash, 0x1'0000);
  block->host()[3] = std::byte{0xa5};
  space_.write({0x1'0003}, 1, 0x90);
  EXPECT_EQ(space_.read({0x1'0003}, 1), 0xa5U);
  EXPECT_EQ(registers_.bytes[3], std::byte{0x90});
  flash->set_rom_readable(false);
  EXPECT_EQ(space_.read({0x1'0003}, 1), 0x90U);
}

TEST_F(AddressSpaceTest, BulkAccessGoesAcrossEverything) {
  root_->add(io_, kRamSize);
  std::vector<std::byte> data(40);
  for (std::size_t i = 0; i < data.size(); ++i) data[i] = static_cast<std::byte>(i + 1);
  space_.write({kRamSize - 8}, data);
  EXPECT_EQ(block_->host()[kRamSize - 1], std::byte{8});
  EXPECT_EQ(registers_.bytes[15], std::byte{24});
  EXPECT_EQ(registers_.writes, 2) << "eight bytes at a time";
  std::vector<std::byte> back(40);
  space_.read({kRamSize - 8}, back);
  EXPECT_TRUE(std::equal(back.begin(), back.begin() + 24, data.begin()));
  EXPECT_TRUE(std::all_of(back.begin() + 24, back.end(), [](std::byte byte) { return byte == std::byte{0xff}; }));
}

TEST_F(AddressSpaceTest, WritesMarkDirtyPages) {
  block_->dirty().start(DirtyClient::kDisplay);
  space_.write({0xfff}, 2, 0);
  space_.write({0x3000}, std::vector<std::byte>(10));
  EXPECT_EQ(block_->dirty().take(DirtyClient::kDisplay, 0, 4), std::vector<std::uint64_t>{0b1011});
}

TEST_F(AddressSpaceTest, ListenerFollowsEveryChange) {
  Mirror mirror;
  space_.add_listener(mirror);
  EXPECT_EQ(mirror.ranges, space_.view()->ranges());
  root_->add(io_, 0x1000, 1);
  EXPECT_EQ(mirror.ranges, space_.view()->ranges());
  EXPECT_EQ(mirror.ranges.size(), 3U);
  io_->set_offset(0x2000);
  ram_->set_read_only(true);
  ram_->set_size(0x1000);
  EXPECT_EQ(mirror.ranges, space_.view()->ranges());
  const int commits = mirror.commits;
  io_->set_offset(0x2000);        // as it was
  ram_->set_size(0x1000);         // as it was
  ram_->set_rom_readable(false);  // means nothing for RAM
  EXPECT_EQ(mirror.commits, commits);
  space_.remove_listener(mirror);
  root_->remove(io_);
  EXPECT_EQ(mirror.commits, commits);
}

TEST_F(AddressSpaceTest, TransactionCommitsOnceAtTheOutermostEnd) {
  Mirror mirror;
  space_.add_listener(mirror);
  const int before = mirror.commits;
  {
    const Transaction outer(topology_);
    root_->add(io_, 0x1000, 1);
    {
      const Transaction inner(topology_);
      io_->set_offset(0x2000);
      ram_->set_enabled(false);
    }
    EXPECT_EQ(mirror.commits, before);
    EXPECT_NE(space_.read({0}, 1), 0xffU) << "the old view until the end";
  }
  EXPECT_EQ(mirror.commits, before + 1);
  EXPECT_EQ(space_.view()->ranges().size(), 1U);
  {
    const Transaction nothing(topology_);
    ram_->set_enabled(true);
    ram_->set_enabled(false);
  }
  EXPECT_EQ(mirror.commits, before + 1);
  space_.remove_listener(mirror);
}

TEST_F(AddressSpaceTest, ListenerMayChangeTheMap) {
  class Follower final : public AddressSpaceListener {
   public:
    explicit Follower(Region& follower) : follower_(follower) {}
    void commit() override { follower_.set_enabled(false); }

   private:
    Region& follower_;
  };
  root_->add(io_, 0x1'0000);
  Follower follower(*io_);
  space_.add_listener(follower);
  EXPECT_EQ(space_.read({0x1'0000}, 1), 0xffU);
  space_.remove_listener(follower);
}

TEST_F(AddressSpaceTest, OneRegionShowsInSeveralSpaces) {
  const auto second_root = topology_.container("second", 0x1'0000);
  const AddressSpace second(topology_, second_root, "second");
  second_root->add(topology_.alias("all", root_, 0, 0x1'0000), 0);
  EXPECT_EQ(second.view()->ranges().size(), 1U);
  ram_->set_enabled(false);
  EXPECT_TRUE(second.view()->ranges().empty());
}

TEST_F(AddressSpaceTest, ViewKeepsARemovedRegionAndItsMemory) {
  const auto view = space_.view();
  root_->remove(ram_);
  ram_.reset();
  const std::weak_ptr<RamBlock> block = block_;
  block_.reset();
  ASSERT_FALSE(block.expired());
  view->ranges()[0].host()[0] = std::byte{1};
}

TEST_F(AddressSpaceTest, DestroyedContainerLeavesItsChildrenFree) {
  auto box = topology_.container("box", 0x1000);
  box->add(io_, 0);
  root_->add(box, 0x1'0000);
  root_->remove(box);
  box.reset();
  root_->add(io_, 0x2'0000);
  space_.write({0x2'0000}, 1, 1);
  EXPECT_EQ(registers_.writes, 1);
}

// --- Doorbells -------------------------------------------------------------------------------------------------------

TEST_F(AddressSpaceTest, DoorbellRingsInsteadOfTheDevice) {
  const auto any = *event::EventFd::create();
  const auto exact = *event::EventFd::create();
  root_->add(io_, 0x1'0000);
  space_.add_io_event({.address = {0x1'0000}, .event = &any});
  space_.add_io_event({.address = {0x1'0004}, .size = 2, .value = 7, .event = &exact});
  space_.write({0x1'0000}, 1, 99);
  space_.write({0x1'0000}, 4, 99);
  EXPECT_EQ(any.drain(), 2U);
  space_.write({0x1'0004}, 2, 0xf'0007);  // bits above the size do not count
  EXPECT_EQ(exact.drain(), 1U);
  EXPECT_EQ(registers_.writes, 0);
  space_.write({0x1'0004}, 2, 8);
  space_.write({0x1'0004}, 4, 7);
  EXPECT_EQ(exact.drain(), 0U);
  EXPECT_EQ(registers_.writes, 2);
  space_.remove_io_event({.address = {0x1'0000}, .event = &any});
  space_.write({0x1'0000}, 1, 99);
  EXPECT_EQ(any.drain(), 0U);
  EXPECT_EQ(registers_.writes, 3);
}

TEST_F(AddressSpaceTest, ListenerHearsOfDoorbells) {
  const auto event = *event::EventFd::create();
  const IoEvent first{.address = {0x10}, .size = 2, .event = &event};
  const IoEvent second{.address = {0x8}, .size = 2, .value = 1, .event = &event};
  space_.add_io_event(first);
  Mirror mirror;
  space_.add_listener(mirror);
  EXPECT_EQ(mirror.events, std::vector<IoEvent>{first});
  space_.add_io_event(second);
  EXPECT_EQ(mirror.events, (std::vector<IoEvent>{first, second}));
  space_.remove_io_event(first);
  space_.remove_io_event(first);  // gone already
  EXPECT_EQ(mirror.events, std::vector<IoEvent>{second});
  space_.remove_listener(mirror);
}

// --- Threads ---------------------------------------------------------------------------------------------------------

/// One register that threads may use at once.
class AtomicRegister final : public IoHandler {
 public:
  [[nodiscard]] std::uint64_t read(std::uint64_t, unsigned) override { return value_; }
  void write(std::uint64_t, unsigned, std::uint64_t value) override { value_ = value; }

 private:
  std::atomic<std::uint64_t> value_{0x55};
};

TEST_F(AddressSpaceTest, AccessesGoOnWhileAnotherThreadRemaps) {
  AtomicRegister device;
  const auto moving = topology_.io("moving", 0x1000, device);
  std::atomic<bool> stop{false};
  std::atomic<bool> wrong{false};
  std::vector<std::thread> readers;
  for (int i = 0; i < 2; ++i)
    readers.emplace_back([&] {
      while (!stop) {
        const std::uint64_t value = space_.read({0x1000}, 1);
        if (value != 0 && value != 0x55 && value != 0xff) wrong = true;
        space_.write({0x1008}, 1, 0x55);
        space_.write({0x2000}, 8, 0);
      }
    });
  Mirror mirror;
  space_.add_listener(mirror);
  for (int i = 0; i < 500; ++i) {
    const Transaction transaction(topology_);
    if (i % 3 == 0)
      root_->add(moving, 0x1000, 1);
    else if (i % 3 == 1)
      moving->set_offset(0x2000);
    else
      root_->remove(moving);
    ram_->set_read_only(i % 7 == 0);
    // A region that dies while others may still be inside its view.
    root_->add(topology_.ram("passing", *RamBlock::create({.size = kPageSize}), 0, kPageSize), 0x1000, -1);
    if (i % 2 == 0) ram_->set_size(i % 4 == 0 ? 0x1000 : kRamSize);
  }
  stop = true;
  for (auto& reader : readers) reader.join();
  EXPECT_FALSE(wrong);
  EXPECT_EQ(mirror.ranges, space_.view()->ranges());
  space_.remove_listener(mirror);
}

TEST_F(AddressSpaceTest, DoorbellMayGoWhileOthersRingIt) {
  std::atomic<bool> stop{false};
  std::thread ringer([&] {
    while (!stop) space_.write({0x8000}, 2, 1);
  });
  for (int i = 0; i < 300; ++i) {
    const auto event = *event::EventFd::create();
    const IoEvent doorbell{.address = {0x8000}, .size = 2, .event = &event};
    space_.add_io_event(doorbell);
    space_.remove_io_event(doorbell);
  }
  stop = true;
  ringer.join();
}

}  // namespace
}  // namespace doppel::memory
