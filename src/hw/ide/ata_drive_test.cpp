// The disk: identification, addressing, transfers by PIO, errors, everything else it can do.
#include "hw/ide/ide_test_rig.h"

namespace doppel::hw {
namespace {

using Kind = block::FakeDisk::Kind;
using Request = block::FakeDisk::Request;
using test::kDataStatus;
using test::kErrorStatus;
using test::kReadyStatus;

constexpr std::uint8_t kBusyStatus = 0x80;
constexpr std::uint8_t kAbort = 0x04;
constexpr std::uint8_t kNotFound = 0x10;
constexpr std::uint8_t kUncorrectable = 0x40;

struct AtaDriveTest : test::IdeTest {
  void expect_error(std::uint8_t bits) {
    EXPECT_EQ(alternate_status(kDisk), kErrorStatus);
    EXPECT_EQ(error(kDisk), bits);
    EXPECT_TRUE(irq(kDisk));
  }
  void set_features(std::uint8_t function, std::uint8_t count = 0) { command28(0xef, 0, count, function); }
  std::string text(const std::array<std::uint16_t, 256>& words, unsigned word, unsigned count) {
    std::string result;
    for (unsigned i = word; i < word + count; ++i)
      result += {static_cast<char>(words.at(i) >> 8U), static_cast<char>(words.at(i))};
    return result.substr(0, result.find_last_not_of(' ') + 1);
  }
};

TEST_F(AtaDriveTest, IdentifiesItself) {
  const auto words = identify(kDisk, 0xec);
  EXPECT_EQ(words[0], 0x0040);
  EXPECT_EQ(text(words, 10, 10), "QM00001");
  EXPECT_EQ(text(words, 23, 4), "2.5+");
  EXPECT_EQ(text(words, 27, 20), "QEMU HARDDISK");
  EXPECT_EQ(words[60] | words[61] << 16U, kDiskSize / 512);
  EXPECT_EQ(words[100] | words[101] << 16U, kDiskSize / 512);
  EXPECT_EQ(words[83] & 0x7400, 0x7400) << "48-bit, FLUSH CACHE and FLUSH CACHE EXT";
  EXPECT_EQ(words[88], 0x203f) << "UDMA 0 to 5, 5 chosen";
  EXPECT_EQ(words[93] & 0x6001, 0x6001) << "80 conductors";
  EXPECT_EQ(words[85] & 0x0020, 0x0020) << "write cache";
  unsigned sum = 0;
  for (const std::uint16_t word : words) sum += (word & 0xffU) + (word >> 8U);
  EXPECT_EQ(sum & 0xffU, 0U);
  EXPECT_EQ(alternate_status(kDisk), kReadyStatus);
}

TEST_F(AtaDriveTest, ReadsSectorsByPioWithAnInterruptForEach) {
  command28(0x20, 5, 2);
  EXPECT_EQ(status(kDisk), kBusyStatus);
  disk.finish_all();
  EXPECT_TRUE(irq(kDisk));
  EXPECT_EQ(status(kDisk), kDataStatus);
  EXPECT_FALSE(irq(kDisk));
  EXPECT_EQ(read_data(kDisk, 512), sectors(5, 1));
  EXPECT_TRUE(irq(kDisk));
  EXPECT_EQ(status(kDisk), kDataStatus);
  EXPECT_EQ(read_data(kDisk, 512, 4), sectors(6, 1));
  EXPECT_FALSE(irq(kDisk));
  EXPECT_EQ(status(kDisk), kReadyStatus);
  EXPECT_EQ(disk.log, (std::vector<Request>{{Kind::kRead, 5 * 512, 1024}}));
}

TEST_F(AtaDriveTest, CountZeroIsTheMost) {
  command28(0x40, 0, 0);
  disk.finish_all();
  EXPECT_EQ(disk.log, (std::vector<Request>{{Kind::kRead, 0, 256 * 512}}));
}

TEST_F(AtaDriveTest, ReadsMultiple) {
  command28(0xc4, 0, 4);
  expect_error(kAbort);
  command28(0xc6, 0, 4);
  EXPECT_EQ(status(kDisk), kReadyStatus);
  command48(0x29, 100, 6);
  disk.finish_all();
  EXPECT_EQ(status(kDisk), kDataStatus);
  EXPECT_EQ(read_data(kDisk, 4 * 512), sectors(100, 4));
  EXPECT_TRUE(irq(kDisk));
  EXPECT_EQ(read_data(kDisk, 2 * 512), sectors(104, 2));
  EXPECT_EQ(status(kDisk), kReadyStatus);
  EXPECT_EQ(identify(kDisk, 0xec)[59], 0x0104);
}

TEST_F(AtaDriveTest, RefusesOddMultiples) {
  for (const std::uint8_t count : std::to_array<std::uint8_t>({3, 32})) {
    command28(0xc6, 0, count);
    expect_error(kAbort);
  }
}

TEST_F(AtaDriveTest, WritesSectorsByPio) {
  const std::vector<std::byte> data(1024, std::byte{0xa5});
  command28(0x30, 7, 2);
  EXPECT_EQ(status(kDisk), kDataStatus);
  EXPECT_FALSE(irq(kDisk)) << "the first block is not announced";
  write_data(kDisk, std::span(data).first(512));
  EXPECT_EQ(status(kDisk), kBusyStatus);
  disk.finish_all();
  EXPECT_TRUE(irq(kDisk));
  EXPECT_EQ(status(kDisk), kDataStatus);
  write_data(kDisk, std::span(data).last(512));
  disk.finish_all();
  EXPECT_TRUE(irq(kDisk));
  EXPECT_EQ(status(kDisk), kReadyStatus);
  EXPECT_EQ(sectors(7, 2), data);
}

TEST_F(AtaDriveTest, AddressesByCylinderHeadAndSector) {
  registers(kDisk, {0, 1, 63, 1, 0}, 0xa2);  // cylinder 1, head 2, sector 63
  command(kDisk, 0x20);
  disk.finish_all();
  EXPECT_EQ(read_data(kDisk, 512), sectors((1 * 16 + 2) * 63 + 62, 1));
  registers(kDisk, {0, 1, 0, 0, 0}, 0xa0);
  command(kDisk, 0x20);
  expect_error(kNotFound);
}

TEST_F(AtaDriveTest, InitializeParametersChangesAddressing) {
  registers(kDisk, {0, 32, 0, 0, 0}, 0xa7);  // 8 heads of 32 sectors
  command(kDisk, 0x91);
  EXPECT_EQ(status(kDisk), kReadyStatus);
  registers(kDisk, {0, 1, 1, 2, 0}, 0xa1);
  command(kDisk, 0x20);
  disk.finish_all();
  EXPECT_EQ(read_data(kDisk, 512), sectors((2 * 8 + 1) * 32, 1));
  const auto words = identify(kDisk, 0xec);
  EXPECT_EQ(words[55], 8);
  EXPECT_EQ(words[56], 32);
}

TEST_F(AtaDriveTest, SectorsBeyondTheEndAreNotFound) {
  command28(0x20, kDiskSize / 512 - 1, 2);
  expect_error(kNotFound);
  command48(0x34, 1ULL << 47U, 1);
  expect_error(kNotFound);
  EXPECT_TRUE(disk.log.empty());
}

TEST_F(AtaDriveTest, ReadErrorTellsTheSector) {
  disk.failure = ErrorKind::kIo;
  command48(0x24, 0x123, 1);
  disk.finish_all();
  expect_error(kUncorrectable);
  EXPECT_EQ(in(kDisk + 3), 0x23);
  EXPECT_EQ(in(kDisk + 4), 0x01);
  disk.failure.reset();
  command28(0x20, 0x123, 1);
  disk.finish_all();
  EXPECT_EQ(status(kDisk), kDataStatus) << "the next command knows nothing of it";
}

TEST_F(AtaDriveTest, WriteErrorsAbort) {
  for (const ErrorKind kind : {ErrorKind::kIo, ErrorKind::kNoSpace}) {
    disk.failure = kind;
    command28(0x30, 1, 1);
    write_data(kDisk, std::vector<std::byte>(512));
    disk.finish_all();
    expect_error(kAbort);
  }
}

TEST_F(AtaDriveTest, FlushErrorAborts) {
  disk.failure = ErrorKind::kIo;
  command28(0xe7, 0, 0);
  disk.finish_all();
  expect_error(kAbort);
}

TEST_F(AtaDriveTest, ReadOnlyDiskAbortsWrites) {
  disk.is_read_only = true;
  for (const std::uint8_t opcode : std::to_array<std::uint8_t>({0x30, 0x35, 0xca})) {
    command28(opcode, 0, 1);
    expect_error(kAbort);
  }
  command28(0x06, 0, 1, 0x01);
  expect_error(kAbort);
  EXPECT_EQ(identify(kDisk, 0xec)[169], 0) << "no TRIM";
  EXPECT_TRUE(disk.log.empty());
}

TEST_F(AtaDriveTest, FlushesWithoutWriteCacheAndWithFua) {
  set_features(0x82);
  disk.finish_all();
  EXPECT_EQ(identify(kDisk, 0xec)[85] & 0x20, 0);
  disk.log.clear();
  command28(0x30, 1, 1);
  write_data(kDisk, std::vector<std::byte>(512));
  disk.finish_all();
  EXPECT_EQ(disk.log, (std::vector<Request>{{Kind::kWrite, 512, 512}, {.kind = Kind::kFlush}}));
  EXPECT_EQ(status(kDisk), kReadyStatus);

  set_features(0x02);
  disk.log.clear();
  write_table({{0x8000, 512}});
  command48(0x3d, 1, 1);
  start_dma(kDisk, false);
  disk.finish_all();
  EXPECT_EQ(disk.log, (std::vector<Request>{{Kind::kWrite, 512, 512}, {.kind = Kind::kFlush}}));
}

TEST_F(AtaDriveTest, TrimsRanges) {
  std::vector<std::byte> ranges(512);
  store_le<std::uint64_t>(ranges.data(), 0x0004'0000'0000'0010);
  store_le<std::uint64_t>(ranges.data() + 16, 0x0001'0000'0000'0100);
  set_memory(0x8000, ranges);
  write_table({{0x8000, 512}});
  command48(0x06, 0, 1, 0x01);
  start_dma(kDisk, false);
  disk.finish_all();
  EXPECT_EQ(disk.log,
            (std::vector<Request>{{Kind::kDiscard, 0x10 * 512, 4 * 512}, {Kind::kDiscard, 0x100 * 512, 512}}));
  EXPECT_EQ(status(kDisk), kReadyStatus);
  store_le<std::uint64_t>(ranges.data(), 0xffff'ffff'ffff'ffff);
  set_memory(0x8000, ranges);
  command48(0x06, 0, 1, 0x01);
  start_dma(kDisk, false);
  disk.finish_all();
  expect_error(kNotFound);
}

TEST_F(AtaDriveTest, ReportsItsSize) {
  command28(0xf8, 0, 0);
  EXPECT_EQ(in(kDisk + 3) | in(kDisk + 4) << 8U | in(kDisk + 5) << 16U, kDiskSize / 512 - 1);
  command48(0x27, 0, 0);
  EXPECT_EQ(in(kDisk + 3) | in(kDisk + 4) << 8U, kDiskSize / 512 - 1);
  out(0x3f6, 0x80);
  EXPECT_EQ(in(kDisk + 3), 0) << "the high-order byte";
}

TEST_F(AtaDriveTest, ShowsHighOrderBytesWithHob) {
  registers(kDisk, {0, 0x12, 0x34, 0x56, 0x78});
  registers(kDisk, {0, 0xab, 0xcd, 0xef, 0x01});
  out(0x3f6, 0x80);
  EXPECT_EQ(in(kDisk + 2), 0x12);
  EXPECT_EQ(in(kDisk + 5), 0x78);
  out(0x3f6, 0x00);
  EXPECT_EQ(in(kDisk + 2), 0xab);
}

TEST_F(AtaDriveTest, TransferModes) {
  for (const std::uint8_t mode : std::to_array<std::uint8_t>({0x00, 0x0c, 0x22, 0x44})) {
    set_features(0x03, mode);
    EXPECT_EQ(status(kDisk), kReadyStatus) << unsigned{mode};
  }
  EXPECT_EQ(identify(kDisk, 0xec)[88], 0x103f);
  for (const std::uint8_t mode : std::to_array<std::uint8_t>({0x02, 0x0d, 0x23, 0x46, 0x80})) {
    set_features(0x03, mode);
    expect_error(kAbort);
  }
}

TEST_F(AtaDriveTest, PowerModes) {
  const auto mode = [&] {
    command(kDisk, 0xe5);
    return in(kDisk + 2);
  };
  EXPECT_EQ(mode(), 0xff);
  command28(0xe0, 0, 0);
  EXPECT_EQ(mode(), 0x00);
  command28(0xe1, 0, 0);
  EXPECT_EQ(mode(), 0x80);
  command28(0x40, 0, 1);
  disk.finish_all();
  EXPECT_EQ(mode(), 0xff);
}

TEST_F(AtaDriveTest, Smart) {
  const auto smart = [&](std::uint8_t function) {
    registers(kDisk, {function, 1, 0, 0x4f, 0xc2});
    command(kDisk, 0xb0);
  };
  smart(0xda);
  EXPECT_EQ(status(kDisk), kReadyStatus);
  EXPECT_EQ(in(kDisk + 4), 0x4f);
  EXPECT_EQ(in(kDisk + 5), 0xc2);
  for (const std::uint8_t page : std::to_array<std::uint8_t>({0xd0, 0xd1})) {
    smart(page);
    EXPECT_EQ(status(kDisk), kDataStatus);
    unsigned sum = 0;
    for (const std::byte byte : read_data(kDisk, 512)) sum += std::to_integer<unsigned>(byte);
    EXPECT_EQ(sum & 0xffU, 0U);
  }
  smart(0xd9);
  smart(0xd0);
  expect_error(kAbort);
  smart(0xd8);
  EXPECT_EQ(status(kDisk), kReadyStatus);
  command28(0xb0, 0, 1, 0xd0);  // without the key
  expect_error(kAbort);
}

TEST_F(AtaDriveTest, AbortsWhatItDoesNotKnow) {
  for (const std::uint8_t opcode : std::to_array<std::uint8_t>({0x00, 0x08, 0xa0, 0xa1, 0xb1, 0xf1, 0xff})) {
    command28(opcode, 0, 1);
    expect_error(kAbort);
  }
}

TEST_F(AtaDriveTest, DataPortIsDeadOutsideOfTransfers) {
  EXPECT_EQ(pci.in(kDisk, 2), 0xffffU);
  pci.out(kDisk, 2, 0x1234);
  EXPECT_EQ(status(kDisk), kReadyStatus);
}

TEST_F(AtaDriveTest, BusyDriveTakesNoCommandAndNoRegister) {
  command28(0x20, 5, 1);
  registers(kDisk, {1, 2, 3, 4, 5});
  command(kDisk, 0xec);
  disk.finish_all();
  EXPECT_EQ(read_data(kDisk, 512), sectors(5, 1));
}

TEST_F(AtaDriveTest, Properties) {
  Piix3Ide& controller = *ide;
  block::FakeDisk other(1 << 20);
  other.caches_writes = false;
  ASSERT_TRUE(controller.channel(0).add_disk(
      1, other, {.serial = "S1", .model = "M", .ver = "V", .wwn = 0x5000c500a1b2c3d4, .rotation_rate = 1}));
  EXPECT_FALSE(controller.channel(0).add_disk(1, other, {}));
  const auto words = identify(kDisk, 0xec, 0xb0);
  EXPECT_EQ(text(words, 10, 10), "S1");
  EXPECT_EQ(text(words, 27, 20), "M");
  EXPECT_EQ(words[108], 0x5000);
  EXPECT_EQ(words[111], 0xc3d4);
  EXPECT_EQ(words[87] & 0x100, 0x100);
  EXPECT_EQ(words[217], 1);
  EXPECT_EQ(words[85] & 0x20, 0) << "the image is written through";
}

TEST(IdeGeometry, FollowsTheSize) {
  EXPECT_EQ(default_geometry(63 * 16 * 100), (IdeGeometry{100, 16, 63}));
  EXPECT_EQ(default_geometry(1), (IdeGeometry{1, 16, 63}));
  EXPECT_EQ(default_geometry(1ULL << 40U).cylinders, 16383U);
}

}  // namespace
}  // namespace doppel::hw
