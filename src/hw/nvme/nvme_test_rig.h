// For the tests of this folder: a controller on a bus with RAM, two disks in memory, and a small driver.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "block/fake_disk.h"
#include "event/fake_clock.h"
#include "hw/nvme/nvme.h"
#include "hw/pci/pci_test_rig.h"

namespace doppel::hw::test {

/// Namespace 1 has blocks of 512 bytes, namespace 2 of 4096.
struct NvmeRig {
  static constexpr std::uint64_t kRamSize = 8 << 20;
  static constexpr std::uint64_t kBar = 0x8000'0000;
  static constexpr std::uint64_t kDiskSize = 4 << 20;
  // Where the driver keeps things.
  static constexpr std::uint64_t kAdminSubmission = 0x1000;
  static constexpr std::uint64_t kAdminCompletion = 0x2000;
  static constexpr std::uint64_t kSubmission = 0x3000;  // of queue 1; 64 entries
  static constexpr std::uint64_t kCompletion = 0x4000;
  static constexpr std::uint64_t kData = 0x10'0000;
  static constexpr std::uint32_t kAdminEntries = 8;
  static constexpr std::uint32_t kEntries = 16;

  struct Answer {
    std::uint16_t id = 0;
    nvme::Status status = nvme::Status::kSuccess;
    bool no_retry = false;
    std::uint32_t result = 0;
    std::uint16_t head = 0;
    std::uint16_t queue = 0;
  };

  explicit NvmeRig(const NvmeConfig& config = {.serial = "S1"})
      : nvme(Nvme::create(pci.services(), clock, config).value()) {
    pci.memory->add(pci.topology.ram("ram", block, 0, kRamSize), 0);
    for (std::size_t i = 0; i < disk.contents.size(); ++i) disk.contents[i] = pattern(i);
    EXPECT_TRUE(nvme->add_namespace({}, disk));
    EXPECT_TRUE(nvme->add_namespace({.logical_block_size = 4096}, other));
    EXPECT_TRUE(pci.bus.attach(*nvme));
    power_up();
  }
  void power_up() {
    nvme->reset();
    nvme->config_write(0x10, 4, kBar);
    nvme->config_write(0x04, 2, 6);
  }
  static std::byte pattern(std::size_t at) { return static_cast<std::byte>(at / 512 * 7 + at % 512); }

  // ---- Registers

