#include "nbd/session.h"

#include <gtest/gtest.h>

#include "block/memory_node.h"
#include "block/test_support.h"
#include "nbd/scripted_transport.h"
#include "nbd/wire.h"

namespace doppel::nbd {
namespace {

using block::Bytes;
using block::filled;

constexpr std::uint64_t kSize = 1 << 20;
constexpr std::uint32_t kClientFlags = kFixedNewstyle | kNoZeroes;

/// What a client says, put together, and what the server answers, taken apart.
class SessionTest : public testing::Test {
 protected:
  SessionTest() : node_(filled(kSize, 0x11)) {
    offer_.exports.push_back({.name = "disk", .description = "a disk", .node = &node_});
    script_.put(kClientFlags);
  }

  void option(Option option, const WireWriter& data = {}) {
    script_.put(kOptionMagic)
        .put(static_cast<std::uint32_t>(option))
        .put(static_cast<std::uint32_t>(data.bytes().size()));
    add(data.bytes());
  }
  void go() { option(Option::kGo, WireWriter().put(std::uint32_t{4}).text("disk").put(std::uint16_t{0})); }
  void request(Command command, std::uint64_t offset, std::uint32_t length, std::uint16_t flags = 0,
               const Bytes& payload = {}) {
    script_.put(kRequestMagic).put(flags).put(static_cast<std::uint16_t>(command)).put(std::uint64_t{42});
    script_.put(offset).put(length);
    add(payload);
  }
  void add(const Bytes& bytes) { script_.text({reinterpret_cast<const char*>(bytes.data()), bytes.size()}); }

  /// True if the client got as far as choosing an export.
  bool run(std::size_t piece = 1000) {
    PipePool pipes;
    Session session(rig_.loop, offer_, std::make_unique<ScriptedTransport>(script_.bytes(), output_, piece), pipes);
    const bool negotiated = rig_.run(session.run());
    reader_.emplace(output_);
    reader_->text(18);  // the greeting
    return negotiated;
  }

  struct OptionAnswer {
    std::uint32_t type = 0;
    std::string data;
  };
  OptionAnswer option_answer() {
    EXPECT_EQ(reader_->take<std::uint64_t>(), kOptionReplyMagic);
    reader_->take<std::uint32_t>();
    const auto type = reader_->take<std::uint32_t>();
    return {type.value_or(0), std::string(reader_->counted_text().value_or(""))};
  }
  std::uint32_t simple_error() {
    EXPECT_EQ(reader_->take<std::uint32_t>(), kSimpleReplyMagic);
    const auto error = reader_->take<std::uint32_t>();
    EXPECT_EQ(reader_->take<std::uint64_t>(), 42U);
    return error.value_or(999);
  }
  struct ChunkAnswer {
    std::uint16_t flags = 0;
    std::uint16_t type = 0;
    std::string data;
  };
  ChunkAnswer chunk() {
    EXPECT_EQ(reader_->take<std::uint32_t>(), kStructuredReplyMagic);
    const auto flags = reader_->take<std::uint16_t>();
    const auto type = reader_->take<std::uint16_t>();
    EXPECT_EQ(reader_->take<std::uint64_t>(), 42U);
    return {flags.value_or(0), type.value_or(0), std::string(reader_->counted_text().value_or(""))};
  }

