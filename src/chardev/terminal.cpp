#include "chardev/terminal.h"

#include <unistd.h>

#include <csignal>

#include "chardev/fd_util.h"

namespace doppel::chardev {

RawTerminal::RawTerminal(event::Loop& loop, int fd, bool signals) : fd_(fd), signals_(signals) {
  is_terminal_ = tcgetattr(fd_, &saved_) == 0;
  if (!is_terminal_) return;
  stop_watch_ = loop.watch_signal(SIGTSTP, [this] { suspend_process(); });
  continue_watch_ = loop.watch_signal(SIGCONT, [this] { enter(); });
  enter();
}

RawTerminal::~RawTerminal() {
  leave();
}

void RawTerminal::enter() {
  // A background job that touches its terminal would be stopped by SIGTTOU. (-1: not our controlling terminal.)
  const pid_t foreground = tcgetpgrp(fd_);
  if (!is_terminal_ || (foreground >= 0 && foreground != getpgrp())) return;
  termios raw = saved_;
  raw.c_iflag &= ~static_cast<tcflag_t>(IGNBRK | BRKINT | PARMRK | ISTRIP | INLCR | IGNCR | ICRNL | IXON);
  raw.c_lflag &= ~static_cast<tcflag_t>(ECHO | ECHONL | ICANON | IEXTEN);
  if (!signals_) raw.c_lflag &= ~static_cast<tcflag_t>(ISIG);
  raw.c_cflag = (raw.c_cflag & ~static_cast<tcflag_t>(CSIZE | PARENB)) | CS8;
  raw.c_cc[VMIN] = 1;
  raw.c_cc[VTIME] = 0;
  raw_ = tcsetattr(fd_, TCSANOW, &raw) == 0;
  (void)set_nonblocking(fd_, true);
}

void RawTerminal::leave() {
  if (!raw_) return;
  raw_ = false;
  (void)set_nonblocking(fd_, false);
  tcsetattr(fd_, TCSANOW, &saved_);
}

void RawTerminal::suspend_process() {
  leave();
  kill(getpid(), SIGSTOP);
}

}  // namespace doppel::chardev
