// I/O commands, and how their data is found in guest memory.
#include "hw/nvme/nvme_test_rig.h"

namespace doppel::hw {
namespace {

using Kind = block::FakeDisk::Kind;
using Request = block::FakeDisk::Request;
using nvme::IoOpcode;
using nvme::Status;

struct NvmeIoTest : testing::Test, test::NvmeRig {
  NvmeIoTest() {
    enable();
    make_queues();
  }
  Status run_io(const nvme::Command& command) { return execute(1, command).status; }
  /// Puts an SGL descriptor at ADDRESS.
  void descriptor(std::uint64_t address, std::uint64_t to, std::uint32_t length, unsigned type) {
    store(address, to);
    store(address + 8, length | std::uint64_t{type} << 60U);
  }
  static nvme::Command with_sgl(nvme::Command command, std::uint64_t to, std::uint32_t length, unsigned type) {
    command.flags = 0x40;
    command.data1 = to;
    command.data2 = length | std::uint64_t{type} << 60U;
    return command;
  }
  static constexpr std::uint64_t kList = 0x20'0000;
};

TEST_F(NvmeIoTest, ReadsIntoOnePage) {
  EXPECT_EQ(run_io(io(IoOpcode::kRead, 5, 3, kData + 0x200)), Status::kSuccess);
  EXPECT_EQ(memory(kData + 0x200, 3 * 512), on_disk(5 * 512, 3 * 512));
}

TEST_F(NvmeIoTest, ReadsIntoTwoPages) {
  EXPECT_EQ(run_io(io(IoOpcode::kRead, 0, 9, kData + 0xe00, kData + 0x8000)), Status::kSuccess);
  EXPECT_EQ(memory(kData + 0xe00, 512), on_disk(0, 512));
  EXPECT_EQ(memory(kData + 0x8000, 4096), on_disk(512, 4096));
}

TEST_F(NvmeIoTest, ReadsByListsThatContinue) {
  // The first list has room for three entries: two pages, and the next list.
  constexpr std::uint64_t kFirstList = kList + 4096 - 3 * 8;
  for (std::uint64_t page = 0; page < 2; ++page) store(kFirstList + 8 * page, kData + 0x4000 * (page + 1));
  store(kFirstList + 16, kList + 0x2000);
  for (std::uint64_t page = 2; page < 100; ++page) store(kList + 0x2000 + 8 * (page - 2), kData + 0x4000 * (page + 1));
  EXPECT_EQ(run_io(io(IoOpcode::kRead, 0, 101 * 8, kData, kFirstList)), Status::kSuccess);
  for (std::uint64_t page = 0; page < 101; ++page)
    ASSERT_EQ(memory(kData + 0x4000 * page, 4096), on_disk(page * 4096, 4096)) << page;
}

TEST_F(NvmeIoTest, HostileLists) {
  EXPECT_EQ(run_io(io(IoOpcode::kRead, 0, 8, kData + 2)), Status::kInvalidPrpOffset);
  EXPECT_EQ(run_io(io(IoOpcode::kRead, 0, 16, kData, kData + 4)), Status::kInvalidPrpOffset);
  EXPECT_EQ(run_io(io(IoOpcode::kRead, 0, 24, kData, kList + 4)), Status::kInvalidPrpOffset);
  EXPECT_EQ(run_io(io(IoOpcode::kRead, 0, 24, kData, 0x4000'0000)), Status::kDataTransferError);
  EXPECT_EQ(run_io(io(IoOpcode::kRead, 0, 24, 0x4000'0000)), Status::kDataTransferError);
  EXPECT_EQ(run_io(io(IoOpcode::kRead, 0, 8, 0x4000'0000)), Status::kDataTransferError);
  // A list that continues with itself, one entry at a time.
  store(kList + 4088, kList + 4088);
  EXPECT_EQ(run_io(io(IoOpcode::kRead, 0, 1000, kData, kList + 4088)), Status::kInvalidPrpOffset);
  // And a whole one, which ends with the data.
  for (std::uint64_t i = 0; i < 512; ++i) store(kList + 8 * i, kList);
  EXPECT_EQ(run_io(io(IoOpcode::kWrite, 0, 1024, kData, kList)), Status::kSuccess);
  EXPECT_EQ(run_io(io(IoOpcode::kRead, 0, 1025, kData, kList)), Status::kInvalidField) << "more than MDTS allows";
}

TEST_F(NvmeIoTest, ScatterGatherLists) {
  EXPECT_EQ(run_io(with_sgl(io(IoOpcode::kRead, 7, 2), kData + 3, 1024, 0)), Status::kSuccess);
  EXPECT_EQ(memory(kData + 3, 1024), on_disk(7 * 512, 1024));
  descriptor(kList, kData, 100, 0);
  descriptor(kList + 16, 0, 412, 1);
  descriptor(kList + 32, kList + 0x1000, 32, 3);
  descriptor(kList + 0x1000, kData + 0x1000, 500, 0);
  descriptor(kList + 0x1010, kData + 0x2000, 4096, 0);
  EXPECT_EQ(run_io(with_sgl(io(IoOpcode::kRead, 20, 2), kList, 48, 2)), Status::kSuccess);
  EXPECT_EQ(memory(kData, 100), on_disk(20 * 512, 100));
  EXPECT_EQ(memory(kData + 0x1000, 500), on_disk(21 * 512, 500));
  EXPECT_EQ(memory(kData + 0x2000, 12), on_disk(21 * 512 + 500, 12));
}

TEST_F(NvmeIoTest, HostileScatterGatherLists) {
  const auto read = io(IoOpcode::kRead, 0, 8);
  EXPECT_EQ(run_io(with_sgl(read, kData, 512, 0)), Status::kInvalidSglLength);
  EXPECT_EQ(run_io(with_sgl(read, kData, 4096, 5)), Status::kInvalidSglType);
  EXPECT_EQ(run_io(with_sgl(read, kList, 8, 3)), Status::kInvalidSglSegment);
  EXPECT_EQ(run_io(with_sgl(read, kList, 0xffff'fff0, 3)), Status::kInvalidSglCount);
  EXPECT_EQ(run_io(with_sgl(read, 0x4000'0000, 32, 3)), Status::kDataTransferError);
  descriptor(kList, kList, 16, 2);  // a segment of nothing but itself
  EXPECT_EQ(run_io(with_sgl(read, kList, 16, 2)), Status::kInvalidSglCount);
  auto keyed = read;
  keyed.flags = 0xc0;
  EXPECT_EQ(run_io(keyed), Status::kInvalidField);
}

TEST_F(NvmeIoTest, TheDiskWorksOnGuestMemory) {
  memory::DirtyBitmap& dirty = block->dirty();
  dirty.start(memory::DirtyClient::kMigration);
  const auto is_dirty = [&] { return dirty.test(memory::DirtyClient::kMigration, kData / 4096); };
  submit(1, io(IoOpcode::kWrite, 7, 2));
  ASSERT_EQ(disk.waiting.size(), 1U);
  EXPECT_EQ(disk.waiting.front().buffers.front().iov_base, block->host() + kData);
  finish_disks();
  EXPECT_FALSE(is_dirty()) << "it was only read";
  submit(1, io(IoOpcode::kRead, 7, 2));
  ASSERT_EQ(disk.waiting.size(), 1U);
  EXPECT_EQ(disk.waiting.front().buffers.front().iov_base, block->host() + kData);
  disable();
  EXPECT_EQ(status() & 1U, 1U) << "the memory is the driver's again when the controller is not ready any more";
  finish_disks();
  EXPECT_EQ(status() & 1U, 0U);
  EXPECT_TRUE(is_dirty());
}

TEST_F(NvmeIoTest, Writes) {
  const std::vector<std::byte> data(1024, std::byte{0x77});
  set_memory(kData, data);
  EXPECT_EQ(run_io(io(IoOpcode::kWrite, 100, 2)), Status::kSuccess);
  EXPECT_EQ(on_disk(100 * 512, 1024), data);
  EXPECT_EQ(disk.log, (std::vector<Request>{{Kind::kWrite, 100 * 512, 1024}}));
}

TEST_F(NvmeIoTest, FlushesBehindWritesThatAskForIt) {
  auto write = io(IoOpcode::kWrite, 0, 1);
  write.dword12 = 1U << 30U;
  EXPECT_EQ(run_io(write), Status::kSuccess);
  EXPECT_EQ(disk.log, (std::vector<Request>{{Kind::kWrite, 0, 512}, {.kind = Kind::kFlush}}));
  disk.log.clear();
  EXPECT_EQ(admin(nvme::AdminOpcode::kSetFeatures, 6, 0).status, Status::kSuccess);
  EXPECT_EQ(run_io(io(IoOpcode::kWrite, 0, 1)), Status::kSuccess);
  EXPECT_EQ(disk.log, (std::vector<Request>{{Kind::kWrite, 0, 512}, {.kind = Kind::kFlush}}));
}

TEST_F(NvmeIoTest, FlushesOneNamespaceOrAll) {
  auto flush = io(IoOpcode::kFlush, 0, 1);
  EXPECT_EQ(run_io(flush), Status::kSuccess);
  EXPECT_EQ(disk.log.size(), 1U);
  EXPECT_EQ(other.log.size(), 0U);
  flush.namespace_id = nvme::kAllNamespaces;
  EXPECT_EQ(run_io(flush), Status::kSuccess);
  EXPECT_EQ(disk.log.size(), 2U);
  EXPECT_EQ(other.log.size(), 1U);
  flush.namespace_id = 3;
  EXPECT_EQ(run_io(flush), Status::kInvalidNamespace);
}

TEST_F(NvmeIoTest, LargeBlocks) {
  auto write = io(IoOpcode::kWrite, 3, 1);
  write.namespace_id = 2;
  EXPECT_EQ(run_io(write), Status::kSuccess);
  EXPECT_EQ(other.log, (std::vector<Request>{{Kind::kWrite, 3 * 4096, 4096}}));
  write.dword10 = 256;
  EXPECT_EQ(run_io(write), Status::kLbaOutOfRange);
}

TEST_F(NvmeIoTest, Compares) {
  set_memory(kData, on_disk(9 * 512, 1024));
  EXPECT_EQ(run_io(io(IoOpcode::kCompare, 9, 2)), Status::kSuccess);
  set_memory(kData + 1023, std::vector<std::byte>(1, std::byte{0xee}));
  EXPECT_EQ(run_io(io(IoOpcode::kCompare, 9, 2)), Status::kCompareFailure);
}

TEST_F(NvmeIoTest, WritesZeroesDiscardsAndVerifies) {
  auto zeroes = io(IoOpcode::kWriteZeroes, 4, 4);
  EXPECT_EQ(run_io(zeroes), Status::kSuccess);
  EXPECT_EQ(on_disk(4 * 512, 2048), std::vector<std::byte>(2048));
  store(kData, std::uint64_t{2} << 32U);  // two blocks from 10, none from anywhere, one from 20
  store(kData + 8, 10);
  store(kData + 16, 0);
  store(kData + 24, 1);
  store(kData + 32, std::uint64_t{1} << 32U);
  store(kData + 40, 20);
  nvme::Command discard = io(IoOpcode::kDatasetManagement, 2, 1);
  discard.dword11 = 4;
  disk.log.clear();
  EXPECT_EQ(run_io(discard), Status::kSuccess);
  EXPECT_EQ(disk.log, (std::vector<Request>{{Kind::kDiscard, 5120, 1024}, {Kind::kDiscard, 10240, 512}}));
  disk.log.clear();
  EXPECT_EQ(run_io(io(IoOpcode::kVerify, 0, 1025)), Status::kSuccess) << "no data moves: MDTS is no limit";
  EXPECT_EQ(disk.log, (std::vector<Request>{{Kind::kRead, 0, 512 << 10}, {Kind::kRead, 512 << 10, 512}}));
}

TEST_F(NvmeIoTest, DiskErrorsAreTold) {
  disk.failure = ErrorKind::kIo;
  EXPECT_EQ(run_io(io(IoOpcode::kRead, 0, 1)), Status::kReadError);
  EXPECT_EQ(run_io(io(IoOpcode::kWrite, 0, 1)), Status::kWriteFault);
  disk.failure = ErrorKind::kNoSpace;
  EXPECT_EQ(run_io(io(IoOpcode::kWrite, 0, 1)), Status::kCapacityExceeded);
  EXPECT_EQ(run_io(io(IoOpcode::kVerify, 0, 1)), Status::kCapacityExceeded);
}

TEST_F(NvmeIoTest, ReadOnlyDisksTakeNoWrites) {
  disk.is_read_only = true;
  EXPECT_EQ(run_io(io(IoOpcode::kWrite, 0, 1)), Status::kWriteProtected);
  EXPECT_EQ(run_io(io(IoOpcode::kWriteZeroes, 0, 1)), Status::kWriteProtected);
  EXPECT_EQ(run_io(io(IoOpcode::kRead, 0, 1)), Status::kSuccess);
  EXPECT_EQ(admin(nvme::AdminOpcode::kIdentify, 0, 0, kData, 1).status, Status::kSuccess);
  EXPECT_EQ(memory(kData + 99, 1)[0], std::byte{1});
}

TEST_F(NvmeIoTest, UnknownAndFusedCommandsFail) {
  auto command = io(static_cast<IoOpcode>(0x7f), 0, 1);
  const Answer answer = execute(1, command);
  EXPECT_EQ(answer.status, Status::kInvalidOpcode);
  EXPECT_TRUE(answer.no_retry);
  command = io(IoOpcode::kCompare, 0, 1);
  command.flags = 1;
  EXPECT_EQ(run_io(command), Status::kInvalidField);
}

TEST_F(NvmeIoTest, ManyCommandsAtATime) {
  for (unsigned i = 0; i < kEntries - 1; ++i) put(1, io(IoOpcode::kRead, i, 1, kData + 512ULL * i));
  ring(1);
  run();
  EXPECT_EQ(disk.waiting.size(), kEntries - 1) << "all of them are at the disk";
  finish_disks();
  for (unsigned i = 0; i < kEntries - 1; ++i) EXPECT_TRUE(take(1));
  EXPECT_EQ(memory(kData, 512 * (kEntries - 1)), on_disk(0, 512 * (kEntries - 1)));
}

}  // namespace
}  // namespace doppel::hw
