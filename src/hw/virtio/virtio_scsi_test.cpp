#include "hw/virtio/virtio_scsi.h"

#include <gtest/gtest.h>

#include "block/fake_disk.h"
#include "hw/virtio/virtio_test_rig.h"

namespace doppel::hw {
namespace {

using block::FakeDisk;
using test::Piece;
using virtio::Common;

constexpr std::uint64_t kModern = 0x2000'0000;
constexpr std::uint64_t kRequest = 0x200000;
constexpr std::uint64_t kResponse = 0x201000;
constexpr std::uint64_t kControl = 0x202000;
constexpr std::uint64_t kData = 0x210000;
constexpr std::uint32_t kRequestSize = 19 + 32;
constexpr std::uint32_t kResponseSize = 12 + 96;

struct VirtioScsiTest : testing::Test {
  VirtioScsiTest() {
    for (std::size_t i = 0; i < disk.contents.size(); ++i) disk.contents[i] = static_cast<std::byte>(i / 512 + i);
    EXPECT_TRUE(bus.add({3, 1}, std::make_unique<ScsiDisk>(ScsiKind::kDisk, &disk, ScsiDiskConfig{}, Logger())));
    auto made = create_virtio_scsi(pci.services(), {.loop = loop, .ports = &pci.io_space}, bus, {}, 1);
    EXPECT_TRUE(made) << made.error().describe();
    function = std::move(*made);
    EXPECT_TRUE(pci.bus.attach(*function, PciAddress{4, 0}));
    function->reset();
    function->config_write(0x20, 4, kModern);
    function->config_write(0x24, 4, 0);
    function->config_write(0x04, 2, 0x0007);
    start();
  }
  void set(Common reg, unsigned size, std::uint64_t value) {
    pci.memory_space.write({kModern + static_cast<unsigned>(reg)}, size, value);
  }
  void start() {
    set(Common::kDeviceStatus, 1, 0);
    set(Common::kDriverFeatureSelect, 4, 1);
    set(Common::kDriverFeature, 4, virtio::feature::kVersion1 >> 32U);
    set(Common::kDeviceStatus, 1, 0x0b);
    for (unsigned queue = 0; queue < 3; ++queue) {
      drivers.at(queue) = test::QueueDriver::create(ram, 0x10000 + 0x10000 * queue, 64, {});
      set(Common::kQueueSelect, 2, queue);
      set(Common::kQueueSize, 2, 64);
      set(Common::kQueueDescriptors, 8, drivers.at(queue)->addresses().descriptors);
      set(Common::kQueueDriver, 8, drivers.at(queue)->addresses().driver);
      set(Common::kQueueDevice, 8, drivers.at(queue)->addresses().device);
      set(Common::kQueueEnable, 2, 1);
    }
    set(Common::kDeviceStatus, 1, 0x0f);
    loop.run_ready();
  }
  std::uint64_t status() { return pci.read(kModern + static_cast<unsigned>(Common::kDeviceStatus), 1); }
  void kick(unsigned queue) {
    pci.memory_space.write({kModern + VirtioPci::kNotifyOffset + 4U * queue}, 2, queue);
    loop.run_ready();
  }
  void lun(std::uint64_t at, std::uint8_t target, std::uint16_t unit) {
    for (unsigned i = 0; i < 8; ++i) ram.put<std::uint8_t>(at + i, 0);
    ram.put<std::uint8_t>(at, 1);
    ram.put<std::uint8_t>(at + 1, target);
    ram.put<std::uint8_t>(at + 2, static_cast<std::uint8_t>(0x40U | unit >> 8U));
    ram.put<std::uint8_t>(at + 3, static_cast<std::uint8_t>(unit));
  }
  void offer(const std::vector<std::uint8_t>& cdb, std::vector<Piece> data, std::uint8_t target = 3,
             std::uint16_t unit = 1, std::uint64_t tag = 77) {
    lun(kRequest, target, unit);
    ram.put(kRequest + 8, tag);
    for (unsigned i = 0; i < 32; ++i)
      ram.put<std::uint8_t>(kRequest + 19 + i, i < cdb.size() ? cdb[i] : std::uint8_t{0});
    for (unsigned i = 0; i < kResponseSize; ++i) ram.put<std::uint8_t>(kResponse + i, 0xee);
    std::vector<Piece> chain{{kRequest, kRequestSize}};
    for (const Piece& piece : data)
      if (!piece.writable) chain.push_back(piece);
    chain.push_back({kResponse, kResponseSize, true});
    for (const Piece& piece : data)
      if (piece.writable) chain.push_back(piece);
    drivers[2]->offer(chain);
    kick(2);
  }
  void settle() {
    do loop.run_ready();
    while (disk.finish_one());
    loop.run_ready();
  }
  std::uint8_t response() const { return ram.get<std::uint8_t>(kResponse + 11); }
  std::uint8_t scsi_status() const { return ram.get<std::uint8_t>(kResponse + 10); }
  std::uint32_t residual() const { return ram.get<std::uint32_t>(kResponse + 4); }
  void manage(std::uint32_t subtype, std::uint64_t tag = 77, std::uint8_t target = 3) {
    ram.put<std::uint32_t>(kControl, 0);
    ram.put<std::uint32_t>(kControl + 4, subtype);
    lun(kControl + 8, target, 1);
    ram.put(kControl + 16, tag);
    ram.put<std::uint8_t>(kControl + 32, 0xee);
    drivers[0]->offer({{kControl, 24}, {kControl + 32, 1, true}});
    kick(0);
    loop.run_ready();
  }
  std::uint8_t managed() const { return ram.get<std::uint8_t>(kControl + 32); }

