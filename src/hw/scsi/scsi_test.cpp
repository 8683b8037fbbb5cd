#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "base/endian.h"
#include "block/fake_disk.h"
#include "hw/scsi/scsi_bus.h"
#include "hw/scsi/scsi_opcodes.h"

namespace doppel::hw {
namespace {

using block::FakeDisk;
using scsi::Status;

/// An initiator's command; what it asks a disk for begins at once.
class TestTask final : public ScsiTask {
 public:
  TestTask(std::vector<std::uint8_t> bytes, std::size_t room, std::vector<std::byte> sent)
      : in(room), out(std::move(sent)) {
    std::ranges::copy(bytes, block_.begin());
  }
  [[nodiscard]] const std::array<std::uint8_t, 16>& cdb() const override { return block_; }
  [[nodiscard]] std::uint64_t in_size() const override { return in.size(); }
  [[nodiscard]] std::uint64_t out_size() const override { return out.size(); }
  Result<> put(std::uint64_t offset, std::span<const std::byte> data) override {
    EXPECT_LE(offset + data.size(), in.size());
    std::ranges::copy(data, in.begin() + static_cast<std::ptrdiff_t>(offset));
    return {};
  }
  Result<> get(std::uint64_t offset, std::span<std::byte> data) override {
    EXPECT_LE(offset + data.size(), out.size());
    std::memcpy(data.data(), out.data() + offset, data.size());
    return {};
  }
  std::optional<block::Buffers> lend(std::uint64_t offset, std::size_t length, bool fills) override {
    if (!lends) return std::nullopt;
    std::vector<std::byte>& bytes = fills ? in : out;
    EXPECT_LE(offset + length, bytes.size());
    return block::Buffers{{.iov_base = bytes.data() + offset, .iov_len = length}};
  }
  void begin(Begin begin, Handler handler) override {
    begin([handler](const Result<>& result) { EXPECT_TRUE(handler(result)); });
  }
  Result<> finish(Status end, const scsi::Sense& why, std::uint64_t bytes) override {
    EXPECT_FALSE(status) << "it ends once";
    status = end;
    sense = why;
    moved = bytes;
    return {};
  }
  Result<> overrun() override {
    overran = true;
    return {};
  }
  [[nodiscard]] std::uint64_t number(std::size_t at, std::size_t size) const {
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < size; ++i) value = value << 8U | std::to_integer<std::uint64_t>(in.at(at + i));
    return value;
  }
  [[nodiscard]] std::string text(std::size_t at, std::size_t size) const {
    return {reinterpret_cast<const char*>(in.data()) + at, size};
  }

  bool lends = false;
  std::vector<std::byte> in;
  std::vector<std::byte> out;
  std::optional<Status> status;
  scsi::Sense sense;
  std::uint64_t moved = 0;
  bool overran = false;

 private:
  std::array<std::uint8_t, 16> block_{};
};

struct ScsiTest : testing::Test {
  ScsiTest() {
    for (std::size_t i = 0; i < disk.contents.size(); ++i) disk.contents[i] = static_cast<std::byte>(i / 512 + i);
    ScsiDiskConfig config;
    config.serial = "S1";
    EXPECT_TRUE(bus.add({0, 0}, std::make_unique<ScsiDisk>(ScsiKind::kDisk, &disk, config, Logger())));
    EXPECT_TRUE(bus.add({0, 300}, std::make_unique<ScsiDisk>(ScsiKind::kDisk, &second, config, Logger())));
    EXPECT_TRUE(bus.add({1, 0}, std::make_unique<ScsiDisk>(ScsiKind::kCdrom, &medium, config, Logger())));
    EXPECT_TRUE(bus.add({2, 0}, std::make_unique<ScsiDisk>(ScsiKind::kCdrom, nullptr, config, Logger())));
  }
  std::shared_ptr<TestTask> run(std::vector<std::uint8_t> cdb, std::size_t room = 0, std::vector<std::byte> sent = {},
                                ScsiAddress at = {}) {
    auto task = std::make_shared<TestTask>(std::move(cdb), room, std::move(sent));
    EXPECT_TRUE(bus.execute(at, task));
    for (FakeDisk* each : {&disk, &second, &medium}) each->finish_all();
    EXPECT_TRUE(task->status || task->overran);
    return task;
  }
  scsi::Sense sense_of(std::vector<std::uint8_t> cdb, std::size_t room = 0, std::vector<std::byte> sent = {},
                       ScsiAddress at = {}) {
    const auto task = run(std::move(cdb), room, std::move(sent), at);
    EXPECT_EQ(task->status, Status::kCheckCondition);
    return task->sense;
  }
  std::vector<std::byte> on_disk(std::size_t at, std::size_t size) const {
    return {disk.contents.begin() + static_cast<std::ptrdiff_t>(at),
            disk.contents.begin() + static_cast<std::ptrdiff_t>(at + size)};
  }

