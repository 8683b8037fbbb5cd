#include "ui/curses/curses_display.h"

#include <poll.h>
#include <unistd.h>

#include <csignal>
#include <utility>

namespace doppel::ui {

namespace {

constexpr std::int64_t kFrameNs = 33 * event::kNsPerMillisecond;
/// A keyboard holds 64 events until the guest takes them, a stroke is up to 8.
constexpr unsigned kStrokesPerFrame = 8;
constexpr std::size_t kMostTyped = 4096;

bool has_hung_up(int fd) {
  pollfd state{.fd = fd, .events = POLLIN, .revents = 0};
  return ::poll(&state, 1, 0) == 1 && (state.revents & (POLLHUP | POLLERR)) != 0;
}

}  // namespace

Result<std::unique_ptr<CursesDisplay>> CursesDisplay::create(event::Loop& loop, ScreenSource& source, KeySink* keys,
                                                             std::function<void()> quit) {
  std::unique_ptr<CursesDisplay> display(new CursesDisplay(loop, source, keys, std::move(quit)));
  // After the display watches SIGTSTP: a signal that nobody has asked for ncurses takes for itself, and ignores while
  // it draws.
  DOPPEL_ASSIGN(auto terminal, TerminalScreen::open());
  display->begin(std::move(terminal));
  return display;
}

CursesDisplay::CursesDisplay(event::Loop& loop, ScreenSource& source, KeySink* keys, std::function<void()> quit)
    : loop_(loop),
      source_(source),
      keys_(keys),
      quit_(std::move(quit)),
      decoder_(
          [this](const KeyStroke& stroke) {
            if (typed_.size() < kMostTyped) typed_.push_back(stroke);
          },
          [this] { quit_(); }) {
  signals_.push_back(loop.watch_signal(SIGWINCH, [this] { terminal_->resize(); }));
  signals_.push_back(loop.watch_signal(SIGTSTP, [this] { suspend_process(); }));
}

void CursesDisplay::begin(std::unique_ptr<TerminalScreen> terminal) {
  terminal_ = std::move(terminal);
  timer_ = loop_.realtime_clock().create_timer([this] { tick(); });
  input_ = loop_.watch_fd(STDIN_FILENO, event::FdReady::kReadable, [this] { read_keys(); });
  tick();
}

void CursesDisplay::tick() {
  source_.read_screen(screen_);
  terminal_->draw(screen_);
  type_some();
  timer_->arm(loop_.realtime_clock().now_ns() + kFrameNs);
}

void CursesDisplay::read_keys() {
  if (has_hung_up(STDIN_FILENO)) {
    input_.reset();
    return quit_();
  }
  const bool was_idle = typed_.empty();
  while (const auto key = terminal_->read_key()) decoder_.put(*key);
  decoder_.pause();
  if (was_idle) type_some();
}

/// A frame's worth; the rest waits for the next.
void CursesDisplay::type_some() {
  for (unsigned i = 0; i < kStrokesPerFrame && !typed_.empty(); ++i) {
    if (keys_ != nullptr) type(*keys_, typed_.front());
    typed_.pop_front();
  }
}

void CursesDisplay::suspend_process() {
  terminal_->leave();
  ::kill(::getpid(), SIGSTOP);
}

}  // namespace doppel::ui
