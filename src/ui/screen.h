// Between a display adapter and what shows it to the user: the screen as a picture of characters, and keys.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace doppel::ui {

/// A character with its colours, 0 to 15 as an EGA numbers them: bit 0 blue, 1 green, 2 red, 3 bright.
struct Cell {
  std::uint16_t code = 0;  // in the adapter's font; 256 and up: the second half of a font with 512 characters
  std::uint8_t foreground = 7;
  std::uint8_t background = 0;
  bool blinks = false;
  bool operator==(const Cell&) const = default;
};

/// Where the cursor is, and the part of its cell that it fills, in scan lines from the top.
struct Cursor {
  bool visible = false;
  unsigned row = 0;
  unsigned column = 0;
  unsigned first_line = 0;
  unsigned last_line = 0;
  bool operator==(const Cursor&) const = default;
};

enum class ScreenKind : std::uint8_t {
  kBlank,     // switched off
  kText,      // CELLS, row by row
  kGraphics,  // no text: only its size is told
};

struct Screen {
  ScreenKind kind = ScreenKind::kBlank;
  unsigned width = 0;  // columns, or pixels
  unsigned height = 0;
  unsigned cell_height = 0;  // scan lines of a character
  std::vector<Cell> cells;   // width x height of them in text, otherwise none
  Cursor cursor;
  bool operator==(const Screen&) const = default;
};

/// Something with a screen. Any thread.
class ScreenSource {
 public:
  virtual ~ScreenSource() = default;
  /// Fills SCREEN, whose memory is used again, with what is to be seen now.
  virtual void read_screen(Screen& screen) = 0;
};

/// Something with a keyboard. Any thread.
class KeySink {
 public:
  virtual ~KeySink() = default;
  /// The key that QEMU calls NAME ("a", "ret", "shift") goes down or up; an unknown one does nothing.
  virtual void key(std::string_view name, bool pressed) = 0;
};

}  // namespace doppel::ui
