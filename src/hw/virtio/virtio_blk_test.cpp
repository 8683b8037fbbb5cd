#include "hw/virtio/virtio_blk.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "block/fake_disk.h"
#include "hw/virtio/virtio_test_rig.h"

namespace doppel::hw {
namespace {

using block::FakeDisk;
using test::Piece;
using test::Used;
using testing::ElementsAre;
using testing::HasSubstr;
using virtio::Common;
using virtio::Legacy;

constexpr std::uint64_t kModern = 0x2000'0000;
constexpr std::uint16_t kLegacy = 0xc000;
constexpr std::uint64_t kMsix = 0x3000'0000;
constexpr std::uint64_t kHeader = 0x200000;
constexpr std::uint64_t kData = 0x210000;
constexpr std::uint64_t kStatus = 0x2ff000;
constexpr std::uint64_t kBlkConfig = kModern + VirtioPci::kDeviceOffset;

enum BlkType : std::uint32_t { kRead = 0, kWrite = 1, kFlush = 4, kGetId = 8, kDiscard = 11, kZeroes = 13 };

struct BlkRig {
  explicit BlkRig(const VirtioBlkConfig& config = {}, std::size_t disk_size = 4 << 20) : disk(disk_size) {
    for (std::size_t i = 0; i < disk.contents.size(); ++i) disk.contents[i] = static_cast<std::byte>(i / 512 + i);
    build(config);
  }
  void build(const VirtioBlkConfig& config) {
    auto made = create_virtio_blk(pci.services(), {.loop = loop, .ports = &pci.io_space}, disk, config, 1);
    ASSERT_TRUE(made) << made.error().describe();
    function = std::move(*made);
    ASSERT_TRUE(pci.bus.attach(*function, PciAddress{4, 0}));
    power_up();
  }
  void power_up() {
    function->reset();
    function->config_write(0x10, 4, kLegacy);
    function->config_write(0x14, 4, kMsix);
    function->config_write(0x20, 4, kModern);
    function->config_write(0x24, 4, 0);
    function->config_write(0x04, 2, 0x0007);
  }

  std::uint64_t common(Common reg, unsigned size) { return pci.read(kModern + static_cast<unsigned>(reg), size); }
  void set_common(Common reg, unsigned size, std::uint64_t value) {
    pci.memory_space.write({kModern + static_cast<unsigned>(reg)}, size, value);
  }
  std::uint64_t status() { return common(Common::kDeviceStatus, 1); }
  std::uint64_t offered() {
    std::uint64_t features = 0;
    for (unsigned half : {1U, 0U}) {
      set_common(Common::kDeviceFeatureSelect, 4, half);
      features = features << 32U | common(Common::kDeviceFeature, 4);
    }
    return features;
  }
  void negotiate(std::uint64_t features) {
    set_common(Common::kDeviceStatus, 1, 0);
    set_common(Common::kDeviceStatus, 1, 3);
    for (unsigned half : {0U, 1U}) {
      set_common(Common::kDriverFeatureSelect, 4, half);
      set_common(Common::kDriverFeature, 4, features >> 32 * half & 0xffffffff);
    }
    set_common(Common::kDeviceStatus, 1, 0x0b);
  }
  /// Up to DRIVER_OK by the registers of version 1, with FEATURES of those offered.
  void start(std::uint64_t features = ~0ULL, std::uint16_t size = 64) {
    features &= offered();
    negotiate(features);
    ASSERT_EQ(status(), 0x0bU);
    driver = test::QueueDriver::create(ram, 0x10000, size, rings(features));
    set_common(Common::kQueueSelect, 2, 0);
    set_common(Common::kQueueSize, 2, size);
    set_common(Common::kQueueDescriptors, 8, driver->addresses().descriptors);
    set_common(Common::kQueueDriver, 8, driver->addresses().driver);
    set_common(Common::kQueueDevice, 8, driver->addresses().device);
    set_common(Common::kQueueVector, 2, 1);
    set_common(Common::kQueueEnable, 2, 1);
    set_common(Common::kDeviceStatus, 1, 0x0f);
    loop.run_ready();
    driver->want_interrupts(true);
  }
  static RingFeatures rings(std::uint64_t features) {
    return {.packed = (features & virtio::feature::kRingPacked) != 0,
            .event_index = (features & virtio::feature::kEventIndex) != 0,
            .indirect = (features & virtio::feature::kIndirect) != 0};
  }
  void kick(unsigned queue = 0) {
    pci.memory_space.write({kModern + VirtioPci::kNotifyOffset + 4U * queue}, 2, queue);
    loop.run_ready();
  }
  void header(std::uint32_t type, std::uint64_t sector, std::uint64_t at = kHeader) {
    ram.put<std::uint32_t>(at, type);
    ram.put<std::uint32_t>(at + 4, 0);
    ram.put<std::uint64_t>(at + 8, sector);
    ram.put<std::uint8_t>(kStatus, 0xff);
  }
  void offer(std::uint32_t type, std::uint64_t sector, std::vector<Piece> data) {
    header(type, sector);
    data.insert(data.begin(), {kHeader, 16});
    data.push_back({kStatus, 1, true});
    driver->offer(data);
    kick();
  }
  /// Everything until nothing more happens.
  void settle() {
    do loop.run_ready();
    while (disk.finish_one());
    loop.run_ready();
  }
  /// A whole request; its status.
  unsigned request(std::uint32_t type, std::uint64_t sector, std::vector<Piece> data) {
    offer(type, sector, std::move(data));
    settle();
    EXPECT_TRUE(driver->take());
    return ram.get<std::uint8_t>(kStatus);
  }
  std::vector<std::byte> on_disk(std::size_t at, std::size_t size) const {
    return {disk.contents.begin() + static_cast<std::ptrdiff_t>(at),
            disk.contents.begin() + static_cast<std::ptrdiff_t>(at + size)};
  }
  bool interrupted() { return std::exchange(edges, pci.edges.size()) != pci.edges.size(); }

