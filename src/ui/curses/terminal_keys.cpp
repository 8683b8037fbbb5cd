#include "ui/curses/terminal_keys.h"

#include <curses.h>

#include <algorithm>
#include <array>

namespace doppel::ui {

namespace {

constexpr char32_t kEsc = 0x1b;
constexpr char32_t kCtrlA = 0x01;

struct FunctionKey {
  char32_t code;
  KeyStroke stroke;
};
constexpr std::array kFunctionKeys = {
    FunctionKey{KEY_UP, {.key = "up"}},
    FunctionKey{KEY_DOWN, {.key = "down"}},
    FunctionKey{KEY_LEFT, {.key = "left"}},
    FunctionKey{KEY_RIGHT, {.key = "right"}},
    FunctionKey{KEY_HOME, {.key = "home"}},
    FunctionKey{KEY_END, {.key = "end"}},
    FunctionKey{KEY_PPAGE, {.key = "pgup"}},
    FunctionKey{KEY_NPAGE, {.key = "pgdn"}},
    FunctionKey{KEY_IC, {.key = "insert"}},
    FunctionKey{KEY_DC, {.key = "delete"}},
    FunctionKey{KEY_BACKSPACE, {.key = "backspace"}},
    FunctionKey{KEY_ENTER, {.key = "ret"}},
    FunctionKey{KEY_BTAB, {.key = "tab", .shift = true}},
    FunctionKey{KEY_SR, {.key = "up", .shift = true}},
    FunctionKey{KEY_SF, {.key = "down", .shift = true}},
    FunctionKey{KEY_SLEFT, {.key = "left", .shift = true}},
    FunctionKey{KEY_SRIGHT, {.key = "right", .shift = true}},
    FunctionKey{KEY_SPREVIOUS, {.key = "pgup", .shift = true}},
    FunctionKey{KEY_SNEXT, {.key = "pgdn", .shift = true}},
};

constexpr auto kF =
    std::to_array<std::string_view>({"f1", "f2", "f3", "f4", "f5", "f6", "f7", "f8", "f9", "f10", "f11", "f12"});

/// Terminals number F1 to F12 on and on: by themselves, with Shift, Ctrl, both, Alt.
std::optional<KeyStroke> f_key(char32_t code) {
  constexpr std::array kHeld = {KeyStroke{}, KeyStroke{.shift = true}, KeyStroke{.ctrl = true},
                                KeyStroke{.shift = true, .ctrl = true}, KeyStroke{.alt = true}};
  const char32_t number = code - KEY_F(1);  // huge for what is below F1
  if (number >= kF.size() * kHeld.size()) return std::nullopt;
  KeyStroke stroke = kHeld.at(number / kF.size());
  stroke.key = kF.at(number % kF.size());
  return stroke;
}

}  // namespace

std::optional<KeyStroke> stroke_of(const TerminalKey& key) {
  if (!key.is_function) return us_key_stroke(key.code);
  const auto* row = std::ranges::find(kFunctionKeys, key.code, &FunctionKey::code);
  return row != kFunctionKeys.end() ? row->stroke : f_key(key.code);
}

void KeyDecoder::put(const TerminalKey& key) {
  if (escaped_) return escaped(key);
  if (!key.is_function && key.code == kCtrlA && !alt_) {
    escaped_ = true;
    return;
  }
  if (!key.is_function && key.code == kEsc && !alt_) {
    alt_ = true;
    return;
  }
  auto stroke = stroke_of(key);
  if (stroke) {
    stroke->alt = stroke->alt || alt_;
    typed_(*stroke);
  }
  alt_ = false;
}

void KeyDecoder::escaped(const TerminalKey& key) {
  escaped_ = false;
  if (key.is_function) return;
  if (key.code == kCtrlA || key.code == 'a') typed_({.key = "a", .ctrl = true});
  if (key.code == 'x') quit_();
}

void KeyDecoder::pause() {
  if (!alt_) return;
  alt_ = false;
  typed_({.key = "esc"});
}

}  // namespace doppel::ui
