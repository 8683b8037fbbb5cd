// The function and its two cables: registers, selection, resets, interrupts, saving.
#include "hw/ide/piix3_ide.h"

#include "hw/ide/ide_test_rig.h"

namespace doppel::hw {
namespace {

using test::kDataStatus;
using test::kErrorStatus;
using test::kReadyStatus;

struct Piix3IdeTest : test::IdeTest {};

TEST_F(Piix3IdeTest, IdentifiesItself) {
  EXPECT_EQ(ide->config_read(0x00, 4), 0x7010'8086U);
  EXPECT_EQ(ide->config_read(0x08, 4), 0x0101'8000U);
  EXPECT_EQ(ide->config_read(0x40, 4), 0x8000'8000U);
  EXPECT_EQ(ide->config_read(0x20, 4), 0xc001U);
}

TEST_F(Piix3IdeTest, DecodesAsToldTo) {
  ide->config_write(0x40, 2, 0x0000);
  EXPECT_EQ(in(kDisk + 7), 0xff);
  EXPECT_EQ(in(0x3f6), 0xff);
  EXPECT_EQ(in(kCdrom + 4), 0x14);
  ide->config_write(0x40, 2, 0xa307);
  EXPECT_EQ(in(kDisk + 7), kReadyStatus);
  EXPECT_EQ(ide->config_read(0x40, 2), 0xa307U);
  ide->config_write(0x04, 2, 0x0004);
  EXPECT_EQ(in(kDisk + 7), 0xff);
}

TEST_F(Piix3IdeTest, AbsentDriveReadsZeroAndTakesNothing) {
  out(kDisk + 6, 0xb0);
  EXPECT_EQ(status(kDisk), 0);
  EXPECT_EQ(in(kDisk + 2), 0);
  command(kDisk, 0xec);
  EXPECT_EQ(status(kDisk), 0);
  EXPECT_EQ(pci.in(kDisk, 2), 0U);
  EXPECT_FALSE(irq(kDisk));
}

TEST_F(Piix3IdeTest, BothDrivesTakeRegistersTheSelectedOneCommands) {
  block::FakeDisk slave(1 << 20);
  ASSERT_TRUE(ide->channel(0).add_disk(1, slave, {}));
  registers(kDisk, {0, 1, 9, 0, 0}, 0xf0);
  out(kDisk + 6, 0xe0);
  EXPECT_EQ(in(kDisk + 3), 9);
  out(kDisk + 6, 0xf0);
  command(kDisk, 0x20);
  EXPECT_EQ(slave.log.size(), 1U);
  EXPECT_TRUE(disk.log.empty());
  slave.finish_all();
  EXPECT_TRUE(irq(kDisk));
  out(kDisk + 6, 0xe0);
  EXPECT_FALSE(irq(kDisk)) << "a drive that is not selected does not drive the line";
  out(kDisk + 6, 0xf0);
  EXPECT_TRUE(irq(kDisk));
}

TEST_F(Piix3IdeTest, DiagnosticRunsOnBothAndSelectsTheMaster) {
  out(kDisk + 6, 0xb0);
  command(kDisk, 0x90);
  EXPECT_EQ(in(kDisk + 6) & 0x10, 0);
  EXPECT_EQ(error(kDisk), 0x01);
  EXPECT_EQ(in(kDisk + 2), 1);
  EXPECT_EQ(in(kDisk + 3), 1);
  EXPECT_TRUE(irq(kDisk));
}

TEST_F(Piix3IdeTest, AlternateStatusLeavesTheInterrupt) {
  command(kDisk, 0xec);
  EXPECT_TRUE(irq(kDisk));
  EXPECT_EQ(alternate_status(kDisk), kDataStatus);
  EXPECT_TRUE(irq(kDisk));
  EXPECT_EQ(status(kDisk), kDataStatus);
  EXPECT_FALSE(irq(kDisk));
}

TEST_F(Piix3IdeTest, MaskedInterruptComesWhenUnmasked) {
  out(0x3f6, 0x02);
  command(kDisk, 0xec);
  EXPECT_FALSE(irq(kDisk));
  EXPECT_EQ(dma_status(kDisk), 0);
  out(0x3f6, 0x00);
  EXPECT_TRUE(irq(kDisk));
  EXPECT_EQ(dma_status(kDisk), 0x04);
}

TEST_F(Piix3IdeTest, SoftResetShowsBusyThenTheSignature) {
  registers(kDisk, {1, 2, 3, 4, 5}, 0xf0);
  out(0x3f6, 0x04);
  EXPECT_EQ(status(kDisk), 0x80);
  command(kDisk, 0xec);
  out(0x3f6, 0x00);
  EXPECT_EQ(status(kDisk), kReadyStatus);
  EXPECT_EQ(error(kDisk), 0x01);
  EXPECT_EQ(in(kDisk + 2), 1);
  EXPECT_EQ(in(kDisk + 4), 0);
  EXPECT_FALSE(irq(kDisk));
}

TEST_F(Piix3IdeTest, ResetWaitsForTheDiskBeforeTheNextCommand) {
  command28(0x30, 1, 1);
  write_data(kDisk, std::vector<std::byte>(512));
  out(0x3f6, 0x04);
  out(0x3f6, 0x00);
  EXPECT_EQ(status(kDisk), 0x80);
  command28(0x30, 1, 1);
  EXPECT_EQ(disk.log.size(), 1U);
  disk.finish_all();
  EXPECT_EQ(status(kDisk), kReadyStatus);
  EXPECT_FALSE(irq(kDisk));
}

TEST_F(Piix3IdeTest, MachineResetForgetsSettings) {
  command28(0xc6, 0, 8);
  out(0x3f6, 0x02);
  ide->reset();
  ide->config_write(0x04, 2, 0x0001);
  EXPECT_EQ(identify(kDisk, 0xec)[59], 0);
}

TEST_F(Piix3IdeTest, RequestsBeginWithTheLockReleasedAndOutliveTheController) {
  command28(0x20, 0, 1);
  ASSERT_EQ(disk.waiting.size(), 1U);
  ide.reset();
  disk.finish_all();
}

TEST_F(Piix3IdeTest, WordAccessesToByteRegistersAreSplit) {
  pci.out(kDisk + 2, 2, 0x2211);
  EXPECT_EQ(in(kDisk + 2), 0x11);
  EXPECT_EQ(in(kDisk + 3), 0x22);
  EXPECT_EQ(pci.in(kDisk + 2, 2), 0x2211U);
}

// ---- Saving

struct Piix3IdeStateTest : Piix3IdeTest {
  /// Carries the state over to a second machine with the same disks.
  void migrate() {
    second = Piix3Ide::create(pci.services(), isa).value();
    ASSERT_TRUE(second->channel(0).add_disk(0, disk, {.serial = "QM00001"}));
    ASSERT_TRUE(second->channel(1).add_cdrom(0, &medium, {.serial = "QM00003"}));
    state::Writer writer;
    ide->save(writer);
    pci.bus.detach(*ide);
    ASSERT_TRUE(pci.bus.attach(*second, PciAddress{1, 1}));
    disk.waiting.clear();
    medium.waiting.clear();
    state::Reader reader(writer.bytes());
    const auto loaded = second->load(reader);
    ASSERT_TRUE(loaded) << loaded.error().describe();
    EXPECT_TRUE(reader.at_end());
  }
  std::unique_ptr<Piix3Ide> second;
};

TEST_F(Piix3IdeStateTest, InTheMiddleOfAPioRead) {
  command28(0x20, 5, 2);
  disk.finish_all();
  (void)status(kDisk);
  const auto first = read_data(kDisk, 100);
  migrate();
  auto all = read_data(kDisk, 412);
  all.insert(all.begin(), first.begin(), first.end());
  EXPECT_EQ(all, sectors(5, 1));
  EXPECT_EQ(read_data(kDisk, 512), sectors(6, 1));
}

TEST_F(Piix3IdeStateTest, WhileTheDiskReads) {
  write_table({{0x10000, 1024}});
  command28(0xc8, 5, 2);
  start_dma(kDisk, true);
  migrate();
  EXPECT_EQ(status(kDisk), 0x80);
  disk.finish_all();
  EXPECT_EQ(memory(0x10000, 1024), sectors(5, 2));
  EXPECT_TRUE(irq(kDisk));
}

TEST_F(Piix3IdeStateTest, WhileTheDiskWritesAndFlushes) {
  const std::vector<std::byte> data(512, std::byte{0x77});
  command28(0xef, 0, 0, 0x82);
  disk.finish_all();
  command28(0x30, 5, 1);
  write_data(kDisk, data);
  migrate();
  disk.finish_one();
  EXPECT_EQ(sectors(5, 1), data);
  std::swap(ide, second);
  migrate();
  disk.finish_all();
  EXPECT_EQ(status(kDisk), kReadyStatus);
  EXPECT_EQ(disk.log.back().kind, block::FakeDisk::Kind::kFlush);
}

TEST_F(Piix3IdeStateTest, InTheMiddleOfAPacketAndItsAnswer) {
  registers(kCdrom, {0, 0, 0, 0, 8}, 0xa0);
  command(kCdrom, 0xa0);
  std::vector<std::byte> bytes(12);
  bytes[0] = std::byte{0x28};
  bytes[8] = std::byte{2};
  write_data(kCdrom, std::span(bytes).first(6));
  migrate();
  write_data(kCdrom, std::span(bytes).last(6));
  medium.finish_all();
  EXPECT_EQ(status(kCdrom), kDataStatus);
  read_data(kCdrom, 2048);
  std::swap(ide, second);
  migrate();
  const auto* at = medium.contents.data() + 2048;
  EXPECT_EQ(read_data(kCdrom, 2048), std::vector(at, at + 2048));
  EXPECT_EQ(status(kCdrom), kReadyStatus);
}

TEST_F(Piix3IdeStateTest, OtherDrivesAreRefused) {
  state::Writer writer;
  ide->save(writer);
  auto other = Piix3Ide::create(pci.services(), isa).value();
  state::Reader reader(writer.bytes());
  EXPECT_FALSE(other->load(reader));
}

}  // namespace
}  // namespace doppel::hw
