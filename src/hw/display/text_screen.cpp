#include "hw/display/text_screen.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "base/bits.h"

namespace doppel::hw {

namespace {

using namespace vga;

constexpr unsigned kPlanes = 4;
constexpr std::uint16_t kSecondFont = 0x100;

using Crtc = VgaIndexed<kCrtcBits>;

unsigned word(const Crtc& crtc, unsigned high) {
  return unsigned{crtc[high]} << 8U | crtc[high + 1];
}

/// Ten bits, whose upper two are elsewhere: 1 and 6 of the overflow register.
unsigned display_lines(const Crtc& crtc) {
  const unsigned overflow = crtc[kOverflow];
  const unsigned end = crtc[kVerticalDisplayEnd] | (overflow >> 1U & 1U) << 8U | (overflow >> 6U & 1U) << 9U;
  return (end + 1) * ((crtc[kCrtcMode] & kHalfLineClock) != 0 ? 2 : 1);
}

/// The scan line behind which the screen's second part begins, with the memory's first byte.
unsigned line_compare(const Crtc& crtc) {
  return crtc[kLineCompare] | (crtc[kOverflow] >> 4U & 1U) << 8U | (crtc[kMaximumScanLine] >> 6U & 1U) << 9U;
}

unsigned lines_per_row(const Crtc& crtc) {
  const unsigned height = (crtc[kMaximumScanLine] & 0x1fU) + 1;
  return (crtc[kMaximumScanLine] & kDoubleScan) != 0 ? height * 2 : height;
}

/// The plane address that the CRTC's memory address counter stands for: as it is, times two, times four.
unsigned plane_address(const Crtc& crtc, unsigned counter) {
  if ((crtc[kUnderline] & kDoubleWord) != 0) return (counter << 2U | (counter >> 12U & 3U)) & 0xffffU;
  if ((crtc[kCrtcMode] & kByteMode) != 0) return counter & 0xffffU;
  const unsigned wrapped = (crtc[kCrtcMode] & kWrapAtBit15) != 0 ? counter >> 15U : counter >> 13U;
  return (counter << 1U | (wrapped & 1U)) & 0xffffU;
}

/// How an attribute byte is read.
struct Attributes {
  bool blinks;         // bit 7 is blinking, not a bright background
  bool has_two_fonts;  // bit 3 chooses the font, not a bright foreground

  explicit Attributes(const VgaRegisters& registers)
      : blinks((registers.attribute[kAttributeMode] & kBlink) != 0), has_two_fonts(differ(registers)) {}

  [[nodiscard]] ui::Cell cell(std::uint8_t code, std::uint8_t attribute) const {
    ui::Cell cell{.code = code};
    cell.foreground = attribute & (has_two_fonts ? 0x07U : 0x0fU);
    cell.background = attribute >> 4U & (blinks ? 0x07U : 0x0fU);
    cell.blinks = blinks && (attribute & 0x80U) != 0;
    if (has_two_fonts && (attribute & 0x08U) != 0) cell.code |= kSecondFont;
    return cell;
  }

 private:
  /// Map B is bits 4, 1, 0 of the character map select register, map A bits 5, 3, 2.
  static bool differ(const VgaRegisters& registers) {
    const unsigned maps = registers.sequencer[kCharacterMap];
    return (maps & 3U) != (maps >> 2U & 3U) || (maps >> 4U & 1U) != (maps >> 5U & 1U);
  }
};

/// The counter at the first character of ROW.
unsigned row_start(const Crtc& crtc, unsigned row) {
  const unsigned pitch = crtc[kOffset] * 2U;
  const unsigned height = lines_per_row(crtc);
  const unsigned first_after_split = (line_compare(crtc) + height) / height;  // the first row wholly below it
  if (row >= first_after_split) return (row - first_after_split) * pitch;
  return word(crtc, kStartHigh) + row * pitch;
}

ui::Cursor find_cursor(const Crtc& crtc, const ui::Screen& screen) {
  ui::Cursor cursor;
  cursor.first_line = crtc[kCursorStart] & 0x1fU;
  cursor.last_line = std::min(crtc[kCursorEnd] & 0x1fU, screen.cell_height - 1);
  if ((crtc[kCursorStart] & kCursorOff) != 0 || cursor.first_line > cursor.last_line) return {};
  for (unsigned row = 0; row < screen.height; ++row) {
    const unsigned column = (word(crtc, kCursorHigh) - row_start(crtc, row)) & 0xffffU;
    if (column >= screen.width) continue;
    cursor.visible = true;
    cursor.row = row;
    cursor.column = column;
    return cursor;
  }
  return {};
}

void read_text(const VgaRegisters& registers, std::span<const std::byte> memory, ui::Screen& screen) {
  const Crtc& crtc = registers.crtc;
  const Attributes attributes(registers);
  screen.kind = ui::ScreenKind::kText;
  screen.width = std::min(crtc[kHorizontalDisplayEnd] + 1U, kMostTextColumns);
  screen.height = std::clamp(display_lines(crtc) / lines_per_row(crtc), 1U, kMostTextRows);
  screen.cell_height = (crtc[kMaximumScanLine] & 0x1fU) + 1U;
  screen.cells.resize(std::size_t{screen.width} * screen.height);
  auto cell = screen.cells.begin();
  for (unsigned row = 0; row < screen.height; ++row) {
    const unsigned start = row_start(crtc, row);
    for (unsigned column = 0; column < screen.width; ++column, ++cell) {
      const std::size_t at = std::size_t{plane_address(crtc, start + column)} * kPlanes;
      *cell = attributes.cell(std::to_integer<std::uint8_t>(memory[at]), std::to_integer<std::uint8_t>(memory[at + 1]));
    }
  }
  screen.cursor = find_cursor(crtc, screen);
}

/// Pixels are half as many where each takes two clocks.
void measure_graphics(const VgaRegisters& registers, ui::Screen& screen) {
  const Crtc& crtc = registers.crtc;
  screen.kind = ui::ScreenKind::kGraphics;
  screen.width = (crtc[kHorizontalDisplayEnd] + 1U) * 8;
  if ((registers.attribute[kAttributeMode] & kHalfPixelClock) != 0) screen.width /= 2;
  screen.height = display_lines(crtc) / lines_per_row(crtc);
}

}  // namespace

void read_vga_screen(const VgaRegisters& registers, std::span<const std::byte> memory, ui::Screen& screen) {
  std::vector<ui::Cell> cells = std::move(screen.cells);
  cells.clear();
  screen = {};
  screen.cells = std::move(cells);
  const bool is_off =
      (registers.sequencer[kClockingMode] & kScreenOff) != 0 || (registers.attribute.index & kPaletteSource) == 0;
  if (is_off) return;
  if ((registers.graphics[kMiscellaneous] & kGraphicsMode) != 0) return measure_graphics(registers, screen);
  read_text(registers, memory, screen);
}

}  // namespace doppel::hw
