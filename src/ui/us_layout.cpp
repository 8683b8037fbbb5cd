#include "ui/us_layout.h"

#include <algorithm>
#include <array>

namespace doppel::ui {

namespace {

struct Key {
  char plain;
  char shifted;
  std::string_view name;
};

constexpr std::array kKeys = {
    Key{'`', '~', "grave_accent"},
    Key{'1', '!', "1"},
    Key{'2', '@', "2"},
    Key{'3', '#', "3"},
    Key{'4', '$', "4"},
    Key{'5', '%', "5"},
    Key{'6', '^', "6"},
    Key{'7', '&', "7"},
    Key{'8', '*', "8"},
    Key{'9', '(', "9"},
    Key{'0', ')', "0"},
    Key{'-', '_', "minus"},
    Key{'=', '+', "equal"},
    Key{'[', '{', "bracket_left"},
    Key{']', '}', "bracket_right"},
    Key{'\\', '|', "backslash"},
    Key{';', ':', "semicolon"},
    Key{'\'', '"', "apostrophe"},
    Key{',', '<', "comma"},
    Key{'.', '>', "dot"},
    Key{'/', '?', "slash"},
    Key{' ', ' ', "spc"},
};

constexpr std::string_view kLetters = "abcdefghijklmnopqrstuvwxyz";

/// Control characters that have a key of their own, and those that are no Ctrl with a letter.
struct Control {
  char32_t character;
  KeyStroke stroke;
};
constexpr std::array kControls = {
    Control{0x00, {.key = "spc", .ctrl = true}},
    Control{0x09, {.key = "tab"}},
    Control{0x0a, {.key = "ret"}},
    Control{0x0d, {.key = "ret"}},
    Control{0x1b, {.key = "esc"}},
    Control{0x1c, {.key = "backslash", .ctrl = true}},
    Control{0x1d, {.key = "bracket_right", .ctrl = true}},
    Control{0x1e, {.key = "6", .shift = true, .ctrl = true}},
    Control{0x1f, {.key = "minus", .shift = true, .ctrl = true}},
    Control{0x7f, {.key = "backspace"}},
};

constexpr std::string_view letter(char32_t index) {
  return kLetters.substr(index, 1);
}

}  // namespace

std::optional<KeyStroke> us_key_stroke(char32_t character) {
  if (const auto* row = std::ranges::find(kControls, character, &Control::character); row != kControls.end())
    return row->stroke;
  if (character < 0x20) return KeyStroke{.key = letter(character - 1), .ctrl = true};
  if (character > 0x7f) return std::nullopt;
  if (character >= 'a' && character <= 'z') return KeyStroke{.key = letter(character - 'a')};
  if (character >= 'A' && character <= 'Z') return KeyStroke{.key = letter(character - 'A'), .shift = true};
  for (const Key& key : kKeys) {
    if (character == static_cast<unsigned char>(key.plain)) return KeyStroke{.key = key.name};
    if (character == static_cast<unsigned char>(key.shifted)) return KeyStroke{.key = key.name, .shift = true};
  }
  return std::nullopt;
}

void type(KeySink& keys, const KeyStroke& stroke) {
  const auto modifiers = [&](bool pressed) {
    if (stroke.ctrl) keys.key("ctrl", pressed);
    if (stroke.alt) keys.key("alt", pressed);
    if (stroke.shift) keys.key("shift", pressed);
  };
  modifiers(true);
  keys.key(stroke.key, true);
  keys.key(stroke.key, false);
  modifiers(false);
}

}  // namespace doppel::ui