  FakeDisk disk{4 << 20};
  FakeDisk second{1 << 20};
  FakeDisk medium{1 << 20};
  ScsiBus bus;
};

TEST_F(ScsiTest, EveryReadReadsTheSame) {
  const std::vector<std::vector<std::uint8_t>> reads = {
      {scsi::kRead6, 0, 0, 7, 2},
      {scsi::kRead10, 0, 0, 0, 0, 7, 0, 0, 2},
      {scsi::kRead12, 0, 0, 0, 0, 7, 0, 0, 0, 2},
      {scsi::kRead16, 0, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 2},
  };
  for (const auto& cdb : reads) {
    const auto task = run(cdb, 1024);
    EXPECT_EQ(task->status, Status::kGood);
    EXPECT_EQ(task->moved, 1024U);
    EXPECT_EQ(task->in, on_disk(7 * 512, 1024));
  }
  EXPECT_EQ(run({scsi::kRead6, 0, 0, 0, 0}, 256 * 512)->moved, 256U * 512);
}

TEST_F(ScsiTest, EveryWriteWritesTheSame) {
  const std::vector<std::vector<std::uint8_t>> writes = {
      {scsi::kWrite6, 0, 0, 7, 2},
      {scsi::kWrite10, 0, 0, 0, 0, 7, 0, 0, 2},
      {scsi::kWrite12, 0, 0, 0, 0, 7, 0, 0, 0, 2},
      {scsi::kWrite16, 0, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 2},
  };
  std::uint8_t value = 1;
  for (const auto& cdb : writes) {
    const std::vector<std::byte> data(1024, static_cast<std::byte>(++value));
    EXPECT_EQ(run(cdb, 0, data)->status, Status::kGood);
    EXPECT_EQ(on_disk(7 * 512, 1024), data);
    EXPECT_EQ(disk.log.back().kind, FakeDisk::Kind::kWrite);
  }
  run({scsi::kWrite10, 0x08, 0, 0, 0, 7, 0, 0, 1}, 0, std::vector<std::byte>(512));
  EXPECT_EQ(disk.log.back().kind, FakeDisk::Kind::kFlush) << "force unit access";
  EXPECT_EQ(run({scsi::kSynchronizeCache10})->status, Status::kGood);
}

TEST_F(ScsiTest, LongTransfersGoThroughInPieces) {
  EXPECT_EQ(run({scsi::kRead10, 0, 0, 0, 0, 0, 0, 0x18, 0}, 3 << 20)->in, on_disk(0, 3 << 20));
  EXPECT_EQ(disk.log.size(), 2U);
}

TEST_F(ScsiTest, MemoryThatIsLentTakesTheData) {
  const auto task = std::make_shared<TestTask>(std::vector<std::uint8_t>{scsi::kRead10, 0, 0, 0, 0, 0, 0, 0x18, 0},
                                               3 << 20, std::vector<std::byte>());
  task->lends = true;
  EXPECT_TRUE(bus.execute({}, task));
  ASSERT_EQ(disk.waiting.size(), 1U);
  EXPECT_EQ(disk.waiting.front().buffers.front().iov_base, task->in.data());
  disk.finish_one();
  ASSERT_EQ(disk.waiting.size(), 1U);
  EXPECT_EQ(disk.waiting.front().buffers.front().iov_base, task->in.data() + ScsiDisk::kLargestPiece);
  disk.finish_all();
  EXPECT_EQ(task->status, Status::kGood);
  EXPECT_EQ(task->in, on_disk(0, 3 << 20));
}

TEST_F(ScsiTest, WhatDoesNotFitIsRefused) {
  EXPECT_EQ(sense_of({scsi::kRead10, 0, 0, 0, 0x20, 0, 0, 0, 1}, 512), scsi::kOutOfRange);
  EXPECT_EQ(sense_of({scsi::kRead16, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1}, 512),
            scsi::kOutOfRange);
  EXPECT_EQ(sense_of({scsi::kVerify10, 0, 0, 0, 0x20, 0, 0, 0, 1}), scsi::kOutOfRange);
  EXPECT_TRUE(run({scsi::kRead10, 0, 0, 0, 0, 0, 0, 0, 2}, 512)->overran);
  EXPECT_TRUE(run({scsi::kWrite10, 0, 0, 0, 0, 0, 0, 0, 2}, 0, std::vector<std::byte>(512))->overran);
  EXPECT_EQ(sense_of({0xff}), scsi::kInvalidOpcode);
  EXPECT_TRUE(disk.log.empty());
}

TEST_F(ScsiTest, FailuresAreTold) {
  disk.failure = ErrorKind::kIo;
  EXPECT_EQ(sense_of({scsi::kRead10, 0, 0, 0, 0, 0, 0, 0, 1}, 512), scsi::kReadError);
  EXPECT_EQ(sense_of({scsi::kWrite10, 0, 0, 0, 0, 0, 0, 0, 1}, 0, std::vector<std::byte>(512)), scsi::kWriteError);
  disk.failure = ErrorKind::kNoSpace;
  EXPECT_EQ(sense_of({scsi::kWrite10, 0, 0, 0, 0, 0, 0, 0, 1}, 0, std::vector<std::byte>(512)), scsi::kNoSpace);
  disk.failure.reset();
  disk.is_read_only = true;
  EXPECT_EQ(sense_of({scsi::kWrite10, 0, 0, 0, 0, 0, 0, 0, 1}, 0, std::vector<std::byte>(512)), scsi::kWriteProtected);
}

TEST_F(ScsiTest, UnitsTellOfThemselves) {
  const auto inquiry = run({scsi::kInquiry, 0, 0, 0, 96}, 96);
  EXPECT_EQ(inquiry->moved, 36U);
  EXPECT_EQ(inquiry->text(8, 24), "QEMU    QEMU HARDDISK   ");
  const auto pages = run({scsi::kInquiry, 1, 0, 0, 96}, 96);
  EXPECT_EQ(pages->text(4, pages->number(2, 2)), std::string("\x00\x80\x83\xb0\xb1\xb2", 6));
  for (const unsigned page : {0x80U, 0x83U, 0xb0U, 0xb1U, 0xb2U}) {
    const auto data = run({scsi::kInquiry, 1, static_cast<std::uint8_t>(page), 0, 96}, 96);
    EXPECT_EQ(data->number(1, 1), page);
    EXPECT_EQ(data->moved, data->number(2, 2) + 4);
  }
  EXPECT_EQ(run({scsi::kInquiry, 1, 0x80, 0, 96}, 96)->text(4, 2), "S1");
  EXPECT_EQ(sense_of({scsi::kInquiry, 1, 0x99, 0, 96}, 96), scsi::kInvalidField);
  EXPECT_EQ(run({scsi::kReadCapacity10}, 8)->number(0, 8), 0x00001fff'00000200U);
  const auto capacity = run({scsi::kServiceActionIn16, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32}, 32);
  EXPECT_EQ(capacity->number(0, 8), 0x1fffU);
  EXPECT_EQ(capacity->number(14, 1), 0x80U);
  const auto mode = run({scsi::kModeSense6, 0, 0x3f, 0, 255}, 255);
  EXPECT_EQ(mode->number(0, 1) + 1, mode->moved);
  EXPECT_EQ(mode->number(3, 1), 8U) << "a block descriptor";
  EXPECT_EQ(run({scsi::kModeSense10, 8, 0x08, 0, 0, 0, 0, 0, 255}, 255)->number(8, 3), 0x081204U) << "WCE";
  EXPECT_EQ(sense_of({scsi::kModeSense6, 0, 0x11, 0, 255}, 255), scsi::kInvalidField);
}

TEST_F(ScsiTest, UnitsAreFound) {
  const auto report = run({scsi::kReportLuns, 0, 0, 0, 0, 0, 0, 0, 1, 0}, 256);
  EXPECT_EQ(report->number(0, 4), 16U);
  EXPECT_EQ(report->number(8, 2), 0U);
  EXPECT_EQ(report->number(16, 2), 0x4000U | 300U);
  EXPECT_EQ(run({scsi::kReadCapacity10}, 8, {}, {0, 300})->number(0, 4), 2047U);
  EXPECT_EQ(run({scsi::kInquiry, 0, 0, 0, 36}, 36, {}, {0, 7})->number(0, 1), 0x7fU);
  EXPECT_EQ(sense_of({scsi::kTestUnitReady}, 0, {}, {0, 7}), scsi::kNoSuchUnit);
  EXPECT_EQ(bus.free_target(), 3U);
  EXPECT_FALSE(bus.add({0, 0}, std::make_unique<ScsiDisk>(ScsiKind::kCdrom, nullptr, ScsiDiskConfig{}, Logger())));
}

TEST_F(ScsiTest, ResetsAreToldOnce) {
  bus.find({0, 0})->reset();
  EXPECT_EQ(run({scsi::kInquiry, 0, 0, 0, 36}, 36)->status, Status::kGood);
  EXPECT_EQ(sense_of({scsi::kTestUnitReady}), scsi::kWasReset);
  EXPECT_EQ(run({scsi::kTestUnitReady})->status, Status::kGood);
}

TEST_F(ScsiTest, BlocksAreUnmapped) {
  std::vector<std::byte> list(8 + 32);
  store_be<std::uint16_t>(list.data(), 38);
  store_be<std::uint16_t>(list.data() + 2, 32);
  store_be<std::uint64_t>(list.data() + 8, 16);
  store_be<std::uint32_t>(list.data() + 16, 8);
  store_be<std::uint64_t>(list.data() + 24, 100);
  store_be<std::uint32_t>(list.data() + 32, 1);
  EXPECT_EQ(run({scsi::kUnmap, 0, 0, 0, 0, 0, 0, 0, 40}, 0, list)->status, Status::kGood);
  EXPECT_EQ(disk.log, (std::vector<FakeDisk::Request>{{FakeDisk::Kind::kDiscard, 16 * 512, 8 * 512},
                                                      {FakeDisk::Kind::kDiscard, 100 * 512, 512}}));
  store_be<std::uint64_t>(list.data() + 24, ~0ULL);
  EXPECT_EQ(sense_of({scsi::kUnmap, 0, 0, 0, 0, 0, 0, 0, 40}, 0, list), scsi::kOutOfRange);
  store_be<std::uint16_t>(list.data() + 2, 0xffff);
  EXPECT_EQ(sense_of({scsi::kUnmap, 0, 0, 0, 0, 0, 0, 0, 40}, 0, list), scsi::kInvalidParameter);
  EXPECT_EQ(sense_of({scsi::kUnmap, 0, 0, 0, 0, 0, 0, 0, 40}, 0, {}), scsi::kShortParameters);
  EXPECT_EQ(disk.log.size(), 2U);
}

TEST_F(ScsiTest, BlocksAreFilled) {
  EXPECT_EQ(run({scsi::kWriteSame16, 0x09, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 2})->status, Status::kGood);
  EXPECT_EQ(disk.log.back(), (FakeDisk::Request{FakeDisk::Kind::kWriteZeroes, 2048, 1024}));
  const std::vector<std::byte> pattern(512, std::byte{0x77});
  EXPECT_EQ(run({scsi::kWriteSame10, 0, 0, 0, 0, 9, 0, 0, 3}, 0, pattern)->status, Status::kGood);
  EXPECT_EQ(on_disk(9 * 512, 1536), std::vector(1536, std::byte{0x77}));
  EXPECT_EQ(run({scsi::kWriteSame10, 0, 0, 0, 0, 0x10, 0, 1, 1}, 0, pattern)->status, Status::kGood);
  EXPECT_EQ(on_disk(0x10 * 512, 257 * 512), std::vector(257 * 512, std::byte{0x77}));
  EXPECT_EQ(sense_of({scsi::kWriteSame10, 0, 0, 0, 0, 0, 0, 0x20, 0}, 0, pattern), scsi::kInvalidField);
  EXPECT_EQ(sense_of({scsi::kWriteSame10, 0, 0, 0, 0x20, 0, 0, 0, 1}, 0, pattern), scsi::kOutOfRange);
  EXPECT_TRUE(run({scsi::kWriteSame10, 0, 0, 0, 0, 9, 0, 0, 3}, 0, {})->overran);
}

TEST_F(ScsiTest, CdRomsAreRead) {
  const ScsiAddress cd{1, 0};
  EXPECT_EQ(run({scsi::kInquiry, 0, 0, 0, 36}, 36, {}, cd)->number(0, 2), 0x0580U);
  EXPECT_EQ(run({scsi::kReadCapacity10}, 8, {}, cd)->number(0, 8), 0x000001ff'00000800U);
  EXPECT_EQ(run({scsi::kRead10, 0, 0, 0, 0, 1, 0, 0, 1}, 2048, {}, cd)->moved, 2048U);
  EXPECT_EQ(sense_of({scsi::kWrite10, 0, 0, 0, 0, 1, 0, 0, 1}, 0, std::vector<std::byte>(2048), cd),
            scsi::kInvalidOpcode);
  const auto toc = run({scsi::kReadToc, 0, 0, 0, 0, 0, 0, 0, 64}, 64, {}, cd);
  EXPECT_EQ(toc->number(0, 4), 0x00120101U);
  EXPECT_EQ(toc->number(14, 1), 0xaaU);
  EXPECT_EQ(toc->number(16, 4), 512U);
  EXPECT_EQ(run({scsi::kGetConfiguration, 0, 0, 0, 0, 0, 0, 0, 64}, 64, {}, cd)->number(6, 2), 0x08U);
  EXPECT_EQ(run({scsi::kGetEventStatus, 1, 0, 0, 0x10, 0, 0, 0, 64}, 64, {}, cd)->number(5, 1), 2U);
  EXPECT_EQ(sense_of({scsi::kTestUnitReady}, 0, {}, {2, 0}), scsi::kNoMedium);
  EXPECT_EQ(sense_of({scsi::kRead10, 0, 0, 0, 0, 1, 0, 0, 1}, 2048, {}, {2, 0}), scsi::kNoMedium);
}

TEST(ScsiDiskConfig, IsChecked) {
  EXPECT_TRUE(check_config(ScsiDiskConfig{}));
  EXPECT_FALSE(check_config({.serial = std::string(37, 'x')}));
  EXPECT_FALSE(check_config({.logical_block_size = 100}));
  EXPECT_FALSE(check_config({.logical_block_size = 4096}));
}

}  // namespace
}  // namespace doppel::hw
