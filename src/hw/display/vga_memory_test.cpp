#include "hw/display/vga_memory.h"

#include <gmock/gmock.h>

#include <array>
#include <vector>

#include "hw/display/vga_test_rig.h"

namespace doppel::hw {
namespace {

using testing::ElementsAre;

class Memory : public testing::Test {
 protected:
  Memory() { test::set_planar_mode(registers); }

  std::uint8_t read(std::uint32_t offset) { return read_vga_memory(registers, memory, offset); }
  void write(std::uint32_t offset, std::uint8_t value) { write_vga_memory(registers, memory, offset, value); }
  /// The four planes at plane address ADDRESS.
  std::array<unsigned, 4> planes(std::size_t address) {
    std::array<unsigned, 4> values{};
    for (std::size_t i = 0; i < 4; ++i) values.at(i) = std::to_integer<unsigned>(bytes[address * 4 + i]);
    return values;
  }
  void set_planes(std::size_t address, std::array<std::uint8_t, 4> values) {
    for (std::size_t i = 0; i < 4; ++i) bytes[address * 4 + i] = std::byte{values.at(i)};
  }

  VgaRegisters registers;
  std::vector<std::byte> bytes = std::vector<std::byte>(1U << 20U);
  VgaMemory memory{bytes};
};

TEST_F(Memory, MapMaskChoosesPlanes) {
  registers.sequencer.set(vga::kMapMask, 0x5);
  write(0x1234, 0xa5);
  EXPECT_THAT(planes(0x1234), ElementsAre(0xa5, 0, 0xa5, 0));
}

TEST_F(Memory, WriteModeZeroRotatesCombinesAndMasks) {
  set_planes(7, {0x0f, 0xf0, 0x55, 0xaa});
  EXPECT_EQ(read(7), 0x0f);                     // the latches are full
  registers.graphics.set(vga::kDataRotate, 4);  // 1001'0110 becomes 0110'1001
  write(8, 0x96);
  EXPECT_THAT(planes(8), ElementsAre(0x69, 0x69, 0x69, 0x69));
  registers.graphics.set(vga::kDataRotate, 0x08);  // AND
  write(8, 0x3c);
  EXPECT_THAT(planes(8), ElementsAre(0x0c, 0x30, 0x14, 0x28));
  registers.graphics.set(vga::kDataRotate, 0x10);  // OR
  write(8, 0x3c);
  EXPECT_THAT(planes(8), ElementsAre(0x3f, 0xfc, 0x7d, 0xbe));
  registers.graphics.set(vga::kDataRotate, 0x18);  // XOR
  write(8, 0x3c);
  EXPECT_THAT(planes(8), ElementsAre(0x33, 0xcc, 0x69, 0x96));
  registers.graphics.set(vga::kDataRotate, 0);
  registers.graphics.set(vga::kBitMask, 0xf0);  // the lower half is the latches'
  write(8, 0x3c);
  EXPECT_THAT(planes(8), ElementsAre(0x3f, 0x30, 0x35, 0x3a));
}

TEST_F(Memory, SetResetReplacesTheDataOfEnabledPlanes) {
  registers.graphics.set(vga::kSetReset, 0x3);
  registers.graphics.set(vga::kEnableSetReset, 0x5);
  write(0, 0x42);
  EXPECT_THAT(planes(0), ElementsAre(0xff, 0x42, 0x00, 0x42));
}

TEST_F(Memory, WriteModeOneCopiesLatches) {
  set_planes(1, {1, 2, 3, 4});
  (void)read(1);
  registers.graphics.set(vga::kMode, 1);
  registers.graphics.set(vga::kBitMask, 0);
  write(2, 0x99);
  EXPECT_THAT(planes(2), ElementsAre(1, 2, 3, 4));
}

TEST_F(Memory, WriteModeTwoSpreadsAColour) {
  set_planes(1, {0x11, 0x22, 0x44, 0x88});
  (void)read(1);
  registers.graphics.set(vga::kMode, 2);
  registers.graphics.set(vga::kBitMask, 0x0f);
  write(1, 0x05);
  EXPECT_THAT(planes(1), ElementsAre(0x1f, 0x20, 0x4f, 0x80));
}

TEST_F(Memory, WriteModeThreeTakesTheDataAsBitMask) {
  set_planes(1, {0x00, 0x00, 0xff, 0xff});
  (void)read(1);
  registers.graphics.set(vga::kMode, 3);
  registers.graphics.set(vga::kSetReset, 0x5);
  registers.graphics.set(vga::kBitMask, 0xfc);
  registers.graphics.set(vga::kDataRotate, 1);
  write(1, 0x0f);  // 1000'0111 and 1111'1100: 1000'0100
  EXPECT_THAT(planes(1), ElementsAre(0x84, 0x00, 0xff, 0x7b));
}

TEST_F(Memory, ReadModes) {
  set_planes(3, {0b1111'0000, 0b1100'1100, 0b1010'1010, 0b0000'0000});
  for (unsigned plane = 0; plane < 4; ++plane) {
    registers.graphics.set(vga::kReadMap, static_cast<std::uint8_t>(plane));
    EXPECT_EQ(read(3), planes(3).at(plane));
  }
  registers.graphics.set(vga::kMode, vga::kReadMode1);
  registers.graphics.set(vga::kColourCompare, 0b0011);
  registers.graphics.set(vga::kColourDontCare, 0b1111);
  EXPECT_EQ(read(3), 0b0100'0000);  // planes 0 and 1 set, 2 and 3 clear
  registers.graphics.set(vga::kColourDontCare, 0b0011);
  EXPECT_EQ(read(3), 0b1100'0000);
  registers.graphics.set(vga::kColourDontCare, 0);
  EXPECT_EQ(read(3), 0xff);
}

TEST_F(Memory, TextIsOddEven) {
  test::set_text_mode(registers);
  write(0x18000, 'A');
  write(0x18001, 0x1f);
  write(0x18f9e, 'z');  // the last of 80x25
  EXPECT_THAT(planes(0), ElementsAre('A', 0x1f, 0, 0));
  EXPECT_THAT(planes(0xf9e), ElementsAre('z', 0, 0, 0));
  EXPECT_EQ(read(0x18000), 'A');
  EXPECT_EQ(read(0x18001), 0x1f);
  EXPECT_EQ(read(0x10000), 0xff) << "the monochrome half is nobody's";
  write(0x17fff, 1);
  EXPECT_THAT(planes(0x7ffe), ElementsAre(0, 0, 0, 0));
}

TEST_F(Memory, ChainFourIsLinear) {
  registers.sequencer.set(vga::kMemoryMode, vga::kChain4 | vga::kSequential);
  for (std::uint32_t i = 0; i < 8; ++i) write(0x100 + i, static_cast<std::uint8_t>(i + 1));
  for (std::uint32_t i = 0; i < 8; ++i) {
    EXPECT_EQ(std::to_integer<unsigned>(bytes[0x100 + i]), i + 1);
    EXPECT_EQ(read(0x100 + i), i + 1);
  }
  registers.sequencer.set(vga::kMapMask, 0x2);
  write(0x100, 0x77);
  write(0x101, 0x77);
  EXPECT_EQ(read(0x100), 1);
  EXPECT_EQ(read(0x101), 0x77);
}

TEST_F(Memory, WindowIsWhereTheMapSays) {
  struct Row {
    std::uint8_t map;
    std::uint32_t first;
    std::uint32_t last;
  };
  for (const Row& row : {Row{0, 0, 0x1ffff}, Row{1, 0, 0xffff}, Row{2, 0x10000, 0x17fff}, Row{3, 0x18000, 0x1ffff}}) {
    registers.graphics.set(vga::kMiscellaneous, static_cast<std::uint8_t>(row.map << 2U));
    for (const std::uint32_t offset : {0x0U, 0xffffU, 0x10000U, 0x17fffU, 0x18000U, 0x1ffffU}) {
      const bool inside = offset >= row.first && offset <= row.last;
      const auto written = write_vga_memory(registers, memory, offset, 1);
      EXPECT_EQ(written.has_value(), inside) << unsigned{row.map} << " " << offset;
      EXPECT_EQ(read(offset), inside ? 1 : 0xff);
    }
  }
  registers.misc &= static_cast<std::uint8_t>(~vga::kMiscRamEnable);
  EXPECT_EQ(read(0x18000), 0xff);
}

TEST_F(Memory, PlaneAddressesHave16BitsButForSvga) {
  registers.graphics.set(vga::kMiscellaneous, 0);  // 128 KiB
  write(0x1'0005, 0x33);
  EXPECT_THAT(planes(5), ElementsAre(0x33, 0x33, 0x33, 0x33));
  registers.sequencer.set(vga::kMemoryMode, vga::kChain4);
  memory.has_svga_mode = true;
  memory.bank = 0xf0000;
  write(0x1, 0x44);
  EXPECT_EQ(std::to_integer<unsigned>(bytes[0xf0001]), 0x44U);
  memory.bank = 0xffff0000;  // beyond what there is: somewhere inside
  write(0x1'ffff, 0x45);
  EXPECT_EQ(read(0x1'ffff), 0x45);
}

}  // namespace
}  // namespace doppel::hw
