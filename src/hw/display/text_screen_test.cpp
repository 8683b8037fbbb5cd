#include "hw/display/text_screen.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "hw/display/vga_test_rig.h"

namespace doppel::hw {
namespace {

class TextScreen : public testing::Test {
 protected:
  TextScreen() { test::set_text_mode(registers); }

  void crtc(unsigned index, unsigned value) { registers.crtc.set(index, static_cast<std::uint8_t>(value)); }
  /// Puts TEXT at character COUNTER of the memory, two plane addresses each.
  void put(std::size_t counter, const std::string& text, std::uint8_t attribute = 0x07) {
    for (const char c : text) {
      const std::size_t at = (counter++ * 2 & 0xffff) * 4;
      memory[at] = static_cast<std::byte>(c);
      memory[at + 1] = std::byte{attribute};
    }
  }
  const ui::Screen& look() {
    read_vga_screen(registers, memory, screen);
    return screen;
  }
  std::string row(unsigned number, std::size_t length) {
    std::string text;
    for (std::size_t i = 0; i < length; ++i)
      text.push_back(static_cast<char>(screen.cells.at(std::size_t{number} * screen.width + i).code));
    return text;
  }

  VgaRegisters registers;
  std::vector<std::byte> memory = std::vector<std::byte>(256U << 10U);
  ui::Screen screen;
};

TEST_F(TextScreen, EightyByTwentyFive) {
  put(0, "first");
  put(80, "second", 0x9e);
  put(24 * 80 + 75, "last.");
  look();
  EXPECT_EQ(screen.kind, ui::ScreenKind::kText);
  EXPECT_EQ(screen.width, 80U);
  EXPECT_EQ(screen.height, 25U);
  EXPECT_EQ(screen.cell_height, 16U);
  EXPECT_EQ(row(0, 5), "first");
  EXPECT_EQ(row(1, 6), "second");
  EXPECT_EQ(screen.cells.back().code, '.');
  EXPECT_EQ(screen.cells[80], (ui::Cell{.code = 's', .foreground = 14, .background = 1, .blinks = true}));
  registers.attribute.set(vga::kAttributeMode, 0x04);  // bright backgrounds in place of blinking
  EXPECT_EQ(look().cells[80], (ui::Cell{.code = 's', .foreground = 14, .background = 9}));
}

TEST_F(TextScreen, FiftyRowsAnd132Columns) {
  crtc(vga::kMaximumScanLine, 0x47);  // 8 lines each
  EXPECT_EQ(look().height, 50U);
  crtc(vga::kMaximumScanLine, 0x4f);
  crtc(vga::kHorizontalDisplayEnd, 131);
  crtc(vga::kOffset, 66);
  put(132, "wide");
  EXPECT_EQ(look().width, 132U);
  EXPECT_EQ(screen.height, 25U);
  EXPECT_EQ(row(1, 4), "wide");
}

TEST_F(TextScreen, ScanDoublingHalvesTheRows) {
  crtc(vga::kMaximumScanLine, 0xc7);  // 8 lines, each twice
  EXPECT_EQ(look().height, 25U);
  EXPECT_EQ(screen.cell_height, 8U);
  crtc(vga::kCrtcMode, 0xa7);  // the line counter at half its rate
  EXPECT_EQ(look().height, 50U);
}

TEST_F(TextScreen, BeginsAtTheStartAddress) {
  crtc(vga::kStartHigh, 0x01);
  crtc(vga::kStartLow, 0x40);  // four rows down
  put(4 * 80, "scrolled");
  look();
  EXPECT_EQ(row(0, 8), "scrolled");
  crtc(vga::kStartHigh, 0x7f);
  crtc(vga::kStartLow, 0xd8);  // half a row before the end of 64 KiB: goes on from the beginning
  put(0x7fd8, "end");
  put(40, "again");
  put(0x8000, "");
  look();
  EXPECT_EQ(row(0, 3), "end");
}

TEST_F(TextScreen, SplitsAtLineCompare) {
  crtc(vga::kLineCompare, 159);  // ten rows of 16
  crtc(vga::kOverflow, 0x0f);
  crtc(vga::kMaximumScanLine, 0x0f);
  crtc(vga::kStartHigh, 0x10);
  put(0, "below");
  put(0x1000, "above");
  look();
  EXPECT_EQ(row(0, 5), "above");
  EXPECT_EQ(row(10, 5), "below");
}

TEST_F(TextScreen, Cursor) {
  crtc(vga::kCursorHigh, 0x00);
  crtc(vga::kCursorLow, 0xa5);  // 2 * 80 + 5
  EXPECT_EQ(look().cursor, (ui::Cursor{.visible = true, .row = 2, .column = 5, .first_line = 13, .last_line = 14}));
  crtc(vga::kStartLow, 80);
  EXPECT_EQ(look().cursor.row, 1U);
  crtc(vga::kCursorStart, 0x2d);
  EXPECT_FALSE(look().cursor.visible);
  crtc(vga::kCursorStart, 0x0f);  // begins behind its end
  EXPECT_FALSE(look().cursor.visible);
  crtc(vga::kCursorStart, 0x00);
  crtc(vga::kCursorHigh, 0x20);
  EXPECT_FALSE(look().cursor.visible) << "it is not on the screen";
}

TEST_F(TextScreen, SecondFontByAttributeBit3) {
  registers.sequencer.set(vga::kCharacterMap, 0x04);
  put(0, "x", 0x0f);
  put(1, "y", 0x07);
  look();
  EXPECT_EQ(screen.cells[0], (ui::Cell{.code = 0x100 + 'x', .foreground = 7}));
  EXPECT_EQ(screen.cells[1], (ui::Cell{.code = 'y', .foreground = 7}));
}

TEST_F(TextScreen, ByteAndDoubleWordAddresses) {
  memory[1 * 4] = std::byte{'b'};
  memory[4 * 4] = std::byte{'d'};
  crtc(vga::kCrtcMode, 0xe3);
  EXPECT_EQ(look().cells[1].code, 'b');
  crtc(vga::kUnderline, 0x40);
  EXPECT_EQ(look().cells[1].code, 'd');
}

TEST_F(TextScreen, BlankWhileOff) {
  registers.sequencer.set(vga::kClockingMode, 0x20);
  EXPECT_EQ(look().kind, ui::ScreenKind::kBlank);
  EXPECT_TRUE(screen.cells.empty());
  registers.sequencer.set(vga::kClockingMode, 0);
  registers.attribute.index = 0;
  EXPECT_EQ(look().kind, ui::ScreenKind::kBlank);
}

TEST_F(TextScreen, GraphicsTellTheirSize) {
  registers.graphics.set(vga::kMiscellaneous, 0x05);
  crtc(vga::kVerticalDisplayEnd, 0xdf);  // 479
  crtc(vga::kMaximumScanLine, 0x40);
  EXPECT_EQ(look().kind, ui::ScreenKind::kGraphics);
  EXPECT_EQ(screen.width, 640U);
  EXPECT_EQ(screen.height, 480U);
  crtc(vga::kVerticalDisplayEnd, 0x8f);  // mode 13h: 399, every line twice, every pixel two clocks
  crtc(vga::kMaximumScanLine, 0x41);
  registers.attribute.set(vga::kAttributeMode, 0x41);
  look();
  EXPECT_EQ(screen.width, 320U);
  EXPECT_EQ(screen.height, 200U);
}

TEST_F(TextScreen, NeverBeyondItsBounds) {
  for (unsigned i = 0; i < vga::kCrtcBits.size(); ++i) crtc(i, 0xff);
  crtc(vga::kMaximumScanLine, 0x00);
  look();
  EXPECT_LE(screen.width, kMostTextColumns);
  EXPECT_LE(screen.height, kMostTextRows);
  EXPECT_EQ(screen.cells.size(), std::size_t{screen.width} * screen.height);
  registers.crtc = {};
  EXPECT_EQ(look().cells.size(), 1U);
}

}  // namespace
}  // namespace doppel::hw
