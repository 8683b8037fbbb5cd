// The user's terminal as ncurses has it.
#pragma once

#include <memory>
#include <optional>

#include "base/error.h"
#include "ui/curses/terminal_keys.h"
#include "ui/screen.h"

namespace doppel::ui {

/// Takes the terminal on standard input and output over while it lives. One at a time; loop's thread.
class TerminalScreen {
 public:
  static Result<std::unique_ptr<TerminalScreen>> open();
  ~TerminalScreen();
  TerminalScreen(const TerminalScreen&) = delete;
  TerminalScreen& operator=(const TerminalScreen&) = delete;

  /// Draws what differs from the last SCREEN. One that is higher than the terminal is shown around its cursor.
  void draw(const Screen& screen);
  /// The next key, if one is there.
  std::optional<TerminalKey> read_key();

  /// The terminal has another size.
  void resize();
  /// Gives the terminal back; draw() takes it again.
  void leave();

 private:
  struct Handle;
  explicit TerminalScreen(std::unique_ptr<Handle> handle);

  void start_colours();
  void draw_text(const Screen& screen);
  void draw_cell(int row, int column, const Cell& cell) const;
  void draw_cursor(const Cursor& cursor, unsigned cell_height, unsigned first_row) const;
  [[nodiscard]] unsigned first_row(const Screen& screen) const;

  const std::unique_ptr<Handle> handle_;
  unsigned colours_ = 0;  // 16, 8, or none
  bool draws_all_ = true;
  unsigned first_row_ = 0;  // of what is shown
  Screen shown_;
};

}  // namespace doppel::ui
