// DMA: tables good and bad, stopping, and what the status register tells.
#include "hw/ide/ide_test_rig.h"

namespace doppel::hw {
namespace {

using test::kDataStatus;
using test::kReadyStatus;

struct BusMasterTest : test::IdeTest {
  static constexpr std::uint8_t kActive = 0x01;
  static constexpr std::uint8_t kError = 0x02;
  static constexpr std::uint8_t kInterrupt = 0x04;
  static constexpr std::uint8_t kReadDma = 0xc8;
  static constexpr std::uint8_t kWriteDma = 0xca;

  void read(std::uint32_t lba, std::uint8_t count, const std::vector<Region>& regions) {
    write_table(regions);
    command28(kReadDma, lba, count);
    start_dma(kDisk, true);
    disk.finish_all();
  }
};

TEST_F(BusMasterTest, ReadsIntoOneRegion) {
  read(3, 8, {{0x10000, 4096}});
  EXPECT_EQ(memory(0x10000, 4096), sectors(3, 8));
  EXPECT_EQ(dma_status(kDisk), kInterrupt);
  EXPECT_TRUE(irq(kDisk));
  EXPECT_EQ(status(kDisk), kReadyStatus);
  EXPECT_FALSE(irq(kDisk));
}

TEST_F(BusMasterTest, StartMayComeAfterTheData) {
  write_table({{0x10000, 512}});
  command28(kReadDma, 0, 1);
  disk.finish_all();
  EXPECT_EQ(alternate_status(kDisk), kDataStatus);
  start_dma(kDisk, true);
  EXPECT_EQ(memory(0x10000, 512), sectors(0, 1));
  EXPECT_TRUE(irq(kDisk));
}

TEST_F(BusMasterTest, ScattersOverRegionsOfAnyEvenSize) {
  read(10, 2, {{0x20000, 2}, {0x30000, 510}, {0x20100, 512}});
  const auto data = sectors(10, 2);
  EXPECT_EQ(memory(0x20000, 2), std::vector(data.begin(), data.begin() + 2));
  EXPECT_EQ(memory(0x30000, 510), std::vector(data.begin() + 2, data.begin() + 512));
  EXPECT_EQ(memory(0x20100, 512), std::vector(data.begin() + 512, data.end()));
  EXPECT_EQ(dma_status(kDisk), kInterrupt);
}

TEST_F(BusMasterTest, SizeZeroIs64KiB) {
  read(0, 128, {{0x40000, 0}});
  EXPECT_EQ(memory(0x40000, 65536), sectors(0, 128));
  EXPECT_EQ(dma_status(kDisk), kInterrupt);
}

TEST_F(BusMasterTest, MovesRequestsLargerThanItsBuffer) {
  std::vector<Region> regions;
  for (std::uint32_t i = 0; i < 32; ++i) regions.push_back({0x100000 + i * 0x10000, 0});
  write_table(regions);
  command48(0x25, 5, 4096);  // READ DMA EXT, 2 MiB
  start_dma(kDisk, true);
  disk.finish_all();
  EXPECT_EQ(memory(0x100000, 2 << 20), sectors(5, 4096));
  EXPECT_EQ(disk.log.size(), 4U);
  EXPECT_EQ(irq_edges.size(), 1U);
}

TEST_F(BusMasterTest, WritesFromMemory) {
  const std::vector<std::byte> data(1024, std::byte{0x5a});
  set_memory(0x8000, data);
  write_table({{0x8000, 1024}});
  command28(kWriteDma, 20, 2);
  start_dma(kDisk, false);
  EXPECT_FALSE(irq(kDisk));
  disk.finish_all();
  EXPECT_EQ(sectors(20, 2), data);
  EXPECT_EQ(dma_status(kDisk), kInterrupt);
  EXPECT_EQ(status(kDisk), kReadyStatus);
}

TEST_F(BusMasterTest, TableLongerThanTheTransferStaysActive) {
  read(0, 1, {{0x10000, 4096}});
  EXPECT_EQ(dma_status(kDisk), kActive | kInterrupt);
  stop_dma(kDisk);
  EXPECT_EQ(dma_status(kDisk), kInterrupt);
}

TEST_F(BusMasterTest, TableShorterThanTheTransferLeavesTheDriveWaiting) {
  read(0, 2, {{0x10000, 512}});
  EXPECT_EQ(memory(0x10000, 512), sectors(0, 1));
  EXPECT_EQ(dma_status(kDisk), 0);
  EXPECT_EQ(alternate_status(kDisk), kDataStatus);
  EXPECT_FALSE(irq(kDisk));
}

TEST_F(BusMasterTest, OddAddressesAndSizesAreMadeEven) {
  read(0, 1, {{0x10001, 513}});
  EXPECT_EQ(memory(0x10000, 512), sectors(0, 1));
}

TEST_F(BusMasterTest, RegionOutsideOfMemoryStops) {
  read(0, 1, {{0x8000'0000, 512}});
  EXPECT_EQ(dma_status(kDisk), kError);
  EXPECT_EQ(alternate_status(kDisk), kDataStatus);
  EXPECT_FALSE(irq(kDisk));
}

TEST_F(BusMasterTest, TableOutsideOfMemoryStops) {
  command28(kReadDma, 0, 1);
  pci.out(kBusMaster + 4, 4, 0xf000'0000);
  out(kBusMaster, 0x09);
  disk.finish_all();
  EXPECT_EQ(dma_status(kDisk), kError);
}

TEST_F(BusMasterTest, WithoutMasterEnableNothingMoves) {
  ide->config_write(0x04, 2, 0x0001);
  set_memory(0x10000, std::vector<std::byte>(512));
  read(0, 1, {{0x10000, 512}});
  EXPECT_EQ(memory(0x10000, 512), std::vector<std::byte>(512));
  EXPECT_EQ(dma_status(kDisk), kError);
}

TEST_F(BusMasterTest, StoppedTransferMovesNoMoreAndEndsByReset) {
  set_memory(0x10000, std::vector<std::byte>(512));
  write_table({{0x10000, 512}});
  command28(kReadDma, 0, 1);
  start_dma(kDisk, true);
  stop_dma(kDisk);
  disk.finish_all();
  EXPECT_EQ(memory(0x10000, 512), std::vector<std::byte>(512));
  EXPECT_EQ(dma_status(kDisk), 0);
  out(0x3f6, 0x04);
  out(0x3f6, 0x00);
  EXPECT_EQ(status(kDisk), kReadyStatus);
  EXPECT_FALSE(irq(kDisk));
}

TEST_F(BusMasterTest, StatusBitsAreClearedByOnesAndCapabilitiesKept) {
  read(0, 1, {{0x10000, 512}});
  out(kBusMaster + 2, 0x60);
  EXPECT_EQ(dma_status(kDisk), 0x64);
  out(kBusMaster + 2, 0x64);
  EXPECT_EQ(dma_status(kDisk), 0x60);
}

TEST_F(BusMasterTest, RegistersReadBack) {
  pci.out(kBusMaster + 4, 4, 0x1234'5677);
  EXPECT_EQ(pci.in(kBusMaster + 4, 4), 0x1234'5674U);
  out(kBusMaster, 0xf8);
  EXPECT_EQ(in(kBusMaster), 0x08);
  EXPECT_EQ(in(kBusMaster + 1), 0);
  EXPECT_EQ(in(kBusMaster + 12), 0);
}

TEST_F(BusMasterTest, CdromMovesByDma) {
  write_table({{0x10000, 4096}});
  packet({0x28, 0, 0, 0, 0, 5, 0, 0, 2}, 0, true);
  start_dma(kCdrom, true);
  medium.finish_all();
  const auto* at = medium.contents.data() + 5 * 2048;
  EXPECT_EQ(memory(0x10000, 4096), std::vector(at, at + 4096));
  EXPECT_EQ(dma_status(kCdrom), kInterrupt);
  EXPECT_EQ(in(kCdrom + 2), 0x03);
  EXPECT_EQ(status(kCdrom), kReadyStatus);
}

}  // namespace
}  // namespace doppel::hw
