// The CD-ROM drive: packets, how their data travels, the medium.
#include "hw/ide/ide_test_rig.h"

namespace doppel::hw {
namespace {

using test::kDataStatus;
using test::kErrorStatus;
using test::kReadyStatus;

struct AtapiDriveTest : test::IdeTest {
  /// Sends PACKET and reads all it answers by PIO.
  std::vector<std::byte> ask(std::vector<std::uint8_t> bytes, std::uint16_t byte_limit = 0xfffe) {
    packet(std::move(bytes), byte_limit);
    std::vector<std::byte> all;
    medium.finish_all();
    while (status(kCdrom) == kDataStatus) {
      EXPECT_EQ(in(kCdrom + 2), 0x02) << "data to the host";
      const std::size_t size = in(kCdrom + 4) + 256U * in(kCdrom + 5);
      pieces.push_back(size);
      // An odd end comes with a byte too many.
      auto data = read_data(kCdrom, size + size % 2);
      all.insert(all.end(), data.begin(), data.begin() + static_cast<std::ptrdiff_t>(size));
      medium.finish_all();
    }
    EXPECT_EQ(in(kCdrom + 2), 0x03);
    return all;
  }
  std::uint8_t at(const std::vector<std::byte>& data, std::size_t index) {
    return std::to_integer<std::uint8_t>(data.at(index));
  }
  struct Sense {
    unsigned key;
    unsigned code;
    unsigned qualifier;
    bool operator==(const Sense&) const = default;
  };
  Sense sense() {
    const auto data = ask({0x03, 0, 0, 0, 18});
    return {at(data, 2), at(data, 12), at(data, 13)};
  }
  void expect_failure(Sense expected) {
    EXPECT_EQ(alternate_status(kCdrom), kErrorStatus);
    EXPECT_EQ(error(kCdrom) >> 4U, expected.key);
    EXPECT_EQ(sense(), expected);
    EXPECT_EQ(sense(), (Sense{0, 0, 0})) << "told once";
  }
  [[nodiscard]] std::vector<std::byte> blocks(std::size_t first, std::size_t count) const {
    const auto* begin = medium.contents.data() + first * 2048;
    return {begin, begin + count * 2048};
  }
  std::vector<std::size_t> pieces;
};

TEST_F(AtapiDriveTest, ShowsItsSignature) {
  EXPECT_EQ(in(kCdrom + 4), 0x14);
  EXPECT_EQ(in(kCdrom + 5), 0xeb);
  EXPECT_EQ(status(kCdrom), 0);
  command(kCdrom, 0xec);
  EXPECT_EQ(status(kCdrom), kErrorStatus);
  EXPECT_EQ(in(kCdrom + 4), 0x14);
}

TEST_F(AtapiDriveTest, IdentifiesItself) {
  const auto words = identify(kCdrom, 0xa1);
  EXPECT_EQ(words[0], 0x85c0);
  EXPECT_EQ(words[49] & 0x0300, 0x0300);
}

TEST_F(AtapiDriveTest, ReadsBlocksInPiecesOfTheByteLimit) {
  EXPECT_EQ(ask({0x28, 0, 0, 0, 0, 3, 0, 0, 2}, 2048), blocks(3, 2));
  EXPECT_EQ(pieces, (std::vector<std::size_t>{2048, 2048}));
  EXPECT_EQ(status(kCdrom), kReadyStatus);
  pieces.clear();
  EXPECT_EQ(ask({0xa8, 0, 0, 0, 0, 3, 0, 0, 0, 1}, 1501), blocks(3, 1));
  EXPECT_EQ(pieces, (std::vector<std::size_t>{1500, 548}));
}

TEST_F(AtapiDriveTest, InterruptsForEachPieceAndTheEnd) {
  packet({0x28, 0, 0, 0, 0, 0, 0, 0, 1}, 1024);
  medium.finish_all();
  EXPECT_EQ(irq_edges.size(), 1U);
  (void)status(kCdrom);
  read_data(kCdrom, 1024);
  EXPECT_EQ(irq_edges.size(), 2U);
  (void)status(kCdrom);
  read_data(kCdrom, 1024);
  EXPECT_EQ(irq_edges.size(), 3U);
  EXPECT_EQ(status(kCdrom), kReadyStatus);
}

TEST_F(AtapiDriveTest, ReadsBeyondTheEndFail) {
  ask({0x28, 0, 0, 0, 0, 63, 0, 0, 2});
  expect_failure({5, 0x21, 0});
}

TEST_F(AtapiDriveTest, ReadErrorsAreMediumErrors) {
  medium.failure = ErrorKind::kIo;
  ask({0x28, 0, 0, 0, 0, 0, 0, 0, 1});
  medium.failure.reset();
  expect_failure({3, 0x11, 0});
}

TEST_F(AtapiDriveTest, Inquiry) {
  const auto data = ask({0x12, 0, 0, 0, 36});
  ASSERT_EQ(data.size(), 36U);
  EXPECT_EQ(at(data, 0), 0x05);
  EXPECT_EQ(at(data, 1), 0x80);
  const std::string text(reinterpret_cast<const char*>(data.data()) + 8, 28);
  EXPECT_EQ(text, "QEMU    QEMU DVD-ROM    2.5+");
  EXPECT_EQ(ask({0x12, 0, 0, 0, 5}).size(), 5U);
  EXPECT_TRUE(ask({0x12, 0, 0, 0, 0}).empty());
  ask({0x12, 1, 0x80, 0, 36});
  expect_failure({5, 0x24, 0});
}

TEST_F(AtapiDriveTest, Capacity) {
  const auto data = ask({0x25});
  EXPECT_EQ(load_be<std::uint32_t>(data.data()), 63U);
  EXPECT_EQ(load_be<std::uint32_t>(data.data() + 4), 2048U);
}

TEST_F(AtapiDriveTest, TableOfContents) {
  auto data = ask({0x43, 0, 0, 0, 0, 0, 0, 0, 255});
  ASSERT_EQ(data.size(), 20U);
  EXPECT_EQ(at(data, 1), 18);
  EXPECT_EQ(at(data, 6), 1);
  EXPECT_EQ(at(data, 14), 0xaa);
  EXPECT_EQ(load_be<std::uint32_t>(data.data() + 16), 64U);
  data = ask({0x43, 2, 0, 0, 0, 0, 0xaa, 0, 255});
  ASSERT_EQ(data.size(), 12U);
  EXPECT_EQ(at(data, 10), 2) << "64 blocks are two seconds and 64 frames";
  EXPECT_EQ(at(data, 11), 64);
  EXPECT_EQ(ask({0x43, 0, 1, 0, 0, 0, 0, 0, 255}).size(), 12U);
  ask({0x43, 0, 0, 0, 0, 0, 5, 0, 255});
  expect_failure({5, 0x24, 0});
}

TEST_F(AtapiDriveTest, ModePages) {
  const auto capabilities = ask({0x5a, 0, 0x2a, 0, 0, 0, 0, 0, 255});
  ASSERT_EQ(capabilities.size(), 28U);
  EXPECT_EQ(load_be<std::uint16_t>(capabilities.data()), 26);
  EXPECT_EQ(at(capabilities, 8), 0x2a);
  EXPECT_EQ(ask({0x1a, 0, 0x01, 0, 255}).size(), 12U);
  EXPECT_EQ(ask({0x5a, 0, 0x3f, 0, 0, 0, 0, 0, 255}).size(), 36U);
  ask({0x5a, 0, 0x0e, 0, 0, 0, 0, 0, 255});
  expect_failure({5, 0x24, 0});
  ask({0x5a, 0, 0xea, 0, 0, 0, 0, 0, 255});
  expect_failure({5, 0x39, 0});
}

TEST_F(AtapiDriveTest, Configuration) {
  const auto data = ask({0x46, 0, 0, 0, 0, 0, 0, 0x10, 0});
  EXPECT_EQ(load_be<std::uint32_t>(data.data()), data.size() - 4);
  EXPECT_EQ(load_be<std::uint16_t>(data.data() + 6), 0x0008) << "a CD-ROM";
  EXPECT_EQ(ask({0x46, 2, 0, 3, 0, 0, 0, 0x10, 0}).size(), 16U);
  ask({0x46, 3, 0, 0, 0, 0, 0, 0x10, 0});
  expect_failure({5, 0x24, 0});
}

TEST_F(AtapiDriveTest, EjectsLocksAndTellsOfIt) {
  ask({0x1e, 0, 0, 0, 1});
  ask({0x1b, 0, 0, 0, 2});
  expect_failure({5, 0x53, 2});
  ask({0x1e, 0, 0, 0, 0});
  ask({0x1b, 0, 0, 0, 2});
  ask({0x00});
  expect_failure({2, 0x3a, 2});
  EXPECT_EQ(at(ask({0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8}), 4), 3) << "removed";
  ask({0x1b, 0, 0, 0, 3});
  auto event = ask({0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8});
  EXPECT_EQ(at(event, 4), 2) << "inserted";
  EXPECT_EQ(at(event, 5), 2) << "present, tray closed";
  ask({0x00});
  expect_failure({6, 0x28, 0});
  ask({0x00});
  EXPECT_EQ(status(kCdrom), kReadyStatus);
}

TEST_F(AtapiDriveTest, WithoutMedium) {
  ASSERT_TRUE(ide->channel(1).add_cdrom(1, nullptr, {}));
  out(kCdrom + 6, 0xb0);
  for (const std::uint8_t opcode : std::to_array<std::uint8_t>({0x00, 0x25, 0x28, 0x43, 0x51})) {
    registers(kCdrom, {0, 0, 0, 0xfe, 0xff}, 0xb0);
    command(kCdrom, 0xa0);
    std::vector<std::byte> bytes(12);
    bytes[0] = std::byte{opcode};
    write_data(kCdrom, bytes);
    EXPECT_EQ(status(kCdrom), kErrorStatus);
    EXPECT_EQ(error(kCdrom) >> 4U, 2) << "not ready";
  }
}

TEST_F(AtapiDriveTest, SmallCommands) {
  for (const std::uint8_t opcode : std::to_array<std::uint8_t>({0x00, 0x2b, 0xbb})) EXPECT_TRUE(ask({opcode}).empty());
  EXPECT_EQ(ask({0xbd, 0, 0, 0, 0, 0, 0, 0, 0, 8}).size(), 8U);
  EXPECT_EQ(ask({0x51, 0, 0, 0, 0, 0, 0, 0, 34}).size(), 34U);
  EXPECT_EQ(ask({0xbe, 0, 0, 0, 0, 1, 0, 0, 1, 0x10}), blocks(1, 1));
  ask({0xbe, 0, 0, 0, 0, 1, 0, 0, 1, 0xf8});
  expect_failure({5, 0x24, 0});
  ask({0xff});
  expect_failure({5, 0x20, 0});
}

TEST_F(AtapiDriveTest, DeviceResetEndsAnything) {
  packet({0x28, 0, 0, 0, 0, 0, 0, 0, 1});
  EXPECT_EQ(status(kCdrom), 0x80);
  command(kCdrom, 0x08);
  EXPECT_EQ(status(kCdrom), 0x80) << "until the disk has answered";
  medium.finish_all();
  EXPECT_EQ(status(kCdrom), 0);
  EXPECT_EQ(in(kCdrom + 4), 0x14);
  EXPECT_FALSE(irq(kCdrom));
}

}  // namespace
}  // namespace doppel::hw