  block::BlockRig rig_;
  block::MemoryNode node_;
  Offer offer_;
  WireWriter script_;
  std::vector<std::byte> output_;
  std::optional<WireReader> reader_;
};

TEST_F(SessionTest, ReadsAndWritesWithSimpleReplies) {
  go();
  request(Command::kWrite, 4096, 100, kFua, filled(100, 0x77));
  request(Command::kRead, 4090, 10);
  request(Command::kFlush, 0, 0);
  request(Command::kDisconnect, 0, 0);
  ASSERT_TRUE(run());
  EXPECT_EQ(option_answer().type, 3U);
  EXPECT_EQ(option_answer().type, 1U);
  EXPECT_EQ(simple_error(), 0U);
  EXPECT_EQ(simple_error(), 0U);
  EXPECT_EQ(reader_->text(10), "\x11\x11\x11\x11\x11\x11\x77\x77\x77\x77");
  EXPECT_EQ(simple_error(), 0U);
  EXPECT_TRUE(reader_->at_end());
}

TEST_F(SessionTest, PagesOfADiskThatNobodyWritesToGoThroughPipes) {
  for (std::size_t i = 0; i < kSize; i += 512)
    ASSERT_TRUE(rig_.write(node_, i, filled(512, static_cast<int>(i >> 9U))));
  node_.is_read_only = offer_.exports[0].read_only = true;
  constexpr std::uint32_t kLength = 300'000;
  go();
  request(Command::kRead, 5000, kLength);
  request(Command::kRead, 0, kSize);  // more than a pipe holds
  request(Command::kRead, 9, 5);
  request(Command::kRead, 600'000, kLength);
  ASSERT_TRUE(run(10'000));
  option_answer();
  option_answer();
  const auto expect_read = [this](std::size_t offset, std::size_t length) {
    EXPECT_EQ(simple_error(), 0U);
    EXPECT_TRUE(reader_->text(length) ==
                std::string_view(reinterpret_cast<const char*>(node_.contents().data()) + offset, length));
  };
  expect_read(5000, kLength);
  expect_read(0, kSize);
  expect_read(9, 5);
  expect_read(600'000, kLength);
  EXPECT_TRUE(reader_->at_end());
}

TEST_F(SessionTest, TellsStatusInTheContextThatWasChosen) {
  option(Option::kStructuredReply);
  option(Option::kSetMetaContext, WireWriter()
                                      .put(std::uint32_t{4})
                                      .text("disk")
                                      .put(std::uint32_t{1})
                                      .put(std::uint32_t{15})
                                      .text("base:allocation"));
  go();
  request(Command::kBlockStatus, 512, 1024);
  request(Command::kRead, 0, 3, kDontFragment);
  ASSERT_TRUE(run(7));
  EXPECT_EQ(option_answer().type, 1U);
  EXPECT_EQ(option_answer().data, std::string("\0\0\0\1"
                                              "base:allocation",
                                              19));
  EXPECT_EQ(option_answer().type, 1U);
  EXPECT_EQ(option_answer().type, 3U);
  EXPECT_EQ(option_answer().type, 1U);
  const ChunkAnswer status = chunk();
  EXPECT_EQ(status.type, 5U);
  EXPECT_EQ(status.data, std::string("\0\0\0\1\0\0\4\0\0\0\0\0", 12));  // 1024 bytes of data
  const ChunkAnswer data = chunk();
  EXPECT_EQ(data.flags, kChunkDone);
  EXPECT_EQ(data.data, std::string("\0\0\0\0\0\0\0\0\x11\x11\x11", 11));
}

TEST_F(SessionTest, RefusesWithAnErrorAndGoesOn) {
  offer_.exports[0].read_only = true;
  option(static_cast<Option>(99));
  go();
  request(Command::kWrite, 0, 4, 0, filled(4, 1));
  request(Command::kRead, kSize, 1);
  request(static_cast<Command>(50), 0, 0);
  request(Command::kRead, 0, 1);
  ASSERT_TRUE(run());
  EXPECT_EQ(option_answer().type, static_cast<std::uint32_t>(OptionReply::kErrorUnsupported));
  option_answer();
  option_answer();
  EXPECT_EQ(simple_error(), 1U);
  EXPECT_EQ(simple_error(), 22U);
  EXPECT_EQ(simple_error(), 22U);
  EXPECT_EQ(simple_error(), 0U);
}

TEST_F(SessionTest, DropsAClientThatSendsNonsense) {
  go();
  request(Command::kRead, 0, 1);
  add(filled(28, 0xff));
  request(Command::kRead, 0, 1);
  ASSERT_TRUE(run());
  option_answer();
  option_answer();
  EXPECT_EQ(simple_error(), 0U);
  EXPECT_EQ(reader_->text(1), "\x11");
  EXPECT_TRUE(reader_->at_end());
}

TEST_F(SessionTest, AnOldClientGetsTheSizeByName) {
  option(Option::kExportName, WireWriter().text("disk"));
  ASSERT_TRUE(run());
  EXPECT_EQ(reader_->take<std::uint64_t>(), kSize);
  EXPECT_EQ(reader_->take<std::uint16_t>(), transmission_flags(offer_.exports[0], false));
  EXPECT_TRUE(reader_->at_end());
}

TEST_F(SessionTest, AMissingExportEndsAnOldClient) {
  option(Option::kExportName, WireWriter().text("none"));
  EXPECT_FALSE(run());
  EXPECT_TRUE(reader_->at_end());
}

}  // namespace
}  // namespace doppel::nbd
