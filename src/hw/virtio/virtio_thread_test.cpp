// A disk whose queue is worked on in a thread of its own, while processors use its registers. ThreadSanitizer looks on.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "block/context.h"
#include "block/memory_node.h"
#include "block/node_disk.h"
#include "event/loop_thread.h"
#include "hw/virtio/virtio_blk.h"
#include "hw/virtio/virtio_test_rig.h"

namespace doppel::hw {
namespace {

using virtio::Common;

constexpr std::uint64_t kModern = 0x2000'0000;
constexpr std::uint64_t kMsix = 0x3000'0000;
constexpr std::uint64_t kRing = 0x10000;
constexpr std::uint64_t kRequests = 0x100000;  // of 4 KiB each: header, status, and data from 512 on
constexpr std::uint32_t kRead = 0;
constexpr std::uint32_t kWrite = 1;
constexpr std::size_t kDiskSize = 1 << 20;

/// Counts what comes from any thread.
class CountingMsi final : public MsiSink {
 public:
  void signal(std::uint64_t /*address*/, std::uint32_t data) override {
    const std::scoped_lock lock(mutex_);
    if (data == 1) ++count_;
    changed_.notify_all();
  }
  /// Has there been another one since the last time?
  bool wait() {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(20), [this] { return count_ != seen_; }) &&
           (seen_ = count_, true);
  }
  void forget() {
    const std::scoped_lock lock(mutex_);
    seen_ = count_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  unsigned count_ = 0;
  unsigned seen_ = 0;
};

struct VirtioThreadTest : testing::Test {
  VirtioThreadTest() {
    PciServices services = pci.services();
    services.msi = &msi;
    auto made = create_virtio_blk(services, {.loop = thread.loop(), .ports = &pci.io_space}, disk, {}, 1);
    EXPECT_TRUE(made);
    function = std::move(*made);
    EXPECT_TRUE(pci.bus.attach(*function, PciAddress{4, 0}));
    thread.start();
  }
  ~VirtioThreadTest() override { thread.stop(); }

