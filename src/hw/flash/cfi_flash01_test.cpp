// The flash chip: its commands by the data sheet, what the guest sees of it as memory, and what reaches the disk.
#include "hw/flash/cfi_flash01.h"

#include <gtest/gtest.h>

#include "block/fake_disk.h"
#include "memory/address_space.h"

namespace doppel::hw {
namespace {

constexpr std::uint64_t kBase = 0xffc00000;
constexpr std::uint64_t kSize = 64 << 10;

struct CfiFlash01Test : testing::Test {
  explicit CfiFlash01Test(bool read_only = false) {
    disk.is_read_only = read_only;
    std::ranges::fill(disk.contents, std::byte{0xff});
    disk.contents[0x1234] = std::byte{0x5a};
    chip = CfiFlash01::create(topology, "flash", disk.contents, disk, {}).value();
    space.root().add(chip->region(), kBase);
  }
  std::uint8_t load(std::uint64_t offset) { return static_cast<std::uint8_t>(space.read({kBase + offset}, 1)); }
  void store(std::uint64_t offset, std::uint8_t value) { space.write({kBase + offset}, 1, value); }
  void store(std::uint64_t offset, std::initializer_list<std::uint8_t> values) {
    for (const std::uint8_t value : values) store(offset, value);
  }
  bool shows_memory() { return space.view()->find({kBase})->readable_ram; }
  std::uint8_t on_disk(std::size_t offset) { return std::to_integer<std::uint8_t>(disk.contents.at(offset)); }
  std::vector<std::byte> saved() {
    state::Writer writer;
    chip->save(writer);
    return writer.bytes();
  }

