// The user's terminal in raw mode, and back.
#pragma once

#include <termios.h>

#include <memory>

#include "base/error.h"
#include "event/loop.h"

namespace doppel::chardev {

/// Makes every key reach the reader at once while it lives. On SIGTSTP it gives the terminal back before the process
/// stops, and takes it again on SIGCONT. Loop's thread.
class RawTerminal {
 public:
  /// SIGNALS: Ctrl-C, Ctrl-\ and Ctrl-Z keep their meaning. FD stays the caller's. Nothing happens if it is no
  /// terminal.
  RawTerminal(event::Loop& loop, int fd, bool signals);
  ~RawTerminal();
  RawTerminal(const RawTerminal&) = delete;
  RawTerminal& operator=(const RawTerminal&) = delete;

  void enter();
  void leave();

 private:
  void suspend_process();

  const int fd_;
  const bool signals_;
  bool is_terminal_ = false;
  bool raw_ = false;
  termios saved_{};
  std::unique_ptr<event::SignalWatch> stop_watch_;
  std::unique_ptr<event::SignalWatch> continue_watch_;
};

}  // namespace doppel::chardev
