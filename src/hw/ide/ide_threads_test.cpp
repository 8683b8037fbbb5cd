// A guest's thread and the loop's: disks answer while the guest talks to the controller.
#include <condition_variable>
#include <mutex>
#include <thread>

#include "hw/ide/ide_test_rig.h"

namespace doppel::hw {
namespace {

/// Passes requests to a FakeDisk on a thread of its own, which stands for the loop's.
class LoopDisk final : public block::Disk {
 public:
  explicit LoopDisk(block::FakeDisk& disk) : disk_(disk) {}
  ~LoopDisk() override { stop(); }

  [[nodiscard]] std::uint64_t size() const override { return disk_.size(); }
  [[nodiscard]] bool read_only() const override { return false; }
  [[nodiscard]] bool has_write_cache() const override { return true; }
  [[nodiscard]] bool busy() const override { return false; }
  void read(std::uint64_t offset, block::Buffers buffers, block::Done done) override {
    add([=, this] { disk_.read(offset, buffers, done); });
  }
  void write(std::uint64_t offset, block::Buffers buffers, block::Done done) override {
    add([=, this] { disk_.write(offset, buffers, done); });
  }
  void write_zeroes(std::uint64_t, std::uint64_t, bool, block::Done) override {}
  void discard(std::uint64_t, std::uint64_t, block::Done) override {}
  void flush(block::Done done) override {
    add([=, this] { disk_.flush(done); });
  }

  /// Answers what is left and ends the thread.
  void stop() {
    {
      const std::scoped_lock lock(mutex_);
      stopping_ = true;
    }
    changed_.notify_one();
    if (thread_.joinable()) thread_.join();
  }

 private:
  void add(std::function<void()> request) {
    {
      const std::scoped_lock lock(mutex_);
      requests_.push_back(std::move(request));
    }
    changed_.notify_one();
  }
  void run() {
    std::unique_lock lock(mutex_);
    for (;;) {
      changed_.wait(lock, [this] { return stopping_ || !requests_.empty(); });
      if (requests_.empty()) return;
      const auto requests = std::exchange(requests_, {});
      lock.unlock();
      for (const auto& request : requests) request();
      disk_.finish_all();
      lock.lock();
    }
  }

  block::FakeDisk& disk_;
  std::mutex mutex_;  // guards requests_ and stopping_
  std::condition_variable changed_;
  std::vector<std::function<void()>> requests_;
  bool stopping_ = false;
  std::thread thread_{[this] { run(); }};
};

struct IdeThreadsTest : test::IdeTest {
  static constexpr unsigned kSlave = 0x10;

  IdeThreadsTest() { EXPECT_TRUE(ide->channel(0).add_disk(1, loop_disk, {})); }
  void wait_until_free() {
    while ((alternate_status(kDisk) & 0x80U) != 0) std::this_thread::yield();
  }
  void slave_command(std::uint8_t opcode, std::uint8_t lba, std::uint8_t count) {
    registers(kDisk, {0, count, lba, 0, 0}, 0xe0 | kSlave);
    command(kDisk, opcode);
  }

  block::FakeDisk behind{1 << 20};
  LoopDisk loop_disk{behind};
};

TEST_F(IdeThreadsTest, ReadsAndWritesByDma) {
  write_table({{0x10000, 8192}});
  for (unsigned round = 0; round < 200; ++round) {
    const std::vector<std::byte> data(8192, static_cast<std::byte>(round));
    set_memory(0x10000, data);
    slave_command(0xca, static_cast<std::uint8_t>(round), 16);
    start_dma(kDisk, false);
    wait_until_free();
    ASSERT_EQ(status(kDisk), test::kReadyStatus);
    set_memory(0x10000, std::vector<std::byte>(8192));
    slave_command(0xc8, static_cast<std::uint8_t>(round), 16);
    start_dma(kDisk, true);
    wait_until_free();
    ASSERT_EQ(memory(0x10000, 8192), data);
  }
}

TEST_F(IdeThreadsTest, ResetsWhileTheDiskWorks) {
  write_table({{0x10000, 8192}});
  for (unsigned round = 0; round < 500; ++round) {
    slave_command(round % 2 == 0 ? 0xc8 : 0xca, 0, 16);
    start_dma(kDisk, round % 2 == 0);
    if (round % 3 == 0) stop_dma(kDisk);
    out(0x3f6, 0x04);
    out(0x3f6, 0x00);
    out(kDisk + 6, 0xe0 | kSlave);
    wait_until_free();
    ASSERT_EQ(status(kDisk), test::kReadyStatus);
  }
  loop_disk.stop();
}

}  // namespace
}  // namespace doppel::hw