  block::FakeDisk disk{kSize};
  memory::Topology topology;
  memory::AddressSpace space{topology, topology.container("memory", 0), "memory"};
  std::unique_ptr<CfiFlash01> chip;
};
struct ReadOnlyCfiFlash01Test : CfiFlash01Test {
  ReadOnlyCfiFlash01Test() : CfiFlash01Test(true) {}
};

TEST_F(CfiFlash01Test, IsMemoryUntilACommandComes) {
  EXPECT_TRUE(shows_memory());
  EXPECT_EQ(space.read({kBase + 0x1234}, 4), 0xffff'ff5aU);
  store(0, 0x70);
  EXPECT_FALSE(shows_memory());
  EXPECT_EQ(load(0x1234), 0x80);
  store(0, 0xff);
  EXPECT_TRUE(shows_memory());
  EXPECT_EQ(load(0x1234), 0x5a);
}

TEST_F(CfiFlash01Test, AnswersQueriesAndIdentifiers) {
  store(0x55, 0x98);
  EXPECT_EQ(load(0x10), 'Q');
  EXPECT_EQ(load(0x11), 'R');
  EXPECT_EQ(load(0x12), 'Y');
  EXPECT_EQ(load(0x13), 1) << "Intel's extended command set";
  EXPECT_EQ(load(0x27), 16) << "2^16 bytes";
  EXPECT_EQ(load(0x2a), 8) << "a buffer of 2^8 bytes";
  EXPECT_EQ(load(0x2c), 1);
  EXPECT_EQ(load(0x2d) | load(0x2e) << 8, 15) << "blocks less one";
  EXPECT_EQ(load(0x2f) | load(0x30) << 8, 16) << "4 KiB in units of 256";
  EXPECT_EQ(load(load(0x15)), 'P');
  EXPECT_EQ(load(0xf000), 0);
  store(0, 0x90);
  EXPECT_EQ(load(0), 0x89);
  EXPECT_EQ(load(1), 0x18);
  EXPECT_EQ(load(0x1002), 0) << "unlocked";
}

TEST_F(CfiFlash01Test, ProgrammingClearsBitsAndReachesTheDisk) {
  store(0x2000, {0x40, 0x3c});
  EXPECT_EQ(load(0), 0x80);
  store(0x2000, {0x10, 0xf0});
  disk.finish_all();
  EXPECT_EQ(on_disk(0x2000), 0x30);
  EXPECT_EQ(disk.log.back().kind, block::FakeDisk::Kind::kFlush);
  store(0, 0xff);
  EXPECT_EQ(load(0x2000), 0x30);
}

TEST_F(CfiFlash01Test, ErasesOneBlock) {
  for (const std::uint64_t offset : {0x0fffU, 0x1000U, 0x1fffU, 0x2000U}) store(offset, {0x40, 0x00});
  store(0x1800, {0x20, 0xd0});
  EXPECT_EQ(load(0), 0x80);
  disk.finish_all();
  EXPECT_EQ(on_disk(0x0fff), 0x00);
  EXPECT_EQ(on_disk(0x1000), 0xff);
  EXPECT_EQ(on_disk(0x1234), 0xff);
  EXPECT_EQ(on_disk(0x1fff), 0xff);
  EXPECT_EQ(on_disk(0x2000), 0x00);
}

TEST_F(CfiFlash01Test, BufferedWrites) {
  store(0x3000, {0xe8, 2});
  EXPECT_EQ(load(0), 0x80) << "the buffer is free";
  store(0x3010, 0x11);
  store(0x3011, 0x22);
  store(0x3012, 0x33);
  EXPECT_EQ(std::to_integer<int>(chip->region()->ram()->bytes()[0x3010]), 0xff) << "not before it is confirmed";
  store(0x3000, 0xd0);
  EXPECT_EQ(load(0), 0x80);
  disk.finish_all();
  EXPECT_EQ(on_disk(0x3010), 0x11);
  EXPECT_EQ(on_disk(0x3012), 0x33);
}

TEST_F(CfiFlash01Test, WrongSequencesAreErrorsUntilCleared) {
  store(0x1000, {0x20, 0x70});
  EXPECT_EQ(load(0), 0xb0) << "no confirmation";
  store(0, 0x50);
  EXPECT_TRUE(shows_memory());
  store(0, 0x70);
  EXPECT_EQ(load(0), 0x00) << "as OVMF wants it";
  store(0x3000, {0xe8, 1});
  store(0x4000, 0x11);
  EXPECT_EQ(load(0), 0xb0) << "another block";
  store(0, {0x50, 0xe8, 0, 0x11, 0x22});
  EXPECT_EQ(load(0), 0xb0) << "no confirmation of a buffer";
  store(0, {0x50, 0x60, 0x01});
  EXPECT_EQ(load(0), 0x80);
  EXPECT_TRUE(disk.log.empty());
}

TEST_F(ReadOnlyCfiFlash01Test, IsWriteProtected) {
  store(0x1234, {0x40, 0x00});
  EXPECT_EQ(load(0), 0x92);
  store(0, 0x50);
  store(0x1000, {0x20, 0xd0});
  EXPECT_EQ(load(0), 0xa2);
  store(0, 0x50);
  store(0x1000, {0xe8, 0});
  store(0x1000, {0x00, 0xd0});
  EXPECT_EQ(load(0), 0x92);
  store(0, 0x90);
  EXPECT_EQ(load(0x1002), 1) << "locked";
  store(0, 0xff);
  EXPECT_EQ(load(0x1234), 0x5a);
  EXPECT_TRUE(disk.log.empty());
}

TEST_F(CfiFlash01Test, ChangesWhileADiskWritesGoTogether) {
  store(0x1000, {0x40, 0x01});
  for (unsigned i = 1; i < 100; ++i) store(0x1000 + i, {0x40, 0x02});
  store(0x2000, {0x40, 0x03});
  EXPECT_EQ(disk.waiting.size(), 1U);
  disk.finish_all();
  using Kind = block::FakeDisk::Kind;
  EXPECT_EQ(disk.log, (std::vector<block::FakeDisk::Request>{
                          {Kind::kWrite, 0x1000, 0x1000}, {Kind::kWrite, 0x1000, 0x2000}, {Kind::kFlush, 0, 0}}));
  EXPECT_EQ(on_disk(0x1063), 0x02);
  EXPECT_EQ(on_disk(0x2000), 0x03);
}

TEST_F(CfiFlash01Test, TellsOfADiskThatFailedAndTriesAgain) {
  disk.failure = ErrorKind::kIo;
  store(0x1000, {0x40, 0x01});
  disk.finish_all();
  EXPECT_EQ(load(0), 0x90);
  store(0, 0x50);
  disk.failure = {};
  store(0x2000, {0x40, 0x02});
  disk.finish_all();
  EXPECT_EQ(load(0), 0x80);
  EXPECT_EQ(on_disk(0x1000), 0x01);
  EXPECT_EQ(on_disk(0x2000), 0x02);
}

TEST_F(CfiFlash01Test, WhatWaitsIsWrittenWhenTheChipIsGone) {
  store(0x1000, {0x40, 0x01});
  store(0x2000, {0x40, 0x02});
  space.root().remove(chip->region());
  chip.reset();
  disk.finish_all();
  EXPECT_EQ(on_disk(0x2000), 0x02);
}

TEST_F(CfiFlash01Test, IsSavedInTheMiddleOfACommand) {
  store(0x3000, {0xe8, 1});
  store(0x3010, 0x11);
  const auto before = saved();
  chip->reset();
  EXPECT_TRUE(shows_memory());
  state::Reader reader(before);
  ASSERT_TRUE(chip->load(reader));
  EXPECT_FALSE(shows_memory());
  EXPECT_EQ(saved(), before);
  store(0x3011, 0x22);
  store(0x3000, 0xd0);
  disk.finish_all();
  EXPECT_EQ(on_disk(0x3010), 0x11);
  EXPECT_EQ(on_disk(0x3011), 0x22);
}

TEST_F(CfiFlash01Test, DamagedStatesAreRefused) {
  const auto refuses = [&](CfiFlash01State saved) {
    state::Writer writer;
    state::save(writer, std::move(saved));
    state::Reader reader(writer.bytes());
    return !chip->load(reader);
  };
  EXPECT_TRUE(refuses({.mode = static_cast<FlashMode>(99)}));
  EXPECT_TRUE(refuses({.mode = FlashMode::kBufferData}));
  EXPECT_TRUE(refuses({.mode = FlashMode::kBufferData, .buffer_size = 300}));
  EXPECT_TRUE(refuses({.mode = FlashMode::kBufferConfirm, .buffer_size = 1, .buffer = {{.offset = kSize}}}));
  EXPECT_TRUE(refuses({.mode = FlashMode::kBufferData, .buffer_block = kSize, .buffer_size = 1}));
  EXPECT_FALSE(refuses({.mode = FlashMode::kBufferConfirm, .buffer_size = 1, .buffer = {{.offset = kSize - 1}}}));
}

}  // namespace
}  // namespace doppel::hw
