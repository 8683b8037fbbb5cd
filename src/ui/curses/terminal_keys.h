// What a terminal's keys mean on a PC's keyboard.
#pragma once

#include <functional>
#include <optional>

#include "ui/us_layout.h"

namespace doppel::ui {

/// As ncurses hands it out: a character, or one of its KEY_ numbers.
struct TerminalKey {
  char32_t code = 0;
  bool is_function = false;
};

/// Puts together what arrives as several keys: ESC and another is that with Alt, Ctrl-A is the escape character.
class KeyDecoder {
 public:
  /// TYPED gets each stroke, QUIT is called on Ctrl-A x. Ctrl-A twice is one, Ctrl-A and anything else is nothing.
  KeyDecoder(std::function<void(const KeyStroke&)> typed, std::function<void()> quit)
      : typed_(std::move(typed)), quit_(std::move(quit)) {}

  void put(const TerminalKey& key);
  /// There is nothing more at the moment: an ESC was the key itself.
  void pause();

 private:
  void escaped(const TerminalKey& key);

  const std::function<void(const KeyStroke&)> typed_;
  const std::function<void()> quit_;
  bool alt_ = false;      // after ESC
  bool escaped_ = false;  // after Ctrl-A
};

/// A key by itself; nothing if a PC's keyboard has none like it.
std::optional<KeyStroke> stroke_of(const TerminalKey& key);

}  // namespace doppel::ui
