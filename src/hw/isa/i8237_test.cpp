#include "hw/isa/i8237.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

namespace doppel::hw {
namespace {

constexpr unsigned kVerify = 0x40;  // single mode
constexpr unsigned kDeviceToRam = 0x44;
constexpr unsigned kRamToDevice = 0x48;
constexpr unsigned kAutoInitialize = 0x10;
constexpr unsigned kDecrement = 0x20;

class DmaChipTest : public ::testing::Test {
 protected:
  DmaChipTest() {
    root->add(topology.ram("ram", ram, 0, ram->size()), 0);
    for (const I8237::Ports& range : chip.ports())
      ports->add(topology.io("dma", range.size, *range.handler, I8237::kIoSizes), range.port);
  }
  void out(unsigned port, unsigned value) { io.write({port}, 1, value); }
  unsigned in(unsigned port) { return static_cast<unsigned>(io.read({port}, 1)); }

  /// Programs channel 0 to 3 as a driver does, and unmasks it.
  void program(unsigned channel, unsigned mode, unsigned address, unsigned bytes) {
    constexpr unsigned kPages[] = {0x87, 0x83, 0x81, 0x82};
    out(0x0a, 4 | channel);
    out(0x0c, 0);
    out(0x0b, mode | channel);
    out(2 * channel, address & 0xff);
    out(2 * channel, address >> 8U & 0xff);
    out(kPages[channel], address >> 16U & 0xff);
    out(2 * channel + 1, (bytes - 1) & 0xff);
    out(2 * channel + 1, (bytes - 1) >> 8U);
    out(0x0a, channel);
  }
  unsigned word(unsigned port) {
    out(0x0c, 0);
    const unsigned low = in(port);
    return low | in(port) << 8U;
  }
  static std::vector<std::byte> numbers(std::size_t size) {
    std::vector<std::byte> bytes(size);
    for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>(i + 1);
    return bytes;
  }
  std::byte* at(std::uint64_t address) { return ram->host() + address; }