  event::Loop loop;
  test::PciRig pci;
  test::GuestRam ram{pci};
  FakeDisk disk;
  std::unique_ptr<VirtioPci> function;
  std::unique_ptr<test::QueueDriver> driver;
  std::size_t edges = 0;
};

struct VirtioBlkTest : testing::Test, BlkRig {};

TEST_F(VirtioBlkTest, IsFoundAsQemuHasIt) {
  EXPECT_EQ(function->config_read(0, 4), 0x1001'1af4U);
  EXPECT_EQ(function->config_read(0x08, 4), 0x0100'0000U);
  EXPECT_EQ(function->config_read(0x2c, 4), 0x0002'1af4U);
  BlkRig modern([] {
    VirtioBlkConfig config;
    config.disable_legacy = OnOffAuto::kOn;
    return config;
  }());
  EXPECT_EQ(modern.function->config_read(0, 4), 0x1042'1af4U);
  EXPECT_EQ(modern.function->config_read(0x08, 4), 0x0100'0001U);
  EXPECT_FALSE(modern.function->bar_address(0));
}

TEST_F(VirtioBlkTest, ReadsAndWrites) {
  start();
  EXPECT_EQ(request(kRead, 9, {{kData, 512, true}, {kData + 0x1000, 1024, true}}), 0U);
  EXPECT_EQ(ram.bytes(kData, 512), on_disk(9 * 512, 512));
  EXPECT_EQ(ram.bytes(kData + 0x1000, 1024), on_disk(10 * 512, 1024));
  ram.fill(kData, std::vector(1024, std::byte{0x5a}));
  EXPECT_EQ(request(kWrite, 3, {{kData, 100}, {kData, 924}}), 0U);
  EXPECT_EQ(on_disk(3 * 512, 1024), std::vector(1024, std::byte{0x5a}));
  EXPECT_EQ(request(kFlush, 0, {}), 0U);
  EXPECT_EQ(disk.log.back().kind, FakeDisk::Kind::kFlush);
}

TEST_F(VirtioBlkTest, LongRequestsGoThroughInPieces) {
  start();
  const std::uint32_t length = 3 << 20;
  EXPECT_EQ(request(kRead, 0, {{0x300000, length, true}}), 0U);
  EXPECT_EQ(ram.bytes(0x300000, length), on_disk(0, length));
  EXPECT_EQ(disk.log.size(), 2U);
  EXPECT_EQ(disk.log[0].length, VirtioBlk::kLargestPiece);
}

TEST_F(VirtioBlkTest, RequestsMayBeCutAnywhere) {
  start();
  header(kRead, 5);
  driver->offer({{kHeader, 3}, {kHeader + 3, 13}, {kData, 1, true}, {kData + 1, 511, true}, {kStatus, 1, true}});
  kick();
  settle();
  EXPECT_EQ(ram.bytes(kData, 512), on_disk(5 * 512, 512));
  EXPECT_EQ(ram.get<std::uint8_t>(kStatus), 0);
}

TEST_F(VirtioBlkTest, WhatIsBeyondTheDiskFails) {
  start();
  EXPECT_EQ(request(kRead, 8192, {{kData, 512, true}}), 1U);
  EXPECT_EQ(request(kRead, ~0ULL, {{kData, 512, true}}), 1U);
  EXPECT_EQ(request(kWrite, 8191, {{kData, 1024}}), 1U);
  EXPECT_EQ(request(kRead, 0, {{kData, 100, true}}), 1U);
  EXPECT_EQ(request(77, 0, {}), 2U);
  EXPECT_TRUE(disk.log.empty());
  disk.failure = ErrorKind::kIo;
  EXPECT_EQ(request(kRead, 0, {{kData, 512, true}}), 1U);
  EXPECT_EQ(status(), 0x0fU) << "that is no fault of the driver";
}

TEST_F(VirtioBlkTest, DiscardsAndZeroes) {
  start();
  const auto range = [this](std::uint64_t sector, std::uint32_t count, std::uint32_t flags) {
    ram.put(kData, sector);
    ram.put(kData + 8, count);
    ram.put(kData + 12, flags);
    return std::vector<Piece>{{kData, 16}};
  };
  EXPECT_EQ(request(kDiscard, 0, range(8, 16, 0)), 0U);
  EXPECT_EQ(disk.log.back(), (FakeDisk::Request{FakeDisk::Kind::kDiscard, 4096, 8192}));
  EXPECT_EQ(request(kZeroes, 0, range(1, 1, 1)), 0U);
  EXPECT_EQ(disk.log.back(), (FakeDisk::Request{FakeDisk::Kind::kWriteZeroes, 512, 512}));
  const std::size_t before = disk.log.size();
  EXPECT_EQ(request(kDiscard, 0, range(8, 16, 1)), 2U);
  EXPECT_EQ(request(kZeroes, 0, range(8, 16, 2)), 2U);
  EXPECT_EQ(request(kZeroes, 0, range(8191, 2, 0)), 1U);
  EXPECT_EQ(request(kZeroes, 0, range(~0ULL, 2, 0)), 1U);
  EXPECT_EQ(request(kZeroes, 0, {{kData, 8}}), 2U);
  EXPECT_EQ(disk.log.size(), before);
}

TEST_F(VirtioBlkTest, TellsOfItself) {
  start();
  EXPECT_EQ(pci.read(kBlkConfig, 4), 8192U);
  EXPECT_EQ(pci.read(kBlkConfig + 12, 4), 254U);
  EXPECT_EQ(pci.read(kBlkConfig + 20, 4), 512U);
  EXPECT_EQ(pci.read(kBlkConfig + 32, 1), 1U);
  EXPECT_EQ(pci.read(kBlkConfig + 34, 2), 1U);
  EXPECT_EQ(pci.read(kBlkConfig + 100, 4), 0U);
}

TEST(VirtioBlk, HasASerialNumber) {
  VirtioBlkConfig config;
  config.serial = "S-1";
  BlkRig rig(config);
  rig.start();
  EXPECT_EQ(rig.request(kGetId, 0, {{kData, 20, true}}), 0U);
  EXPECT_EQ(rig.ram.get<std::uint32_t>(kData), 0x00312d53U);
}

TEST_F(VirtioBlkTest, TheWriteCacheCanBeSwitched) {
  start();
  EXPECT_EQ(request(kWrite, 0, {{kData, 512}}), 0U);
  EXPECT_EQ(disk.log.back().kind, FakeDisk::Kind::kWrite);
  pci.memory_space.write({kBlkConfig + 32}, 1, 0);
  EXPECT_EQ(pci.read(kBlkConfig + 32, 1), 0U);
  EXPECT_EQ(request(kWrite, 0, {{kData, 512}}), 0U);
  EXPECT_EQ(disk.log.back().kind, FakeDisk::Kind::kFlush);
}

TEST_F(VirtioBlkTest, ADriverWithoutFlushesHasDurableWrites) {
  start(~(1ULL << 9U | 1ULL << 11U));
  EXPECT_EQ(request(kWrite, 0, {{kData, 512}}), 0U);
  EXPECT_EQ(disk.log.back().kind, FakeDisk::Kind::kFlush);
}

TEST_F(VirtioBlkTest, AReadOnlyDiskSaysSo) {
  disk.is_read_only = true;
  start();
  EXPECT_NE(offered() & 1U << 5U, 0U);
  EXPECT_EQ(offered() & 1U << 13U, 0U);
  EXPECT_EQ(request(kWrite, 0, {{kData, 512}}), 1U);
  EXPECT_TRUE(disk.log.empty());
}

TEST_F(VirtioBlkTest, ABatchIsOneInterrupt) {
  start(~virtio::feature::kEventIndex);
  header(kRead, 1);
  for (unsigned i = 0; i < 10; ++i) driver->offer({{kHeader, 16}, {kData + 512 * i, 512, true}, {kStatus, 1, true}});
  EXPECT_FALSE(interrupted());
  kick();
  while (disk.finish_one()) {
  }
  EXPECT_FALSE(interrupted());
  loop.run_ready();
  EXPECT_EQ(pci.edges.size(), 1U);
  for (unsigned i = 0; i < 10; ++i) EXPECT_TRUE(driver->take());
  EXPECT_EQ(pci.read(kModern + VirtioPci::kIsrOffset), 1U);
  EXPECT_EQ(pci.edges.size(), 2U) << "reading the status lowers the line";
  EXPECT_EQ(pci.read(kModern + VirtioPci::kIsrOffset), 0U);
}

TEST_F(VirtioBlkTest, InterruptsTravelAsMessages) {
  pci.memory_space.write({kMsix + 16}, 4, 0xfee0'0000);
  pci.memory_space.write({kMsix + 24}, 4, 0x55);
  pci.memory_space.write({kMsix + 28}, 4, 1);  // masked
  const auto capability = [this](std::uint8_t id) {
    unsigned at = function->config_read(0x34, 1);
    while (at != 0 && function->config_read(at, 1) != id) at = function->config_read(at + 1, 1);
    return at;
  };
  function->config_write(capability(0x11) + 2, 2, 0x8000);
  start();
  EXPECT_EQ(common(Common::kQueueVector, 2), 1U);
  EXPECT_EQ(request(kRead, 0, {{kData, 512, true}}), 0U);
  EXPECT_TRUE(pci.msi.messages.empty());
  EXPECT_EQ(pci.read(kMsix + 0x800, 4), 2U) << "pending";
  pci.memory_space.write({kMsix + 28}, 4, 0);
  EXPECT_THAT(pci.msi.messages, ElementsAre(MsiMessage{0xfee0'0000, 0x55}));
  EXPECT_EQ(request(kRead, 0, {{kData, 512, true}}), 0U);
  EXPECT_EQ(pci.msi.messages.size(), 2U);
  EXPECT_FALSE(interrupted());
  set_common(Common::kQueueVector, 2, 2);
  EXPECT_EQ(common(Common::kQueueVector, 2), 0xffffU) << "there are two";
}

TEST_F(VirtioBlkTest, RegistersOfBeforeVersion1) {
  constexpr std::uint16_t kPage = 0x20;
  const auto port = [](Legacy reg) { return kLegacy + static_cast<unsigned>(reg); };
  pci.out(port(Legacy::kDeviceStatus), 1, 3);
  const std::uint64_t features = pci.in(port(Legacy::kDeviceFeatures), 4);
  EXPECT_NE(features & virtio::feature::kEventIndex, 0U);
  pci.out(port(Legacy::kDriverFeatures), 4, 0);
  EXPECT_EQ(pci.in(port(Legacy::kQueueSize), 2), 256U);
  pci.out(port(Legacy::kQueueAddress), 4, kPage);
  EXPECT_EQ(pci.in(port(Legacy::kQueueAddress), 4), kPage);
  pci.out(port(Legacy::kDeviceStatus), 1, 7);
  EXPECT_EQ(pci.in(kLegacy + 20, 4), 8192U) << "the capacity";
  // By hand: the driver of the tests has its areas elsewhere.
  const std::uint64_t base = std::uint64_t{kPage} << 12U;
  header(kRead, 2);
  ram.put(base,
          SplitDescriptor{.address = kHeader, .length = 16U, .flags = std::uint16_t{1}, .next = std::uint16_t{1}});
  ram.put(base + 16,
          SplitDescriptor{.address = kData, .length = 512U, .flags = std::uint16_t{3}, .next = std::uint16_t{2}});
  ram.put(base + 32,
          SplitDescriptor{.address = kStatus, .length = 1U, .flags = std::uint16_t{2}, .next = std::uint16_t{0}});
  ram.put<std::uint16_t>(base + 4096 + 2, 1);
  pci.out(port(Legacy::kQueueNotify), 2, 0);
  settle();
  EXPECT_EQ(ram.bytes(kData, 512), on_disk(1024, 512));
  EXPECT_EQ(ram.get<std::uint16_t>(base + 8192 + 2), 1U);
  EXPECT_EQ(pci.in(port(Legacy::kIsrStatus)), 1U);
  EXPECT_EQ(pci.in(port(Legacy::kIsrStatus)), 0U);
  pci.out(port(Legacy::kDeviceStatus), 1, 0);
  EXPECT_EQ(pci.in(port(Legacy::kQueueAddress), 4), 0U);
}

TEST_F(VirtioBlkTest, FeaturesAreAgreedUpon) {
  negotiate(virtio::feature::kVersion1 | 1ULL << 60U);
  EXPECT_EQ(status(), 0x03U) << "that was not offered";
  negotiate(virtio::feature::kVersion1);
  EXPECT_EQ(status(), 0x0bU);
  set_common(Common::kDriverFeatureSelect, 4, 0);
  set_common(Common::kDriverFeature, 4, ~0U);
  EXPECT_EQ(common(Common::kDriverFeature, 4), 0U) << "too late";
  EXPECT_EQ(offered() & virtio::feature::kRingPacked, 0U) << "only with packed=on";
}

TEST_F(VirtioBlkTest, ABrokenQueueIsToldOnceAndNeedsAReset) {
  start();
  header(kRead, 0);
  driver->offer({{kHeader, 16}, {1ULL << 40U, 512, true}, {kStatus, 1, true}});
  kick();
  settle();
  EXPECT_EQ(status(), 0x4fU);
  EXPECT_EQ(pci.read(kModern + VirtioPci::kIsrOffset), 2U) << "a change of configuration";
  driver->offer({{kHeader, 16}, {kData, 512, true}, {kStatus, 1, true}});
  kick();
  settle();
  EXPECT_FALSE(driver->take()) << "it does nothing more";
  start();
  EXPECT_EQ(request(kRead, 0, {{kData, 512, true}}), 0U);
}

TEST_F(VirtioBlkTest, RequestsWithoutHeaderOrStatusBreakTheRules) {
  for (const auto& pieces : {std::vector<Piece>{{kHeader, 15}, {kStatus, 1, true}}, std::vector<Piece>{{kHeader, 16}},
                             std::vector<Piece>{{kStatus, 1, true}}}) {
    start();
    header(kRead, 0);
    driver->offer(pieces);
    kick();
    EXPECT_EQ(status(), 0x4fU);
  }
}

TEST_F(VirtioBlkTest, TheDiskWorksOnGuestMemory) {
  start();
  const std::uint64_t pages[] = {kData, kData + 0x1000, kData + 0x5000};
  offer(kRead, 0, {{pages[0], 4096, true}, {pages[1], 4096, true}, {pages[2], 512, true}});
  ASSERT_EQ(disk.waiting.size(), 1U);
  const block::Buffers& lent = disk.waiting.front().buffers;
  ASSERT_EQ(lent.size(), 2U) << "neighbours are one piece";
  EXPECT_EQ(lent[0].iov_base, ram.block->host() + pages[0]);
  EXPECT_EQ(lent[0].iov_len, 8192U);
  EXPECT_EQ(lent[1].iov_base, ram.block->host() + pages[2]);
  memory::DirtyBitmap& dirty = ram.block->dirty();
  dirty.start(memory::DirtyClient::kMigration);
  settle();
  const auto is_dirty = [&](std::uint64_t at) { return dirty.test(memory::DirtyClient::kMigration, at / 4096); };
  EXPECT_TRUE(is_dirty(pages[0]));
  EXPECT_TRUE(is_dirty(pages[1]));
  EXPECT_TRUE(is_dirty(pages[2]));
  EXPECT_FALSE(is_dirty(kData + 0x2000));
}

TEST_F(VirtioBlkTest, AResetHasEndedWhenTheDiskLetsGoOfMemory) {
  start();
  offer(kRead, 0, {{kData, 512, true}});
  set_common(Common::kDeviceStatus, 1, 0);
  EXPECT_EQ(status(), 0x0fU);
  settle();
  EXPECT_EQ(status(), 0U);
}

/// A driver of the old interface takes its memory back at once.
TEST_F(VirtioBlkTest, AResetKeepsOldRequestsFromTheGuest) {
  start(~virtio::feature::kVersion1);
  ram.fill(kData, std::vector(512, std::byte{0x11}));
  offer(kRead, 0, {{kData, 512, true}});
  ASSERT_EQ(disk.waiting.size(), 1U);
  start(~virtio::feature::kVersion1);
  offer(kRead, 7, {{kData + 512, 512, true}});
  EXPECT_EQ(disk.waiting.size(), 1U) << "the new one waits for the old one";
  disk.finish_one();
  loop.run_ready();
  EXPECT_EQ(ram.bytes(kData, 512), std::vector(512, std::byte{0x11}));
  settle();
  EXPECT_TRUE(driver->take());
  EXPECT_EQ(ram.bytes(kData + 512, 512), on_disk(7 * 512, 512));
}

TEST_F(VirtioBlkTest, IsSavedWithRequestsUnderWay) {
  start();
  EXPECT_EQ(request(kRead, 0, {{kData, 512, true}}), 0U);
  offer(kRead, 3, {{kData, 512, true}});
  state::Writer writer;
  function->save(writer);
  settle();
  ram.fill(kData, std::vector(512, std::byte{}));
  ram.put<std::uint8_t>(kStatus, 0xff);
  // Taken back to before: the used index too, which is the guest's memory.
  ram.put<std::uint16_t>(driver->addresses().device + 2, 1);
  state::Reader reader(writer.bytes());
  const auto loaded = function->load(reader);
  ASSERT_TRUE(loaded) << loaded.error().describe();
  settle();
  EXPECT_EQ(ram.bytes(kData, 512), on_disk(3 * 512, 512));
  EXPECT_EQ(ram.get<std::uint8_t>(kStatus), 0);
  EXPECT_TRUE(driver->take());
  EXPECT_EQ(request(kRead, 4, {{kData, 512, true}}), 0U);
}

TEST_F(VirtioBlkTest, IsSavedWhateverTheDriverWrote) {
  const auto goes_round = [this] { return test::transfer(*function, *function).has_value(); };
  set_common(Common::kDriverFeatureSelect, 4, 1);
  set_common(Common::kDriverFeature, 4, ~0U);
  EXPECT_TRUE(goes_round()) << "features that were not agreed upon";
  start();
  header(kRead, 0);
  driver->offer({{kHeader, 15}, {kStatus, 1, true}});
  kick();
  EXPECT_EQ(status(), 0x4fU);
  EXPECT_TRUE(goes_round()) << "a chain that broke the rules";
  EXPECT_EQ(status(), 0x4fU);
}

TEST_F(VirtioBlkTest, NothingHappensWithoutABusMaster) {
  start();
  function->config_write(0x04, 2, 0x0003);
  offer(kRead, 0, {{kData, 512, true}});
  settle();
  EXPECT_TRUE(disk.log.empty());
  EXPECT_EQ(status(), 0x0fU);
}

TEST_F(VirtioBlkTest, MemoryUnderWayIsBounded) {
  start(~virtio::feature::kVersion1);
  header(kRead, 0);
  for (unsigned i = 0; i < 30; ++i)
    driver->offer({{kHeader, 16}, {0x300000, 4 << 20, true}, {kStatus, 1, true}}, 0x2f0000);
  kick();
  EXPECT_EQ(disk.waiting.size(), VirtioBlk::kMostData / VirtioBlk::kLargestPiece);
  settle();
  unsigned done = 0;
  while (driver->take()) ++done;
  EXPECT_EQ(done, 30U) << "the others went on when there was room";
}

TEST_F(VirtioBlkTest, IsReachedByConfigurationSpace) {
  unsigned at = function->config_read(0x34, 1);
  while (at != 0 && (function->config_read(at, 1) != 0x09 || function->config_read(at + 3, 1) != 5))
    at = function->config_read(at + 1, 1);
  ASSERT_NE(at, 0U);
  const auto choose = [&](std::uint32_t offset, std::uint32_t length) {
    function->config_write(at + 4, 1, VirtioPci::kModernBar);
    function->config_write(at + 8, 4, offset);
    function->config_write(at + 12, 4, length);
  };
  choose(20, 1);
  function->config_write(at + 16, 1, 3);
  EXPECT_EQ(status(), 3U);
  EXPECT_EQ(function->config_read(at + 16, 4), 3U);
  choose(VirtioPci::kDeviceOffset, 4);
  EXPECT_EQ(function->config_read(at + 16, 4), 8192U);
  choose(0xffff'fffc, 4);
  EXPECT_EQ(function->config_read(at + 16, 4), 8192U) << "nothing is there, nothing changes";
}

TEST(VirtioBlk, RefusesWhatMakesNoSense) {
  BlkRig rig;
  const auto refused = [&rig](auto change) {
    VirtioBlkConfig config;
    change(config);
    const auto made = create_virtio_blk(rig.pci.services(), {.loop = rig.loop}, rig.disk, config, 1);
    return made ? std::string() : made.error().describe();
  };
  EXPECT_THAT(refused([](auto& c) { c.iommu_platform = true; }), HasSubstr("no IOMMU"));
  EXPECT_THAT(refused([](auto& c) { c.queue_size = 100; }), HasSubstr("power of two"));
  EXPECT_THAT(refused([](auto& c) { c.num_queues = 0; }), HasSubstr("num-queues=0"));
  EXPECT_THAT(refused([](auto& c) { c.serial = std::string(21, 'x'); }), HasSubstr("up to 20"));
  EXPECT_THAT(refused([](auto& c) { c.logical_block_size = 1000; }), HasSubstr("power of two"));
  EXPECT_THAT(refused([](auto& c) { c.logical_block_size = 4096; }), HasSubstr("physical_block_size"));
  EXPECT_THAT(refused([](auto& c) { c.min_io_size = 100; }), HasSubstr("whole blocks"));
  EXPECT_THAT(refused([](auto& c) { c.max_discard_sectors = 0; }), HasSubstr("1 to"));
  EXPECT_THAT(refused([](auto& c) { c.vectors = 3000; }), HasSubstr("vectors=3000"));
  EXPECT_THAT(refused([](auto& c) {
                c.disable_modern = true;
                c.packed = true;
              }),
              HasSubstr("packed=on"));
  EXPECT_THAT(refused([](auto& c) {
                c.disable_modern = true;
                c.disable_legacy = OnOffAuto::kOn;
              }),
              HasSubstr("leave no registers"));
}

TEST(VirtioBlk, WorksWithEachKindOfQueue) {
  for (const bool packed : {false, true}) {
    for (const bool event : {false, true}) {
      VirtioBlkConfig config;
      config.packed = packed;
      config.event_idx = event;
      config.disable_legacy = OnOffAuto::kOn;
      BlkRig rig(config);
      rig.start(~0ULL, packed ? 33 : 32);
      for (unsigned i = 0; i < 200; ++i) {
        ASSERT_EQ(rig.request(kRead, i, {{kData, 512, true}}), 0U);
        ASSERT_EQ(rig.ram.bytes(kData, 512), rig.on_disk(std::size_t{i} * 512, 512));
      }
    }
  }
}

}  // namespace
}  // namespace doppel::hw
