#include "ui/curses/terminal_screen.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <curses.h>

#include <algorithm>
#include <clocale>
#include <cstdio>
#include <cstdlib>

#include "ui/code_page_437.h"

namespace doppel::ui {

namespace {

constexpr int kEscapeDelayMs = 25;  // how long a function key's bytes may take to arrive

/// EGA's colours have blue in bit 0 and red in bit 2, the terminal's the other way round.
constexpr short terminal_colour(unsigned ega) {
  return static_cast<short>((ega & 0xaU) | (ega & 1U) << 2U | (ega >> 2U & 1U));
}

/// Of 8 colours, pair 0 is what it is anyway: white on black.
constexpr short pair_of_8(unsigned foreground, unsigned background) {
  return static_cast<short>((7U - (foreground & 7U)) + 8 * (background & 7U));
}
constexpr short pair_of_16(unsigned foreground, unsigned background) {
  return static_cast<short>(1 + foreground + 16 * background);
}

/// Line drawing needs a terminal with Unicode; where the user's locale says nothing, it has.
void choose_character_set() {
  std::setlocale(LC_CTYPE, "");
  if (MB_CUR_MAX == 1) std::setlocale(LC_CTYPE, "C.UTF-8");
}

}  // namespace

struct TerminalScreen::Handle {
  explicit Handle(SCREEN* opened) : screen(opened) {}
  ~Handle() {
    endwin();
    delscreen(screen);
  }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  SCREEN* const screen;
};

Result<std::unique_ptr<TerminalScreen>> TerminalScreen::open() {
  if (::isatty(STDIN_FILENO) == 0 || ::isatty(STDOUT_FILENO) == 0)
    return fail(ErrorKind::kInvalidArgument, "standard input and output are no terminal; start Doppel in one");
  choose_character_set();
  SCREEN* const screen = newterm(nullptr, stdout, stdin);
  auto handle = screen != nullptr ? std::make_unique<Handle>(screen) : nullptr;
  if (handle == nullptr || tigetstr("cup") == nullptr) {
    const char* const type = std::getenv("TERM");
    return fail(ErrorKind::kUnsupported, "this terminal (TERM={}) is not known here, or cannot place its cursor",
                type != nullptr ? type : "");
  }
  return std::unique_ptr<TerminalScreen>(new TerminalScreen(std::move(handle)));
}

TerminalScreen::TerminalScreen(std::unique_ptr<Handle> handle) : handle_(std::move(handle)) {
  raw();
  noecho();
  nonl();
  keypad(stdscr, TRUE);
  nodelay(stdscr, TRUE);
  intrflush(stdscr, FALSE);
  set_escdelay(kEscapeDelayMs);
  start_colours();
}

TerminalScreen::~TerminalScreen() = default;

void TerminalScreen::start_colours() {
  if (!has_colors() || start_color() == ERR) return;
  colours_ = COLORS >= 16 && COLOR_PAIRS > 256 ? 16 : 8;
  for (unsigned background = 0; background < colours_; ++background)
    for (unsigned foreground = 0; foreground < colours_; ++foreground)
      init_pair(colours_ == 16 ? pair_of_16(foreground, background) : pair_of_8(foreground, background),
                terminal_colour(foreground), terminal_colour(background));
}

std::optional<TerminalKey> TerminalScreen::read_key() {
  wint_t code = 0;
  const int kind = get_wch(&code);
  if (kind == ERR) return std::nullopt;
  return TerminalKey{.code = static_cast<char32_t>(code), .is_function = kind == KEY_CODE_YES};
}

void TerminalScreen::resize() {
  winsize size{};
  if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 0 && size.ws_col > 0)
    resizeterm(size.ws_row, size.ws_col);
  draws_all_ = true;
}

void TerminalScreen::leave() {
  endwin();
  draws_all_ = true;
}

void TerminalScreen::draw(const Screen& screen) {
  const unsigned row = first_row(screen);
  if (!draws_all_ && row == first_row_ && screen == shown_) return;
  if (draws_all_ || row != first_row_ || screen.kind != shown_.kind || screen.width != shown_.width ||
      screen.height != shown_.height) {
    erase();
    if (draws_all_) clearok(stdscr, TRUE);
    shown_ = {};
  }
  first_row_ = row;
  if (screen.kind == ScreenKind::kText) draw_text(screen);
  if (screen.kind == ScreenKind::kGraphics) mvprintw(0, 0, "%ux%u graphics", screen.width, screen.height);
  draw_cursor(screen.cursor, screen.cell_height, row);
  refresh();
  shown_ = screen;
  draws_all_ = false;
}

/// The last rows of a screen that does not fit, unless the cursor is above them.
unsigned TerminalScreen::first_row(const Screen& screen) const {
  const auto lines = static_cast<unsigned>(std::max(getmaxy(stdscr), 1));
  if (screen.kind != ScreenKind::kText || screen.height <= lines) return 0;
  const unsigned cursor = screen.cursor.visible ? screen.cursor.row : 0;
  return cursor < lines ? 0 : std::min(cursor - lines + 1, screen.height - lines);
}

void TerminalScreen::draw_text(const Screen& screen) {
  const auto lines = static_cast<unsigned>(std::max(getmaxy(stdscr), 0));
  const unsigned columns = std::min(screen.width, static_cast<unsigned>(std::max(getmaxx(stdscr), 0)));
  for (unsigned row = first_row_; row < screen.height && row - first_row_ < lines; ++row) {
    for (unsigned column = 0; column < columns; ++column) {
      const std::size_t at = std::size_t{row} * screen.width + column;
      if (at < shown_.cells.size() && shown_.cells[at] == screen.cells[at]) continue;
      draw_cell(static_cast<int>(row - first_row_), static_cast<int>(column), screen.cells[at]);
    }
  }
}

void TerminalScreen::draw_cell(int row, int column, const Cell& cell) const {
  attr_t attributes = cell.blinks ? A_BLINK : A_NORMAL;
  short pair = 0;
  if (colours_ == 16) {
    pair = pair_of_16(cell.foreground, cell.background);
  } else {
    if (cell.foreground >= 8) attributes |= A_BOLD;
    if (colours_ == 8) pair = pair_of_8(cell.foreground, cell.background);
    if (colours_ == 0 && cell.background != 0) attributes |= A_REVERSE;
  }
  const wchar_t text[2] = {static_cast<wchar_t>(code_page_437(cell.code)), L'\0'};
  cchar_t character;
  if (setcchar(&character, text, attributes, pair, nullptr) != ERR) mvadd_wch(row, column, &character);
}

void TerminalScreen::draw_cursor(const Cursor& cursor, unsigned cell_height, unsigned first_row) const {
  const int row = static_cast<int>(cursor.row - std::min(cursor.row, first_row));
  const bool fits = row < getmaxy(stdscr) && static_cast<int>(cursor.column) < getmaxx(stdscr);
  if (!cursor.visible || !fits) {
    curs_set(0);
    return;
  }
  const bool is_block = 2 * (cursor.last_line - cursor.first_line + 1) > cell_height;
  curs_set(is_block ? 2 : 1);
  move(row, static_cast<int>(cursor.column));
}

}  // namespace doppel::ui