  event::Loop loop;
  test::PciRig pci;
  test::GuestRam ram{pci};
  FakeDisk disk{1 << 20};
  ScsiBus bus;
  std::unique_ptr<VirtioPci> function;
  std::array<std::unique_ptr<test::QueueDriver>, 3> drivers;
};

const std::vector<std::uint8_t> kRead = {0x28, 0, 0, 0, 0, 5, 0, 0, 1};
const std::vector<std::uint8_t> kReady = {0x00};

TEST_F(VirtioScsiTest, CommandsGoToTheirUnits) {
  EXPECT_EQ(function->config_read(0, 4), 0x1004'1af4U);
  offer(kRead, {{kData, 1024, true}});
  settle();
  EXPECT_EQ(response(), 0);
  EXPECT_EQ(scsi_status(), 0);
  EXPECT_EQ(residual(), 512U);
  EXPECT_EQ(drivers[2]->take()->length, kResponseSize + 512);
  EXPECT_EQ(ram.bytes(kData, 512), std::vector(disk.contents.begin() + 5 * 512, disk.contents.begin() + 6 * 512));
  offer({0x2a, 0, 0, 0, 0, 9, 0, 0, 1}, {{kData, 512}});
  settle();
  EXPECT_EQ(response(), 0);
  EXPECT_EQ(ram.bytes(kData, 512), std::vector(disk.contents.begin() + 9 * 512, disk.contents.begin() + 10 * 512));
}

TEST_F(VirtioScsiTest, TheDiskWorksOnGuestMemory) {
  memory::DirtyBitmap& dirty = ram.block->dirty();
  dirty.start(memory::DirtyClient::kMigration);
  const auto is_dirty = [&] { return dirty.test(memory::DirtyClient::kMigration, kData / 4096); };
  offer({0x2a, 0, 0, 0, 0, 9, 0, 0, 1}, {{kData, 512}});
  ASSERT_EQ(disk.waiting.size(), 1U);
  EXPECT_EQ(disk.waiting.front().buffers.front().iov_base, ram.block->host() + kData);
  settle();
  EXPECT_FALSE(is_dirty()) << "it was only read";
  offer(kRead, {{kData, 512, true}});
  ASSERT_EQ(disk.waiting.size(), 1U);
  EXPECT_EQ(disk.waiting.front().buffers.front().iov_base, ram.block->host() + kData);
  settle();
  EXPECT_TRUE(is_dirty());
}

TEST_F(VirtioScsiTest, AnswersSayWhatIsWrong) {
  offer(kReady, {}, 4);
  settle();
  EXPECT_EQ(response(), 3) << "no such target";
  offer(kReady, {}, 3, 2);
  settle();
  EXPECT_EQ(response(), 0);
  EXPECT_EQ(scsi_status(), 2) << "no such unit";
  EXPECT_EQ(ram.get<std::uint32_t>(kResponse), 18U);
  EXPECT_EQ(ram.get<std::uint8_t>(kResponse + 12 + 12), 0x25);
  offer(kRead, {{kData, 100, true}});
  settle();
  EXPECT_EQ(response(), 1) << "no room";
  EXPECT_EQ(status(), 0x0fU);
  EXPECT_TRUE(disk.log.empty());
}

TEST_F(VirtioScsiTest, BrokenRulesNeedAReset) {
  drivers[2]->offer({{kRequest, kRequestSize}, {kResponse, 8, true}});
  kick(2);
  EXPECT_EQ(status(), 0x4fU);
  start();
  offer(kRead, {{1ULL << 40U, 512, true}});
  settle();
  EXPECT_EQ(status(), 0x4fU);
  start();
  drivers[0]->offer({{kControl, 3}, {kControl, 1, true}});
  kick(0);
  EXPECT_EQ(status(), 0x4fU);
  start();
  offer(kRead, {{kData, 512, true}});
  settle();
  EXPECT_EQ(response(), 0) << "all is well after a reset";
}

TEST_F(VirtioScsiTest, TasksAreAborted) {
  offer(kRead, {{kData, 512, true}});
  ASSERT_EQ(disk.waiting.size(), 1U);
  manage(6);
  EXPECT_EQ(managed(), 10) << "it is there";
  manage(0, 78);
  EXPECT_EQ(managed(), 0) << "there is no such task, so it has ended";
  manage(0);
  EXPECT_EQ(managed(), 0xee) << "the function waits for the task's end";
  settle();
  EXPECT_EQ(managed(), 0);
  EXPECT_EQ(response(), 2);
  manage(6);
  EXPECT_EQ(managed(), 0) << "it is gone";
  manage(0, 77, 9);
  EXPECT_EQ(managed(), 3);
  manage(99);
  EXPECT_EQ(managed(), 11);
}

TEST_F(VirtioScsiTest, UnitsAreReset) {
  offer(kRead, {{kData, 512, true}});
  manage(5);
  EXPECT_EQ(managed(), 0xee);
  settle();
  EXPECT_EQ(managed(), 0);
  EXPECT_EQ(response(), 2);
  offer(kReady, {});
  settle();
  EXPECT_EQ(scsi_status(), 2);
  EXPECT_EQ(ram.get<std::uint8_t>(kResponse + 12 + 12), 0x29);
}

TEST_F(VirtioScsiTest, AResetWithAFunctionUnderWayEndsIt) {
  offer(kRead, {{kData, 512, true}});
  manage(0);
  start();
  settle();
  offer(kReady, {});
  settle();
  EXPECT_EQ(response(), 0);
  EXPECT_TRUE(drivers[2]->take());
}

TEST_F(VirtioScsiTest, IsSavedWithCommandsUnderWay) {
  offer(kRead, {{kData, 512, true}});
  state::Writer writer;
  function->save(writer);
  state::Reader reader(writer.bytes());
  const auto loaded = function->load(reader);
  ASSERT_TRUE(loaded) << loaded.error().describe();
  settle();
  EXPECT_EQ(response(), 0);
  EXPECT_EQ(disk.log.size(), 2U) << "it was begun again";
}

TEST_F(VirtioScsiTest, SizesAreTheDriversToChoose) {
  const std::uint64_t config = kModern + VirtioPci::kDeviceOffset;
  EXPECT_EQ(pci.read(config + 20, 4), 96U);
  pci.memory_space.write({config + 20}, 4, 200);
  pci.memory_space.write({config + 24}, 4, 16);
  EXPECT_EQ(pci.read(config + 20, 4), 200U);
  EXPECT_EQ(pci.read(config + 24, 4), 16U);
  pci.memory_space.write({config + 20}, 4, 1 << 20);
  pci.memory_space.write({config + 24}, 4, 0);
  EXPECT_EQ(pci.read(config + 20, 4), 200U);
  EXPECT_EQ(pci.read(config + 24, 4), 16U);
}

}  // namespace
}  // namespace doppel::hw
