// What to press on a keyboard with the US layout to type a character.
#pragma once

#include <optional>
#include <string_view>

#include "ui/screen.h"

namespace doppel::ui {

/// A key pressed and released while others are held.
struct KeyStroke {
  std::string_view key{};  // QEMU's name for it, a literal
  bool shift = false;
  bool ctrl = false;
  bool alt = false;
  bool operator==(const KeyStroke&) const = default;
};

/// For CHARACTER as terminals send it: printable ASCII, the control characters 0 to 31, and 127, which is Backspace.
/// Nothing for what is on no US keyboard.
std::optional<KeyStroke> us_key_stroke(char32_t character);

/// Presses and releases everything that STROKE is made of.
void type(KeySink& keys, const KeyStroke& stroke);

}  // namespace doppel::ui