  /// What firmware does.
  void place() {
    function->config_write(0x14, 4, kMsix);
    function->config_write(0x20, 4, kModern);
    function->config_write(0x04, 2, 0x0006);
    unsigned capability = function->config_read(0x34, 1);
    while (function->config_read(capability, 1) != 0x11) capability = function->config_read(capability + 1, 1);
    msix_control = capability + 2;
    function->config_write(msix_control, 2, 0x8000);
    for (unsigned vector = 0; vector < 2; ++vector) {
      pci.memory_space.write({kMsix + 16U * vector}, 4, 0xfee0'0000);
      pci.memory_space.write({kMsix + 16U * vector + 8}, 4, vector);
      mask(vector, false);
    }
  }
  void mask(unsigned vector, bool masked) { pci.memory_space.write({kMsix + 16U * vector + 12}, 4, masked ? 1 : 0); }
  void set_common(Common reg, unsigned size, std::uint64_t value) {
    pci.memory_space.write({kModern + static_cast<unsigned>(reg)}, size, value);
  }
  /// What the driver does.
  void start(bool packed) {
    const std::uint64_t features = virtio::feature::kVersion1 | (packed ? virtio::feature::kRingPacked : 0);
    set_common(Common::kDeviceStatus, 1, 0);
    set_common(Common::kDeviceStatus, 1, 3);
    for (unsigned half : {0U, 1U}) {
      set_common(Common::kDriverFeatureSelect, 4, half);
      set_common(Common::kDriverFeature, 4, features >> 32 * half & 0xffffffff);
    }
    set_common(Common::kDeviceStatus, 1, 0x0b);
    driver = test::QueueDriver::create(ram, kRing, 64, {.packed = packed, .event_index = false, .indirect = false});
    set_common(Common::kQueueSelect, 2, 0);
    set_common(Common::kQueueSize, 2, 64);
    set_common(Common::kQueueDescriptors, 8, driver->addresses().descriptors);
    set_common(Common::kQueueDriver, 8, driver->addresses().driver);
    set_common(Common::kQueueDevice, 8, driver->addresses().device);
    set_common(Common::kQueueVector, 2, 1);
    set_common(Common::kQueueEnable, 2, 1);
    set_common(Common::kDeviceStatus, 1, 0x0f);
    msi.forget();
  }
  static std::uint64_t place_of(unsigned slot) { return kRequests + 0x1000U * slot; }
  void offer(unsigned slot, std::uint32_t type, std::uint64_t sector) {
    const std::uint64_t at = place_of(slot);
    ram.put<std::uint32_t>(at, type);
    ram.put<std::uint32_t>(at + 4, 0);
    ram.put<std::uint64_t>(at + 8, sector);
    ram.put<std::uint8_t>(at + 16, 0xff);
    driver->offer({{at, 16}, {at + 512, 512, type == kRead}, {at + 16, 1, true}});
  }
  void kick() { pci.memory_space.write({kModern + VirtioPci::kNotifyOffset}, 2, 0); }
  /// One request from beginning to end; false if no interrupt comes, or the device says no.
  bool request(std::uint32_t type, std::uint64_t sector) {
    offer(0, type, sector);
    kick();
    if (!msi.wait() || !driver->take()) return false;
    return ram.get<std::uint8_t>(place_of(0) + 16) == 0;
  }
  bool write_and_read(unsigned i) {
    const std::vector pattern(512, static_cast<std::byte>(i));
    ram.fill(place_of(0) + 512, pattern);
    if (!request(kWrite, i % 100)) return false;
    ram.fill(place_of(0) + 512, std::vector<std::byte>(512));
    return request(kRead, i % 100) && ram.bytes(place_of(0) + 512, 512) == pattern;
  }

  event::LoopThread thread{"IO test"};
  block::Context context{thread.loop(), block::EngineChoice::kThreads};
  block::NodeDisk disk{context, std::make_unique<block::MemoryNode>(std::vector<std::byte>(kDiskSize)), {}};
  CountingMsi msi;
  test::PciRig pci;
  test::GuestRam ram{pci};
  std::unique_ptr<VirtioPci> function;
  std::unique_ptr<test::QueueDriver> driver;
  unsigned msix_control = 0;
};

TEST_F(VirtioThreadTest, WorksWhileOthersUseTheRegisters) {
  place();
  start(false);
  std::atomic<bool> done = false;
  std::atomic<unsigned> rounds = 0;
  std::thread processor([&] {
    std::uint64_t sum = 0;
    for (unsigned i = 0; !done; rounds = ++i) {
      sum += pci.read(kModern + VirtioPci::kDeviceOffset + i % 60, 1);
      sum += pci.read(kModern + static_cast<unsigned>(Common::kDeviceStatus), 1);
      sum += pci.read(kModern + VirtioPci::kIsrOffset, 1);
      pci.memory_space.write({kModern + VirtioPci::kDeviceOffset + 32}, 1, i & 1);  // not negotiated
      mask(0, (i & 1) != 0);
      kick();
    }
    EXPECT_NE(sum, 0U);
  });
  // A busy host may be late to start the other.
  for (unsigned i = 0; i < 100 || rounds < 100; ++i) ASSERT_TRUE(write_and_read(i)) << i;
  done = true;
  processor.join();
}

/// Whatever the moment in which the vector is masked: the interrupt comes then or waits for the end of that.
TEST_F(VirtioThreadTest, NoInterruptIsLostByMasking) {
  place();
  start(true);
  std::atomic<bool> done = false;
  std::thread processor([&] {
    while (!done) {
      mask(1, true);
      std::this_thread::yield();
      mask(1, false);
      function->config_write(msix_control, 2, 0xc000);
      std::this_thread::yield();
      function->config_write(msix_control, 2, 0x8000);
    }
  });
  for (unsigned i = 0; i < 100; ++i) ASSERT_TRUE(write_and_read(i)) << i;
  done = true;
  processor.join();
}

TEST_F(VirtioThreadTest, ResetsInTheMiddleOfRequests) {
  for (unsigned round = 0; round < 60; ++round) {
    place();
    start((round & 1) != 0);
    for (unsigned slot = 0; slot < 8; ++slot) offer(slot, slot % 2 == 0 ? kWrite : kRead, 8 * slot);
    kick();
    if (round % 3 != 0) std::this_thread::sleep_for(std::chrono::microseconds(20 * round));
    if (round % 4 == 0)
      set_common(Common::kDeviceStatus, 1, 0);
    else
      function->reset();
  }
  place();
  start(false);
  for (unsigned i = 0; i < 10; ++i) ASSERT_TRUE(write_and_read(i)) << i;
}

/// The guest takes bus mastering, and the very memory, from under the queue.
TEST_F(VirtioThreadTest, MemoryComesAndGoes) {
  const memory::RegionPtr more = pci.topology.ram("more", ram.block, 0, 0x10000);
  for (unsigned round = 0; round < 60; ++round) {
    place();
    start(false);
    for (unsigned slot = 0; slot < 8; ++slot) offer(slot, kRead, 8 * slot);
    kick();
    if (round % 2 == 0) {
      function->config_write(0x04, 2, 0x0002);
      function->config_write(0x04, 2, 0x0006);
    } else {
      pci.memory->add(more, kRequests, 1);
      pci.memory->remove(more);
    }
    function->reset();
  }
  place();
  start(false);
  for (unsigned i = 0; i < 10; ++i) ASSERT_TRUE(write_and_read(i)) << i;
}

}  // namespace
}  // namespace doppel::hw
