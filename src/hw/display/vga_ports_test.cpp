#include "hw/display/vga_ports.h"

#include <gtest/gtest.h>

#include "hw/display/vga_test_rig.h"

namespace doppel::hw {
namespace {

class Ports : public testing::Test {
 protected:
  std::uint8_t in(std::uint16_t port) { return read_vga_port(registers, port); }
  void out(std::uint16_t port, std::uint8_t value, DacWidth width = DacWidth::kSixBits) {
    write_vga_port(registers, port, value, width);
  }
  VgaRegisters registers;
};

TEST_F(Ports, RegistersHaveOnlyTheirBits) {
  struct Group {
    std::uint16_t index_port;
    std::span<const std::uint8_t> bits;
  };
  out(vga::kMiscWrite, 0x67);
  EXPECT_EQ(in(vga::kMiscRead), 0x67);
  for (const Group& group : {Group{0x3c4, vga::kSequencerBits}, Group{0x3ce, vga::kGraphicsBits}}) {
    for (unsigned i = 0; i < group.bits.size(); ++i) {
      out(group.index_port, static_cast<std::uint8_t>(i));
      out(group.index_port + 1, 0xff);
      EXPECT_EQ(in(group.index_port), i);
      EXPECT_EQ(in(group.index_port + 1), group.bits[i]) << std::hex << group.index_port << " " << i;
    }
  }
  out(0x3c4, 7);
  out(0x3c5, 0xff);
  EXPECT_EQ(in(0x3c5), 0);
}

TEST_F(Ports, AttributePortTakesIndexAndDataInTurn) {
  registers.misc = vga::kMiscColour;
  (void)in(vga::kStatus1);
  out(0x3c0, 0x10);
  out(0x3c0, 0xff);
  out(0x3c0, 0x31);  // and the screen on
  EXPECT_EQ(registers.attribute[0x10], 0xef);
  EXPECT_EQ(in(0x3c0), 0x31);
  (void)in(vga::kStatus1);  // the next is an index again
  out(0x3c0, 0x10);
  EXPECT_EQ(in(0x3c1), 0xef);
  out(0x3c0, 0x00);
  out(0x3c0, 0x1f);  // there is no register 1Fh
  out(0x3c0, 0xff);
  EXPECT_EQ(in(0x3c1), 0);
}

TEST_F(Ports, CrtcIsWhereTheMonitorSays) {
  out(vga::kMiscWrite, 0x00);
  out(0x3b4, 0x0f);
  out(0x3b5, 0x55);
  EXPECT_EQ(in(0x3b5), 0x55);
  EXPECT_EQ(in(0x3d5), 0xff);
  out(vga::kMiscWrite, 0x01);
  EXPECT_EQ(in(0x3d5), 0x55);
  EXPECT_EQ(in(0x3b4), 0xff);
  EXPECT_EQ(in(0x3bc), 0xff);
}

TEST_F(Ports, CrtcProtectsItsFirstEight) {
  test::set_text_mode(registers);
  out(0x3d4, 0x11);
  out(0x3d5, 0x8e);
  out(0x3d4, 0x01);
  out(0x3d5, 0x27);
  EXPECT_EQ(in(0x3d5), 0x4f);
  out(0x3d4, 0x07);
  out(0x3d5, 0xe0);
  EXPECT_EQ(in(0x3d5), 0x0f) << "line compare's bit 8 may be cleared";
  out(0x3d4, 0x11);
  out(0x3d5, 0x0e);
  out(0x3d4, 0x01);
  out(0x3d5, 0x27);
  EXPECT_EQ(in(0x3d5), 0x27);
}

TEST_F(Ports, DacTakesAndGivesThreeComponents) {
  out(0x3c8, 0xff);
  for (const int value : {0x01, 0xc2, 0x03, 0x04, 0x05, 0x06}) out(0x3c9, static_cast<std::uint8_t>(value));
  EXPECT_EQ(in(0x3c7), 0);
  EXPECT_EQ(in(0x3c8), 0x01);
  out(0x3c7, 0xff);
  EXPECT_EQ(in(0x3c7), 3);
  for (const unsigned value : {0x01U, 0x02U, 0x03U, 0x04U, 0x05U, 0x06U}) EXPECT_EQ(in(0x3c9), value);
  out(0x3c8, 7);
  out(0x3c9, 0xff);
  out(0x3c8, 7);  // begins again
  for (int i = 0; i < 3; ++i) out(0x3c9, 0xf0, DacWidth::kEightBits);
  out(0x3c7, 7);
  EXPECT_EQ(in(0x3c9), 0xf0);
}

TEST_F(Ports, EveryWaitForTheBeamEnds) {
  registers.misc = vga::kMiscColour;
  const std::uint8_t first = in(0x3da);
  EXPECT_EQ(first ^ in(0x3da), vga::kStatus1Retrace | vga::kStatus1NoDisplay);
}

}  // namespace
}  // namespace doppel::hw