  memory::Topology topology;
  memory::RegionPtr root = topology.container("memory", 0);
  memory::RegionPtr ports = topology.container("io", 0x10000);
  memory::AddressSpace space{topology, root, "memory"};
  memory::AddressSpace io{topology, ports, "io"};
  std::shared_ptr<memory::RamBlock> ram = *memory::RamBlock::create({.size = 4U << 20U});
  I8237 chip{memory::DmaSpace(space)};
};

TEST_F(DmaChipTest, DeviceFillsMemoryUpToTerminalCount) {
  program(2, kDeviceToRam, 0x21234, 512);
  const auto data = numbers(600);
  const auto first = *chip.to_memory(2, std::span(data).first(100));
  EXPECT_EQ(first.bytes, 100U);
  EXPECT_FALSE(first.terminal_count);
  EXPECT_EQ(word(4), 0x1234U + 100);
  EXPECT_EQ(word(5), 511U - 100);
  const auto second = *chip.to_memory(2, std::span(data).subspan(100));
  EXPECT_EQ(second.bytes, 412U);
  EXPECT_TRUE(second.terminal_count);
  EXPECT_TRUE(std::equal(data.begin(), data.begin() + 512, at(0x21234)));
  EXPECT_EQ(*at(0x21234 + 512), std::byte{0});
}

TEST_F(DmaChipTest, TerminalCountMasksAndShowsOnceInStatus) {
  program(1, kDeviceToRam, 0x1000, 4);
  ASSERT_TRUE(chip.to_memory(1, numbers(4)));
  EXPECT_EQ(in(0x08), 0x02U);
  EXPECT_EQ(in(0x08), 0U);
  EXPECT_EQ(in(0x0f) & 0x0f, 0x0fU);
  EXPECT_EQ(word(3), 0xffffU);
  EXPECT_EQ(chip.to_memory(1, numbers(4))->bytes, 0U);
}

TEST_F(DmaChipTest, AutoInitializeStartsOver) {
  program(3, kRamToDevice | kAutoInitialize, 0x8000, 3);
  std::ranges::copy(numbers(3), at(0x8000));
  std::vector<std::byte> out(2);
  std::vector<std::byte> got;
  for (int i = 0; i < 5; ++i) {
    const auto done = *chip.from_memory(3, out);
    got.insert(got.end(), out.begin(), out.begin() + static_cast<std::ptrdiff_t>(done.bytes));
  }
  EXPECT_EQ(got.size(), 8U);  // 2 + 1, 2 + 1, 2
  EXPECT_EQ(got[3], std::byte{1});
  EXPECT_EQ(word(6), 0x8002U);
}

TEST_F(DmaChipTest, AddressWrapsWithinItsPage) {
  program(2, kDeviceToRam, 0x1fffe, 4);
  ASSERT_TRUE(chip.to_memory(2, numbers(4)));
  EXPECT_EQ(*at(0x1ffff), std::byte{2});
  EXPECT_EQ(*at(0x10000), std::byte{3});
  EXPECT_EQ(*at(0x20000), std::byte{0});
}

TEST_F(DmaChipTest, Downwards) {
  program(2, kDeviceToRam | kDecrement, 0x3003, 4);
  ASSERT_TRUE(chip.to_memory(2, numbers(4)));
  for (unsigned i = 0; i < 4; ++i) EXPECT_EQ(*at(0x3003 - i), std::byte(i + 1));
  EXPECT_EQ(word(4), 0x2fffU);
}

TEST_F(DmaChipTest, WideChannelsCountWords) {
  out(0xd4, 4 | 1);  // channel 5
  out(0xd8, 0);
  out(0xd6, kDeviceToRam | 1);
  out(0xc4, 0x00);
  out(0xc4, 0x80);  // word address 8000h
  out(0xc6, 0x03);
  out(0xc6, 0x00);  // four words
  out(0x8b, 0x13);  // bit 0 does not count
  out(0xd4, 1);
  const auto done = *chip.to_memory(5, numbers(9));
  EXPECT_EQ(done.bytes, 8U);
  EXPECT_TRUE(done.terminal_count);
  EXPECT_EQ(*at(0x130000), std::byte{1});
  EXPECT_EQ(*at(0x120000 + 0x10007), std::byte{8});
  EXPECT_EQ(in(0xd0), 0x02U);
}

TEST_F(DmaChipTest, HighPageReachesFurtherUntilTheLowPageIsWritten) {
  program(2, kDeviceToRam, 0, 4);
  out(0x481, 0x7f);
  EXPECT_EQ(in(0x481), 0x7fU);
  EXPECT_EQ(chip.to_memory(2, numbers(1)).error().kind(), ErrorKind::kOutOfRange);
  out(0x81, 0);
  EXPECT_TRUE(chip.to_memory(2, numbers(1)));
}

TEST_F(DmaChipTest, VerifyCountsAndMovesNothing) {
  program(2, kVerify, 0x5000, 4);
  const auto done = *chip.to_memory(2, numbers(4));
  EXPECT_TRUE(done.terminal_count);
  EXPECT_EQ(*at(0x5000), std::byte{0});
}

TEST_F(DmaChipTest, WrongDirectionIsAnError) {
  program(2, kRamToDevice, 0x5000, 4);
  EXPECT_EQ(chip.to_memory(2, numbers(4)).error().kind(), ErrorKind::kInvalidArgument);
  program(2, 0xc0, 0x5000, 4);  // cascade
  EXPECT_FALSE(chip.to_memory(2, numbers(4)));
  EXPECT_FALSE(chip.to_memory(8, numbers(4)));
  EXPECT_EQ(*at(0x5000), std::byte{0});
}

TEST_F(DmaChipTest, DeviceIsToldWhenItsChannelMayRun) {
  int calls = 0;
  chip.register_channel(2, [&] {
    ++calls;
    EXPECT_TRUE(chip.ready(2));  // no lock is held
  });
  chip.set_request(2, true);
  EXPECT_EQ(calls, 0) << "still masked";
  EXPECT_EQ(in(0x08), 0x40U);
  program(2, kDeviceToRam, 0x5000, 4);
  EXPECT_EQ(calls, 1);
  chip.set_request(2, false);
  EXPECT_FALSE(chip.ready(2));
  chip.set_request(2, true);
  EXPECT_EQ(calls, 2);
  out(0x08, 0x04);  // controller off
  EXPECT_FALSE(chip.ready(2));
  EXPECT_EQ(chip.to_memory(2, numbers(4))->bytes, 0U);
  out(0x08, 0x00);
  EXPECT_EQ(calls, 3);
}

TEST_F(DmaChipTest, MaskRegisters) {
  out(0x0e, 0);
  EXPECT_EQ(in(0x0f), 0xf0U);
  out(0x0f, 0x05);
  EXPECT_EQ(in(0x0f), 0xf5U);
  out(0x0a, 4 | 1);
  EXPECT_EQ(in(0x0f), 0xf7U);
  out(0x0d, 0);  // master clear
  EXPECT_EQ(in(0x0f), 0xffU);
}

TEST_F(DmaChipTest, FlipFlopTellsLowFromHigh) {
  out(0x0c, 0);
  out(0x00, 0x34);
  out(0x00, 0x12);
  EXPECT_EQ(word(0), 0x1234U);
  (void)in(0x00);
  out(0x0d, 0);
  EXPECT_EQ(in(0x00), 0x34U);
}

TEST_F(DmaChipTest, MemoryToMemoryIsRefused) {
  program(0, kRamToDevice, 0x1000, 4);
  program(1, kDeviceToRam, 0x2000, 4);
  *at(0x1000) = std::byte{9};
  out(0x08, 0x01);
  out(0x09, 0x04);
  EXPECT_EQ(in(0x08) & 0x10, 0x10U);
  EXPECT_EQ(*at(0x2000), std::byte{0});
  EXPECT_EQ(in(0x0d), 0U);
}

TEST_F(DmaChipTest, SparePageRegistersRemember) {
  for (unsigned port = 0x80; port < 0x90; ++port) out(port, port);
  for (unsigned port = 0x80; port < 0x90; ++port) EXPECT_EQ(in(port), port);
}

TEST_F(DmaChipTest, StateRoundTrip) {
  program(2, kDeviceToRam, 0x21234, 512);
  ASSERT_TRUE(chip.to_memory(2, numbers(10)));
  chip.set_request(3, true);
  state::Writer writer;
  chip.save(writer);
  I8237 other{memory::DmaSpace(space)};
  state::Reader reader(writer.bytes());
  ASSERT_TRUE(other.load(reader));
  ASSERT_TRUE(other.to_memory(2, numbers(5)));
  EXPECT_EQ(*at(0x21234 + 14), std::byte{5});
  chip.reset();
  EXPECT_EQ(in(0x0f), 0xffU);
}

TEST_F(DmaChipTest, SurvivesAHostileGuest) {
  std::mt19937 engine(4);
  const auto roll = [&](unsigned sides) { return static_cast<unsigned>(engine() % sides); };
  auto buffer = numbers(70'000);
  for (int i = 0; i < 5000; ++i) {
    const auto ranges = chip.ports();
    const I8237::Ports& range = ranges[roll(4)];
    const unsigned channel = roll(9);
    switch (roll(8)) {
      case 0: (void)chip.to_memory(channel, std::span(buffer).first(roll(70'000))); break;
      case 1: (void)chip.from_memory(channel, std::span(buffer).first(roll(70'000))); break;
      case 2: chip.set_request(channel, roll(2) == 0); break;
      case 3: (void)in(range.port + roll(range.size)); break;
      default: out(range.port + roll(range.size), roll(256)); break;
    }
  }
}

}  // namespace
}  // namespace doppel::hw