  std::uint32_t reg(std::uint32_t offset) { return static_cast<std::uint32_t>(pci.read(kBar + offset, 4)); }
  void set_reg(std::uint32_t offset, std::uint32_t value) { pci.memory_space.write({kBar + offset}, 4, value); }
  std::uint32_t status() { return reg(0x1c); }
  void enable(std::uint32_t configuration = 0x0046'0001) {
    set_reg(0x24, (kAdminEntries - 1) << 16U | (kAdminEntries - 1));
    set_reg(0x28, kAdminSubmission);
    set_reg(0x30, kAdminCompletion);
    set_reg(0x14, configuration);
    set_memory(kAdminCompletion, std::vector<std::byte>(16 * kAdminEntries));
    queues.clear();
    queues[0] = {.submission = kAdminSubmission, .completion = kAdminCompletion, .entries = kAdminEntries};
  }
  void disable() { set_reg(0x14, 0x0046'0000); }

  // ---- Queues

  struct Queue {
    std::uint64_t submission = 0;
    std::uint64_t completion = 0;
    std::uint32_t entries = 0;
    std::uint32_t tail = 0;
    std::uint32_t head = 0;
    bool phase = true;
  };
  void doorbell(std::uint32_t index, std::uint32_t value) { set_reg(0x1000 + 4 * index, value); }
  std::uint16_t put(std::uint16_t id, nvme::Command command) {
    Queue& queue = queues[id];
    command.id = ++next_id;
    EXPECT_TRUE(ram.write({queue.submission + 64ULL * queue.tail}, command));
    queue.tail = (queue.tail + 1) % queue.entries;
    return next_id;
  }
  void ring(std::uint16_t id) { doorbell(2U * id, queues[id].tail); }
  void submit(std::uint16_t id, const nvme::Command& command) {
    put(id, command);
    ring(id);
    run();
  }
  /// Lets the loop's thread work.
  void run() { clock.advance(0); }
  void finish_disks() {
    do run();
    while (disk.finish_one() || other.finish_one());
  }
  /// The next completion, taken and told to the controller; nothing if there is none.
  std::optional<Answer> take(std::uint16_t id = 0, bool tell = true) {
    Queue& queue = queues[id];
    const auto entry = ram.read<nvme::Completion>({queue.completion + 16ULL * queue.head});
    EXPECT_TRUE(entry);
    if (!entry || ((entry->status & 1U) != 0) != queue.phase) return std::nullopt;
    queue.head = (queue.head + 1) % queue.entries;
    if (queue.head == 0) queue.phase = !queue.phase;
    if (tell) doorbell(2U * id + 1, queue.head);
    return Answer{.id = entry->command_id,
                  .status = static_cast<nvme::Status>(entry->status >> 1U & 0x7ffU),
                  .no_retry = (entry->status & 0x8000U) != 0,
                  .result = entry->result,
                  .head = entry->queue_head,
                  .queue = entry->queue_id};
  }
  /// Submits, lets all disks answer, and expects one completion for it.
  Answer execute(std::uint16_t id, const nvme::Command& command) {
    submit(id, command);
    finish_disks();
    const auto answer = take(id);
    EXPECT_TRUE(answer) << "no completion";
    if (answer) {
      EXPECT_EQ(answer->id, next_id);
    }
    return answer.value_or(Answer{});
  }
  Answer admin(nvme::AdminOpcode opcode, std::uint32_t dword10 = 0, std::uint32_t dword11 = 0,
               std::uint64_t data = kData, std::uint32_t space = 0) {
    nvme::Command command;
    command.opcode = static_cast<std::uint8_t>(opcode);
    command.namespace_id = space;
    command.data1 = data;
    command.dword10 = dword10;
    command.dword11 = dword11;
    return execute(0, command);
  }
  /// Queue pair 1, interrupting by vector 1.
  void make_queues() {
    using enum nvme::AdminOpcode;
    EXPECT_EQ(admin(kCreateCompletionQueue, (kEntries - 1) << 16U | 1, 1U << 16U | 3, kCompletion).status,
              nvme::Status::kSuccess);
    EXPECT_EQ(admin(kCreateSubmissionQueue, (kEntries - 1) << 16U | 1, 1U << 16U | 1, kSubmission).status,
              nvme::Status::kSuccess);
    set_memory(kCompletion, std::vector<std::byte>(16 * kEntries));
    queues[1] = {.submission = kSubmission, .completion = kCompletion, .entries = kEntries};
  }
  static nvme::Command io(nvme::IoOpcode opcode, std::uint64_t first, std::uint32_t count, std::uint64_t data1 = kData,
                          std::uint64_t data2 = 0) {
    nvme::Command command;
    command.opcode = static_cast<std::uint8_t>(opcode);
    command.namespace_id = 1;
    command.data1 = data1;
    command.data2 = data2;
    command.dword10 = static_cast<std::uint32_t>(first);
    command.dword11 = static_cast<std::uint32_t>(first >> 32U);
    command.dword12 = count - 1;
    return command;
  }

  std::vector<std::byte> memory(std::uint64_t address, std::size_t size) {
    std::vector<std::byte> bytes(size);
    EXPECT_TRUE(ram.read({address}, bytes));
    return bytes;
  }
  void set_memory(std::uint64_t address, std::span<const std::byte> bytes) { EXPECT_TRUE(ram.write({address}, bytes)); }
  void store(std::uint64_t address, std::uint64_t value) { EXPECT_TRUE(ram.write({address}, Le64(value))); }
  [[nodiscard]] std::vector<std::byte> on_disk(std::size_t offset, std::size_t size) const {
    const auto* begin = disk.contents.data() + offset;
    return {begin, begin + size};
  }

  PciRig pci;
  event::FakeClock clock;
  std::shared_ptr<memory::RamBlock> block = memory::RamBlock::create({.size = kRamSize}).value();
  block::FakeDisk disk{kDiskSize};
  block::FakeDisk other{1 << 20};
  memory::DmaSpace ram{pci.memory_space};
  std::map<std::uint16_t, Queue> queues;
  std::uint16_t next_id = 100;
  std::unique_ptr<Nvme> nvme;
};

}  // namespace doppel::hw::test
