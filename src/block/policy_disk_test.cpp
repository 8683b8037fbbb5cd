// werror= and rerror=: what becomes of requests that the host fails at.
#include "block/policy_disk.h"

#include <gtest/gtest.h>

#include "block/fake_disk.h"

namespace doppel::block {
namespace {

struct PolicyDiskTest : testing::Test {
  FakeDisk& make(ErrorPolicy policy) {
    auto owned = std::make_unique<FakeDisk>(4096);
    FakeDisk& fake = *owned;
    disk = std::make_unique<PolicyDisk>(
        std::move(owned), policy, [this](const Error& error, std::uint64_t) { stops.push_back(error.describe()); });
    return fake;
  }
  Buffers buffers() { return {{.iov_base = bytes.data(), .iov_len = bytes.size()}}; }
  Done note() {
    return [this](const Result<>& result) { answers.push_back(result ? "good" : result.error().describe()); };
  }

  std::vector<std::byte> bytes = std::vector<std::byte>(512, std::byte{0xab});
  std::vector<std::string> answers;
  std::vector<std::string> stops;
  std::unique_ptr<PolicyDisk> disk;
};

TEST_F(PolicyDiskTest, Reports) {
  FakeDisk& fake = make({.reads = ErrorAction::kReport, .writes = ErrorAction::kReport});
  fake.failure = ErrorKind::kNoSpace;
  disk->read(0, buffers(), note());
  disk->write(0, buffers(), note());
  disk->flush(note());
  fake.finish_all();
  EXPECT_EQ(answers, (std::vector<std::string>(3, "this disk fails")));
  EXPECT_TRUE(stops.empty());
}

TEST_F(PolicyDiskTest, Ignores) {
  FakeDisk& fake = make({.reads = ErrorAction::kIgnore, .writes = ErrorAction::kIgnore});
  fake.failure = ErrorKind::kIo;
  disk->read(0, buffers(), note());
  disk->discard(0, 512, note());
  fake.finish_all();
  EXPECT_EQ(answers, (std::vector<std::string>(2, "good")));
}

TEST_F(PolicyDiskTest, HoldsAndTriesAgain) {
  FakeDisk& fake = make({.reads = ErrorAction::kStop, .writes = ErrorAction::kStop});
  fake.failure = ErrorKind::kIo;
  disk->write(1024, buffers(), note());
  disk->write_zeroes(2048, 512, true, note());
  fake.finish_all();
  EXPECT_TRUE(answers.empty());
  EXPECT_TRUE(disk->holds_requests());
  EXPECT_EQ(stops, (std::vector<std::string>{"writing 512 bytes at 1024: this disk fails",
                                             "zeroing 512 bytes at 2048: this disk fails"}));
  disk->retry();
  fake.finish_all();
  EXPECT_EQ(stops.size(), 4U) << "it fails again";
  fake.failure = {};
  disk->retry();
  fake.finish_all();
  EXPECT_EQ(answers, (std::vector<std::string>(2, "good")));
  EXPECT_FALSE(disk->holds_requests());
  EXPECT_EQ(fake.contents[1024], std::byte{0xab});
}

TEST_F(PolicyDiskTest, WhatBeganBeforeTheHostWasMendedIsTriedOnceMore) {
  FakeDisk& fake = make({});
  fake.failure = ErrorKind::kNoSpace;
  disk->write(0, buffers(), note());
  fake.finish_all();
  disk->write(512, buffers(), note());
  disk->retry();
  fake.finish_one();  // the second one, which began while the host was full
  EXPECT_FALSE(disk->holds_requests());
  fake.failure = {};
  fake.finish_all();
  EXPECT_EQ(answers, (std::vector<std::string>(2, "good")));
  EXPECT_EQ(stops.size(), 1U);
}

TEST_F(PolicyDiskTest, EnospcStopsOnlyWhereTheHostIsFull) {
  FakeDisk& fake = make({});
  fake.failure = ErrorKind::kIo;
  disk->write(0, buffers(), note());
  fake.finish_all();
  EXPECT_EQ(answers.size(), 1U);
  fake.failure = ErrorKind::kNoSpace;
  disk->read(0, buffers(), note());
  fake.finish_all();
  EXPECT_EQ(answers.size(), 2U) << "reads are reported";
  disk->flush(note());
  fake.finish_all();
  EXPECT_EQ(answers.size(), 2U);
  EXPECT_EQ(stops, (std::vector<std::string>{"flushing: this disk fails"}));
}

TEST_F(PolicyDiskTest, TheGuestsOwnMistakesStopNothing) {
  FakeDisk& fake = make({.reads = ErrorAction::kStop, .writes = ErrorAction::kStop});
  fake.is_read_only = true;
  disk->write(0, buffers(), note());
  disk->read(8192, buffers(), note());
  fake.finish_all();
  EXPECT_EQ(answers.size(), 2U);
  EXPECT_TRUE(stops.empty());
}

TEST_F(PolicyDiskTest, AbandonedRequestsHaveFailed) {
  FakeDisk& fake = make({.reads = ErrorAction::kStop, .writes = ErrorAction::kStop});
  fake.failure = ErrorKind::kIo;
  disk->read(0, buffers(), note());
  fake.finish_all();
  disk->abandon();
  EXPECT_EQ(answers, (std::vector<std::string>{"reading 512 bytes at 0: this disk fails"}));
  disk->flush(note());
  fake.finish_all();
  disk.reset();
  EXPECT_EQ(answers.size(), 2U) << "every request is answered before the disk goes";
}

TEST_F(PolicyDiskTest, WhatBeganBeforeAResetIsNotHeld) {
  FakeDisk& fake = make({});
  fake.failure = ErrorKind::kNoSpace;
  disk->write(0, buffers(), note());
  disk->abandon();
  fake.finish_all();
  EXPECT_EQ(answers, (std::vector<std::string>{"this disk fails"}));
  EXPECT_TRUE(stops.empty());
}

TEST(ErrorAction, Names) {
  EXPECT_EQ(parse_error_action("werror", "enospc").value(), ErrorAction::kStopIfFull);
  EXPECT_EQ(parse_error_action("rerror", "halt").error().describe(),
            "rerror= expects report, ignore, stop or enospc, not 'halt'");
}

}  // namespace
}  // namespace doppel::block
