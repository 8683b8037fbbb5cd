// The controller: registers, life, queues, admin commands, interrupts, saving.
#include "hw/nvme/nvme_test_rig.h"

namespace doppel::hw {
namespace {

using enum nvme::AdminOpcode;
using nvme::IoOpcode;
using nvme::Status;

struct NvmeTest : testing::Test, test::NvmeRig {};

std::uint32_t word(const std::vector<std::byte>& bytes, std::size_t at) {
  return load_le<std::uint32_t>(bytes.data() + at);
}
std::string text(const std::vector<std::byte>& bytes, std::size_t at, std::size_t size) {
  return {reinterpret_cast<const char*>(bytes.data()) + at, size};
}

TEST_F(NvmeTest, IsWhatDriversLookFor) {
  EXPECT_EQ(nvme->config_read(0x00, 4), 0x0010'1b36U);
  EXPECT_EQ(nvme->config_read(0x08, 4), 0x0108'0202U);
  EXPECT_EQ(nvme->config_read(0x10, 4) & 0xf, 4U) << "a 64-bit BAR";
  EXPECT_EQ(pci.read(kBar, 8), 0x0040'0020'3c01'07ffULL) << "2048 entries, pages of 4 to 64 KiB";
  EXPECT_EQ(reg(0x08), 0x0001'0400U);
  EXPECT_EQ(status(), 0U);
}

TEST_F(NvmeTest, IsEnabledAndDisabled) {
  enable();
  EXPECT_EQ(status(), 1U);
  disable();
  EXPECT_EQ(status(), 0U);
  set_reg(0x24, 0);
  set_reg(0x14, 0x0046'0001);
  EXPECT_EQ(status(), 2U) << "queues of one entry";
  disable();
  enable();
  EXPECT_EQ(status(), 1U);
  disable();
  enable(0x0046'0281);
  EXPECT_EQ(status(), 2U) << "pages of 128 KiB";
}

TEST_F(NvmeTest, ShutsDownWithAFlushOfEveryDisk) {
  enable();
  set_reg(0x14, 0x0046'4001);
  EXPECT_EQ(status(), 0x05U);
  ASSERT_TRUE(disk.finish_one());
  EXPECT_EQ(status(), 0x05U);
  ASSERT_TRUE(other.finish_one());
  EXPECT_EQ(status(), 0x09U);
  disable();
  EXPECT_EQ(status(), 0U);
}

TEST_F(NvmeTest, IdentifiesItself) {
  enable();
  EXPECT_EQ(admin(kIdentify, 1).status, Status::kSuccess);
  const auto page = memory(kData, 4096);
  EXPECT_EQ(word(page, 0), 0x1af4'1b36U);
  EXPECT_EQ(text(page, 4, 20), "S1                  ");
  EXPECT_EQ(text(page, 24, 14), "QEMU NVMe Ctrl");
  EXPECT_EQ(page[77], std::byte{7});
  EXPECT_EQ(word(page, 512) & 0xffff, 0x4466U);
  EXPECT_EQ(word(page, 516), 2U) << "namespaces";
  EXPECT_EQ(admin(kIdentify, 0, 0, kData, 1).status, Status::kSuccess);
  EXPECT_EQ(word(memory(kData, 8), 0), kDiskSize / 512);
  EXPECT_EQ(memory(kData + 130, 1)[0], std::byte{9});
  EXPECT_EQ(admin(kIdentify, 0, 0, kData, 2).status, Status::kSuccess);
  EXPECT_EQ(word(memory(kData, 8), 0), (1U << 20U) / 4096);
  EXPECT_EQ(memory(kData + 130, 1)[0], std::byte{12});
  EXPECT_EQ(admin(kIdentify, 2).status, Status::kSuccess);
  EXPECT_EQ(word(memory(kData, 4), 0), 1U);
  EXPECT_EQ(word(memory(kData + 4, 4), 0), 2U);
  EXPECT_EQ(word(memory(kData + 8, 4), 0), 0U);
  EXPECT_EQ(admin(kIdentify, 3, 0, kData, 7).status, Status::kInvalidNamespace);
  EXPECT_EQ(admin(kIdentify, 0x77).status, Status::kInvalidField);
}

TEST_F(NvmeTest, QueuesAreMadeAndDeletedInOrder) {
  enable();
  EXPECT_EQ(admin(kCreateSubmissionQueue, 15U << 16U | 1, 1U << 16U | 1, kSubmission).status,
            Status::kInvalidCompletionQueue);
  make_queues();
  EXPECT_EQ(admin(kCreateCompletionQueue, 15U << 16U | 1, 3, kCompletion).status, Status::kInvalidQueueId);
  EXPECT_EQ(admin(kCreateCompletionQueue, 15U << 16U | 65, 3, kCompletion).status, Status::kInvalidQueueId);
  EXPECT_EQ(admin(kCreateCompletionQueue, 2, 3, kCompletion).status, Status::kInvalidQueueSize);
  EXPECT_EQ(admin(kCreateCompletionQueue, 2048U << 16U | 2, 3, kCompletion).status, Status::kInvalidQueueSize);
  EXPECT_EQ(admin(kCreateCompletionQueue, 15U << 16U | 2, 65U << 16U | 3, kCompletion).status, Status::kInvalidVector);
  EXPECT_EQ(admin(kCreateCompletionQueue, 15U << 16U | 2, 2, kCompletion).status, Status::kInvalidField);
  EXPECT_EQ(admin(kCreateCompletionQueue, 15U << 16U | 2, 3, kCompletion + 8).status, Status::kInvalidPrpOffset);
  EXPECT_EQ(admin(kDeleteCompletionQueue, 1).status, Status::kInvalidQueueDeletion);
  EXPECT_EQ(admin(kDeleteSubmissionQueue, 1).status, Status::kSuccess);
  EXPECT_EQ(admin(kDeleteSubmissionQueue, 1).status, Status::kInvalidQueueId);
  EXPECT_EQ(admin(kDeleteCompletionQueue, 1).status, Status::kSuccess);
  EXPECT_EQ(admin(static_cast<nvme::AdminOpcode>(0x99)).status, Status::kInvalidOpcode);
}

TEST_F(NvmeTest, DeletingAQueueWaitsForItsCommands) {
  enable();
  make_queues();
  submit(1, io(IoOpcode::kRead, 0, 1));
  nvme::Command deletion;
  deletion.opcode = static_cast<std::uint8_t>(kDeleteSubmissionQueue);
  deletion.dword10 = 1;
  submit(0, deletion);
  EXPECT_FALSE(take(0));
  put(1, io(IoOpcode::kRead, 0, 1));
  ring(1);
  finish_disks();
  EXPECT_TRUE(take(1));
  EXPECT_FALSE(take(1)) << "no more commands are taken";
  const auto answer = take(0);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status, Status::kSuccess);
  EXPECT_EQ(admin(kDeleteCompletionQueue, 1).status, Status::kSuccess);
}

TEST_F(NvmeTest, FeaturesAreKeptUntilAReset) {
  enable();
  EXPECT_EQ(admin(kSetFeatures, 0x07, 0x0003'0003).result, 0x003f'003fU) << "64 pairs, whatever is asked for";
  EXPECT_EQ(admin(kSetFeatures, 0x07, 0xffff).status, Status::kInvalidField);
  EXPECT_EQ(admin(kGetFeatures, 0x06).result, 1U);
  EXPECT_EQ(admin(kSetFeatures, 0x06, 0).status, Status::kSuccess);
  EXPECT_EQ(admin(kGetFeatures, 0x06).result, 0U);
  EXPECT_EQ(admin(kGetFeatures, 0x106).result, 1U) << "the default";
  EXPECT_EQ(admin(kSetFeatures, 0x8000'0006, 0).status, Status::kFeatureNotSaveable);
  EXPECT_EQ(admin(kGetFeatures, 0x04).result, 343U);
  EXPECT_EQ(admin(kSetFeatures, 0x04, 0x0010'0111).status, Status::kSuccess);
  EXPECT_EQ(admin(kGetFeatures, 0x04, 0x0010'0000).result, 0x111U) << "the lower threshold";
  EXPECT_EQ(admin(kGetFeatures, 0xff).status, Status::kInvalidField);
  disable();
  enable();
  EXPECT_EQ(admin(kGetFeatures, 0x06).result, 1U);
}

TEST_F(NvmeTest, LogPagesTellOfErrorsAndWork) {
  enable();
  make_queues();
  execute(1, io(IoOpcode::kRead, 0, 2));
  EXPECT_EQ(execute(1, io(IoOpcode::kRead, 0x1'0000'0000, 1)).status, Status::kLbaOutOfRange);
  EXPECT_EQ(admin(kGetLogPage, 511U << 16U | 1).status, Status::kSuccess);
  const auto errors = memory(kData, 128);
  EXPECT_EQ(word(errors, 0), 1U);
  EXPECT_EQ(word(errors, 8) >> 16U, next_id - 1U);
  EXPECT_EQ(word(errors, 20), 1U) << "the block's upper half";
  EXPECT_EQ(word(errors, 64), 0U);
  EXPECT_EQ(admin(kGetLogPage, 127U << 16U | 2).status, Status::kSuccess);
  const auto health = memory(kData, 512);
  EXPECT_EQ(word(health, 32), 1U) << "thousands of 512 bytes";
  EXPECT_EQ(word(health, 64), 1U) << "read commands";
  EXPECT_EQ(admin(kGetLogPage, 127U << 16U | 3).status, Status::kSuccess);
  EXPECT_EQ(admin(kGetLogPage, 1023U << 16U | 5).status, Status::kSuccess);
  EXPECT_EQ(admin(kGetLogPage, 127U << 16U | 0xc0).status, Status::kInvalidLogPage);
}

TEST_F(NvmeTest, EventsGoToWhoAskedForThem) {
  enable();
  nvme::Command request;
  request.opcode = static_cast<std::uint8_t>(kAsyncEventRequest);
  for (unsigned i = 0; i < 4; ++i) submit(0, request);
  EXPECT_FALSE(take(0));
  EXPECT_EQ(execute(0, request).status, Status::kTooManyEventRequests);
  const auto first = static_cast<std::uint16_t>(next_id - 4);
  doorbell(2 * 9, 1);
  auto answer = take(0);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->id, first);
  EXPECT_EQ(answer->result, 0x0001'0000U) << "an error: a doorbell of no queue; the error log tells more";
  doorbell(0, 99);
  EXPECT_FALSE(take(0)) << "not before the log was read";
  nvme::Command log;
  log.opcode = static_cast<std::uint8_t>(kGetLogPage);
  log.dword10 = 15U << 16U | 1;
  log.data1 = kData;
  submit(0, log);
  answer = take(0);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->id, first + 1) << "the event comes before the log's completion";
  EXPECT_EQ(answer->result, 0x0001'0100U) << "a doorbell's value";
  answer = take(0);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->id, next_id);
}

TEST_F(NvmeTest, InterruptsByPinUntilTheQueueIsEmpty) {
  enable();
  nvme::Command command;
  command.opcode = static_cast<std::uint8_t>(kGetFeatures);
  command.dword10 = 6;
  submit(0, command);
  submit(0, command);
  EXPECT_TRUE(pci.wires[0] || pci.wires[1] || pci.wires[2] || pci.wires[3]);
  set_reg(0x0c, 1);
  EXPECT_EQ(nvme->config_read(6, 2) & 8U, 0U) << "masked";
  set_reg(0x10, 1);
  EXPECT_NE(nvme->config_read(6, 2) & 8U, 0U);
  EXPECT_TRUE(take(0));
  EXPECT_NE(nvme->config_read(6, 2) & 8U, 0U);
  EXPECT_TRUE(take(0));
  EXPECT_EQ(nvme->config_read(6, 2) & 8U, 0U);
}

TEST_F(NvmeTest, InterruptsByMessage) {
  nvme->config_write(0x42, 2, 0x8000);
  const std::uint64_t table = kBar + 0x2000;
  for (const std::uint64_t vector : {0U, 1U}) {
    pci.memory_space.write({table + 16 * vector}, 8, 0xfee0'0000);
    pci.memory_space.write({table + 16 * vector + 8}, 4, 0x40 + vector);
    pci.memory_space.write({table + 16 * vector + 12}, 4, 0);
  }
  enable();
  make_queues();
  EXPECT_EQ(pci.msi.messages.size(), 2U);
  execute(1, io(IoOpcode::kRead, 0, 1));
  ASSERT_EQ(pci.msi.messages.size(), 3U);
  EXPECT_EQ(pci.msi.messages[2].data, 0x41U);
}

TEST_F(NvmeTest, CompletionsWaitForRoomInTheirQueue) {
  enable();
  make_queues();
  for (unsigned round = 0; round < 3; ++round) {
    for (unsigned i = 0; i < kEntries - 1; ++i) put(1, io(IoOpcode::kFlush, 0, 1));
    ring(1);
    finish_disks();
  }
  unsigned taken = 0;
  while (take(1)) ++taken;
  EXPECT_EQ(taken, 3 * (kEntries - 1));
}

TEST_F(NvmeTest, QueuesWhereThereIsNoMemoryAreFatal) {
  enable();
  EXPECT_EQ(admin(kCreateCompletionQueue, 15U << 16U | 1, 1, 0x4000'0000).status, Status::kSuccess);
  EXPECT_EQ(admin(kCreateSubmissionQueue, 15U << 16U | 1, 1U << 16U | 1, 0x5000'0000).status, Status::kSuccess);
  doorbell(2, 1);
  run();
  EXPECT_EQ(status() & 2U, 2U);
  disable();
  EXPECT_EQ(status(), 0U);
  enable();
  EXPECT_EQ(admin(kIdentify, 1).status, Status::kSuccess);
}

TEST_F(NvmeTest, DoorbellsInMemory) {
  constexpr std::uint64_t kShadow = 0x8000;
  constexpr std::uint64_t kEvents = 0x9000;
  enable();
  make_queues();
  nvme::Command command;
  command.opcode = static_cast<std::uint8_t>(kDoorbellBuffers);
  command.data1 = kShadow;
  command.data2 = kEvents + 8;
  EXPECT_EQ(execute(0, command).status, Status::kInvalidField);
  command.data2 = kEvents;
  EXPECT_EQ(execute(0, command).status, Status::kSuccess);
  put(1, io(IoOpcode::kRead, 0, 1));
  EXPECT_TRUE(ram.write({kShadow + 8}, Le32(1)));
  ring(1);
  run();
  EXPECT_EQ(word(memory(kEvents + 8, 4), 0), 1U) << "to be rung for what comes next";
  put(1, io(IoOpcode::kRead, 1, 1));
  EXPECT_TRUE(ram.write({kShadow + 8}, Le32(2)));
  put(0, command);
  ring(0);
  finish_disks();
  EXPECT_TRUE(take(1, false));
  EXPECT_TRUE(take(1, false)) << "found without its doorbell";
}

TEST_F(NvmeTest, NothingIsBegunWhileTheMachineStandsStill) {
  enable();
  make_queues();
  put(1, io(IoOpcode::kRead, 0, 1));
  ring(1);
  EXPECT_TRUE(disk.waiting.empty());
  run();
  EXPECT_FALSE(disk.waiting.empty());
  disk.finish_all();
}

TEST_F(NvmeTest, ResetWithRequestsUnderWay) {
  enable();
  make_queues();
  submit(1, io(IoOpcode::kRead, 0, 1));
  disable();
  EXPECT_EQ(status(), 1U) << "ready until the disk has answered";
  enable();
  EXPECT_EQ(status(), 0U);
  disk.finish_all();
  EXPECT_EQ(status(), 1U);
  EXPECT_EQ(admin(kIdentify, 1).status, Status::kSuccess);
  make_queues();
  submit(1, io(IoOpcode::kRead, 0, 1));
  power_up();
  EXPECT_EQ(status(), 0U);
  enable();
  EXPECT_EQ(status(), 0U) << "the disk has not answered yet";
  disk.finish_all();
  EXPECT_EQ(status(), 1U);
}

TEST_F(NvmeTest, SavedRequestsBeginAgain) {
  enable();
  make_queues();
  set_memory(kData, std::vector<std::byte>(512, std::byte{0x5a}));
  put(1, io(IoOpcode::kRead, 3, 1, kData + 0x1000));
  submit(1, io(IoOpcode::kWrite, 8, 1));
  test::NvmeRig copy;
  ASSERT_TRUE(test::transfer(*nvme, *copy.nvme));
  copy.set_memory(kData, memory(kData, 512));
  copy.queues = queues;
  copy.finish_disks();
  EXPECT_TRUE(copy.take(1));
  EXPECT_TRUE(copy.take(1));
  EXPECT_EQ(copy.memory(kData + 0x1000, 512), on_disk(3 * 512, 512));
  EXPECT_EQ(copy.on_disk(8 * 512, 512), memory(kData, 512));
  disk.finish_all();
}

TEST(Nvme, RefusesWhatMakesNoSense) {
  test::PciRig pci;
  event::FakeClock clock;
  const auto error_of = [&](const NvmeConfig& config) {
    const auto made = Nvme::create(pci.services(), clock, config);
    return made ? std::string() : made.error().describe();
  };
  EXPECT_EQ(error_of({}), "an NVMe controller needs a serial number; write serial=TEXT");
  EXPECT_EQ(error_of({.serial = "x", .mdts = 0}), "mdts=0: write a number from 1 to 11");
  EXPECT_EQ(error_of({.serial = "x", .max_ioqpairs = 2047, .msix_qsize = 2048, .mdts = 11}), "");
  EXPECT_EQ(error_of({.serial = "x", .max_ioqpairs = 0}), "max_ioqpairs=0: write a number from 1 to 2047");
  EXPECT_EQ(error_of({.serial = "x", .ioeventfd = true}), "ioeventfd=on is not there; write ioeventfd=off");
}

}  // namespace
}  // namespace doppel::hw
