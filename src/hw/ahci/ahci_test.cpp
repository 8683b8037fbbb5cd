// The adapter: registers, frames, data, queued commands, errors, resets, saving.
#include "hw/ahci/ahci_test_rig.h"

namespace doppel::hw {
namespace {

using Kind = block::FakeDisk::Kind;
using Request = block::FakeDisk::Request;

constexpr std::uint32_t kGood = 0x50;
constexpr std::uint32_t kRegisterFrame = 0x1;
constexpr std::uint32_t kPioFrame = 0x2;
constexpr std::uint32_t kDeviceBitsFrame = 0x8;
constexpr std::uint32_t kOverflow = 1U << 24U;
constexpr std::uint32_t kHostBusError = 1U << 29U;
constexpr std::uint32_t kTaskFileError = 1U << 30U;

struct AhciTest : testing::Test, test::AhciRig {
  std::uint8_t byte_at(std::uint64_t address) { return std::to_integer<std::uint8_t>(memory(address, 1)[0]); }
  std::uint16_t word(const std::vector<std::byte>& bytes, unsigned index) {
    return load_le<std::uint16_t>(bytes.data() + 2 * static_cast<std::size_t>(index));
  }
  void restart() {
    stop(kDisk);
    start(kDisk);
  }
};

TEST_F(AhciTest, IsWhatDriversLookFor) {
  EXPECT_EQ(ahci->config_read(0x00, 4), 0x2922'8086U);
  EXPECT_EQ(ahci->config_read(0x08, 4), 0x0106'0102U);
  EXPECT_EQ(reg(0x0c), 0x3fU);
  EXPECT_EQ(reg(0x00), 0xc134'1f05U);
  EXPECT_EQ(port_reg(kDisk, 0x24), 0x0000'0101U);
  EXPECT_EQ(port_reg(kCdrom, 0x24), 0xeb14'0101U);
  EXPECT_EQ(port_reg(kDisk, 0x28), 0x133U);
  EXPECT_EQ(port_reg(1, 0x28), 0U);
  EXPECT_EQ(status(1), 0x7fU);
}

TEST_F(AhciTest, IdentifiesByPio) {
  execute(frame(0xec, 0, 0), {{kData, 512}});
  const auto words = memory(kData, 512);
  EXPECT_EQ(word(words, 76), 0x010e) << "NCQ";
  EXPECT_EQ(word(words, 75), 31);
  EXPECT_EQ(word(words, 93), 0) << "no cable";
  EXPECT_EQ(port_reg(kDisk, 0x38), 0U);
  EXPECT_EQ(status(kDisk), kGood);
  EXPECT_TRUE(pin());
  EXPECT_EQ(take_interrupts(kDisk), kPioFrame);
  EXPECT_FALSE(pin());
  EXPECT_EQ(byte_at(frames(kDisk) + 0x20), 0x5f);
  EXPECT_EQ(byte_at(frames(kDisk) + 0x20 + 15), 0x50) << "how it ended";
  EXPECT_EQ(load_le<std::uint32_t>(memory(list(kDisk) + 4, 4).data()), 512U);
}

TEST_F(AhciTest, ReadsAndWritesByDma) {
  execute(frame(0x25, 3, 4), {{kData, 1000}, {kData + 0x1000, 1048}});
  EXPECT_EQ(memory(kData, 1000), on_disk(3 * 512, 1000));
  EXPECT_EQ(memory(kData + 0x1000, 1048), on_disk(3 * 512 + 1000, 1048));
  EXPECT_EQ(take_interrupts(kDisk), kRegisterFrame);
  EXPECT_EQ(byte_at(frames(kDisk) + 0x40), 0x34);
  const std::vector<std::byte> data(1024, std::byte{0x66});
  set_memory(kData, data);
  execute(frame(0x35, 50, 2), {{kData, 1024}});
  EXPECT_EQ(on_disk(50 * 512, 1024), data);
  execute(frame(0xea, 0, 0));
  EXPECT_EQ(disk.log.back().kind, Kind::kFlush);
}

TEST_F(AhciTest, WritesByPio) {
  const std::vector<std::byte> data(1024, std::byte{0x11});
  set_memory(kData, data);
  execute(frame(0x30, 9, 2), {{kData, 1024}});
  EXPECT_EQ(on_disk(9 * 512, 1024), data);
  EXPECT_EQ(take_interrupts(kDisk), kRegisterFrame | kPioFrame);
}

TEST_F(AhciTest, ErrorsStopThePortUntilItIsRestarted) {
  disk.failure = ErrorKind::kIo;
  execute(frame(0x25, 0, 1), {{kData, 512}});
  EXPECT_EQ(status(kDisk), 0x4051U) << "UNC";
  EXPECT_EQ(port_reg(kDisk, 0x38), 1U) << "what failed";
  EXPECT_EQ(take_interrupts(kDisk), kRegisterFrame | kTaskFileError);
  disk.failure.reset();
  prepare(kDisk, 1, frame(0x25, 0, 1), {{kData, 512}});
  issue(kDisk, 2);
  EXPECT_TRUE(disk.waiting.empty());
  restart();
  EXPECT_EQ(port_reg(kDisk, 0x38), 0U);
  issue(kDisk, 2);
  finish_disks();
  EXPECT_EQ(status(kDisk), kGood);
}

TEST_F(AhciTest, QueuedCommandsAreAtTheDiskTogether) {
  for (unsigned tag = 0; tag < 32; ++tag)
    prepare(kDisk, tag, queued(false, tag * 8, 8, tag), {{kData + 4096 * tag, 4096}});
  issue_queued(kDisk, 0xffff'ffff);
  EXPECT_EQ(disk.waiting.size(), 32U);
  EXPECT_EQ(port_reg(kDisk, 0x38), 0U);
  EXPECT_EQ(port_reg(kDisk, 0x34), 0xffff'ffffU);
  EXPECT_EQ(status(kDisk) & 0x88U, 0U);
  ASSERT_TRUE(disk.finish_one());
  EXPECT_EQ(port_reg(kDisk, 0x34), 0xffff'fffeU);
  EXPECT_EQ(take_interrupts(kDisk), kDeviceBitsFrame);
  EXPECT_EQ(load_le<std::uint32_t>(memory(frames(kDisk) + 0x5c, 4).data()), 1U);
  finish_disks();
  EXPECT_EQ(port_reg(kDisk, 0x34), 0U);
  EXPECT_EQ(memory(kData, 32 * 4096), on_disk(0, 32 * 4096));
}

TEST_F(AhciTest, QueuedWritesFlushWhenAsked) {
  prepare(kDisk, 5, queued(true, 16, 1, 5, true), {{kData, 512}});
  issue_queued(kDisk, 1U << 5U);
  finish_disks();
  EXPECT_EQ(disk.log, (std::vector<Request>{{Kind::kWrite, 16 * 512, 512}, {.kind = Kind::kFlush}}));
  EXPECT_EQ(port_reg(kDisk, 0x34), 0U);
}

TEST_F(AhciTest, LargeQueuedCommandsGoInChunks) {
  prepare(kDisk, 0, queued(false, 0, 4000, 0), {{kData, 4000 * 512}});
  issue_queued(kDisk, 1);
  finish_disks();
  EXPECT_EQ(disk.log.size(), 4U);
  EXPECT_EQ(memory(kData, 4000 * 512), on_disk(0, 4000 * 512));
}

TEST_F(AhciTest, AQueuedErrorIsInTheLog) {
  prepare(kDisk, 3, queued(false, 1 << 20, 1, 3), {{kData, 512}});
  prepare(kDisk, 4, queued(false, 0, 1, 4), {{kData, 512}});
  issue_queued(kDisk, 1U << 3U | 1U << 4U);
  EXPECT_EQ(take_interrupts(kDisk), kDeviceBitsFrame | kTaskFileError);
  EXPECT_EQ(status(kDisk), 0x1051U);
  EXPECT_EQ(port_reg(kDisk, 0x34), 0x18U) << "neither was done";
  restart();
  execute(frame(0x2f, 0x10, 1), {{kData, 512}});
  const auto page = memory(kData, 512);
  EXPECT_EQ(page[0], std::byte{3});
  EXPECT_EQ(page[2], std::byte{0x51});
  EXPECT_EQ(page[3], std::byte{0x10});
  EXPECT_EQ(page[6], std::byte{0x10}) << "the sector";
  unsigned sum = 0;
  for (const std::byte byte : page) sum += std::to_integer<unsigned>(byte);
  EXPECT_EQ(sum & 0xffU, 0U);
}

TEST_F(AhciTest, PacketsByDmaAndByPio) {
  execute_packet({0x28, 0, 0, 0, 0, 3, 0, 0, 2}, {{kData, 4096}}, true);
  const auto* begin = medium.contents.data() + 3 * 2048;
  EXPECT_EQ(memory(kData, 4096), std::vector<std::byte>(begin, begin + 4096));
  EXPECT_EQ(take_interrupts(kCdrom), kRegisterFrame);
  execute_packet({0x12, 0, 0, 0, 36}, {{kData, 36}}, false);
  EXPECT_EQ(memory(kData, 1)[0], std::byte{5});
  EXPECT_EQ(take_interrupts(kCdrom), kRegisterFrame | kPioFrame);
  execute_packet({0xff}, {}, false);
  EXPECT_EQ(take_interrupts(kCdrom), kRegisterFrame | kTaskFileError);
}

TEST_F(AhciTest, HostileListsStopThePort) {
  execute(frame(0x25, 0, 8), {{kData, 512}});
  EXPECT_EQ(take_interrupts(kDisk), kOverflow);
  restart();
  EXPECT_EQ(status(kDisk) & 0x80U, 0x80U) << "until it is reset";
  set_port_reg(kDisk, 0x2c, 1);
  set_port_reg(kDisk, 0x2c, 0);
  EXPECT_EQ(status(kDisk), 0x150U);
  execute(frame(0x25, 0, 1), {{0x4000'0000, 512}});
  EXPECT_EQ(take_interrupts(kDisk) & kHostBusError, kHostBusError);
  stop(kDisk);
  set_port_reg(kDisk, 0x18, 0x18);
  EXPECT_EQ(status(kDisk) & 0x88U, 0U) << "CLO";
  set_port_reg(kDisk, 0x00, 0x4000'0000);
  set_port_reg(kDisk, 0x18, 0x11);
  issue(kDisk, 1);
  EXPECT_EQ(take_interrupts(kDisk) & kHostBusError, kHostBusError);
  prepare(kCdrom, 0, {0x77}, {});
  prepare(kCdrom, 1, {0x27, 0x80, 0xff}, {});
  issue(kCdrom, 3);
  EXPECT_EQ(port_reg(kCdrom, 0x38), 2U) << "no frame at all, and a command that does not exist";
}

TEST_F(AhciTest, SoftReset) {
  auto control = frame(0, 0, 0);
  control[1] = 0;
  control[15] = 4;
  prepare(kDisk, 0, control, {});
  issue(kDisk, 1);
  control[15] = 0;
  prepare(kDisk, 1, control, {});
  issue(kDisk, 2);
  EXPECT_EQ(port_reg(kDisk, 0x38), 0U);
  EXPECT_EQ(status(kDisk), 0x150U);
  EXPECT_EQ(take_interrupts(kDisk), 0U);
  EXPECT_EQ(byte_at(frames(kDisk) + 0x40 + 12), 1) << "the signature";
}

TEST_F(AhciTest, ResetsWithRequestsUnderWay) {
  prepare(kDisk, 0, frame(0x25, 0, 1), {{kData, 512}});
  prepare(kDisk, 1, queued(true, 0, 1, 1), {{kData, 512}});
  set_memory(kData, std::vector<std::byte>(512));
  for (const std::uint32_t slot : {0U, 1U}) {
    if (slot == 1) set_port_reg(kDisk, 0x34, 2);
    issue(kDisk, 1U << slot);
    EXPECT_EQ(disk.waiting.size(), 1U);
    set_port_reg(kDisk, 0x2c, 1);
    set_port_reg(kDisk, 0x2c, 0);
    EXPECT_EQ(status(kDisk) & 0x80U, 0x80U) << "the disk has not answered yet";
    issue(kDisk, 1);
    EXPECT_EQ(disk.waiting.size(), 1U);
    disk.finish_one();
    EXPECT_EQ(memory(kData, 512), std::vector<std::byte>(512));
    finish_disks();
    EXPECT_EQ(memory(kData, 512), on_disk(0, 512)) << "the later command";
    set_memory(kData, std::vector<std::byte>(512));
    take_interrupts(kDisk);
  }
  set_reg(0x04, 1);
  EXPECT_EQ(reg(0x04), 0x8000'0000U);
  EXPECT_EQ(port_reg(kDisk, 0x18), 6U);
}

TEST_F(AhciTest, InterruptsByMessage) {
  ahci->config_write(0x84, 4, 0xfee0'0000);
  ahci->config_write(0x8c, 2, 0x31);
  ahci->config_write(0x82, 2, 1);
  execute(frame(0xea, 0, 0));
  ASSERT_EQ(pci.msi.messages.size(), 1U);
  set_reg(0x08, 1);
  EXPECT_EQ(pci.msi.messages.size(), 2U) << "the port still has something to tell";
  take_interrupts(kDisk);
  EXPECT_EQ(pci.msi.messages.size(), 2U);
  EXPECT_FALSE(pin());
}

TEST_F(AhciTest, SavedCommandsBeginAgain) {
  set_memory(kData, std::vector<std::byte>(4096, std::byte{0x5a}));
  prepare(kDisk, 1, queued(true, 8, 8, 1), {{kData, 4096}});
  prepare(kDisk, 2, queued(false, 64, 8, 2), {{kData + 0x1000, 4096}});
  issue_queued(kDisk, 6);
  prepare(kCdrom, 0, frame(0xa0, 0xfe00, 0, 1, 0), {{kData + 0x2000, 2048}}, {0x28, 0, 0, 0, 0, 3, 0, 0, 1});
  issue(kCdrom, 1);
  test::AhciRig copy;
  copy.set_memory(0, memory(0, kData + 0x3000));
  ASSERT_TRUE(test::transfer(*ahci, *copy.ahci));
  copy.finish_disks();
  EXPECT_EQ(copy.port_reg(kDisk, 0x34), 0U);
  EXPECT_EQ(copy.port_reg(kCdrom, 0x38), 0U);
  EXPECT_EQ(copy.on_disk(8 * 512, 4096), memory(kData, 4096));
  EXPECT_EQ(copy.memory(kData + 0x1000, 4096), on_disk(64 * 512, 4096));
  EXPECT_EQ(copy.memory(kData + 0x2000, 1)[0], copy.medium.contents[3 * 2048]);
  finish_disks();
}

}  // namespace
}  // namespace doppel::hw
