// `-display curses`: a text screen and its keyboard on the user's terminal.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "base/error.h"
#include "event/loop.h"
#include "ui/curses/terminal_keys.h"
#include "ui/curses/terminal_screen.h"
#include "ui/screen.h"

namespace doppel::ui {

/// Shows the screen some thirty times a second, if it has changed, and types what the user types. Created, run and
/// destroyed on the loop's thread; the terminal is as before afterwards.
class CursesDisplay {
 public:
  /// SOURCE and KEYS, which may be null, outlive this. QUIT is called when the user asks for the end by Ctrl-A x, or
  /// the terminal is gone. An error if standard input and output are no terminal.
  static Result<std::unique_ptr<CursesDisplay>> create(event::Loop& loop, ScreenSource& source, KeySink* keys,
                                                       std::function<void()> quit);

 private:
  CursesDisplay(event::Loop& loop, ScreenSource& source, KeySink* keys, std::function<void()> quit);

  void begin(std::unique_ptr<TerminalScreen> terminal);
  void tick();
  void read_keys();
  void type_some();
  void suspend_process();

  event::Loop& loop_;
  ScreenSource& source_;
  KeySink* const keys_;
  const std::function<void()> quit_;
  std::unique_ptr<TerminalScreen> terminal_;
  KeyDecoder decoder_;
  std::deque<KeyStroke> typed_;  // that the keyboard's small buffer has had no room for
  Screen screen_;
  std::unique_ptr<event::Timer> timer_;
  std::unique_ptr<event::FdWatch> input_;
  std::vector<std::unique_ptr<event::SignalWatch>> signals_;
};

}  // namespace doppel::ui
