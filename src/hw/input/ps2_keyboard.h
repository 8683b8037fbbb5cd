// An enhanced PC keyboard (IBM PS/2 technical reference, "Keyboard"), with its three scan code sets.
#pragma once

#include <array>
#include <bitset>
#include <cstdint>
#include <optional>

#include "hw/input/key_codes.h"
#include "hw/input/ps2_port.h"

namespace doppel::hw {

struct Ps2KeyboardState {
  Ps2PortState port{};
  std::uint8_t scan_set = 2;
  std::uint8_t leds = 0;
  std::uint8_t typematic = 0;
  bool enabled = true;
  bool break_codes = true;
  bool repeats = true;
  std::vector<std::uint8_t> pressed{};
  void describe(auto& fields) {
    fields("port", port);
    fields("scan_set", scan_set);
    fields("leds", leds);
    fields("typematic", typematic);
    fields("enabled", enabled);
    fields("break_codes", break_codes);
    fields("repeats", repeats);
    fields("pressed", pressed);
  }
};

/// No lock: the controller holds its own. Time is given in, in nanoseconds of the guest's clock.
class Ps2Keyboard final : public Ps2Port {
 public:
  /// Makes beyond the first are dropped; breaks, without which a key would stick, have the double.
  static constexpr std::size_t kMostEvents = 64;

  Ps2Keyboard() { reset(); }
  /// Power-on: the self-test's result is waiting.
  void reset();

  void host_byte(std::uint8_t byte) override;

  /// A key goes down or up; the host's own repetition (down again) is ignored for the keyboard's.
  void key(KeyCode code, bool pressed, std::int64_t now_ns);
  /// When repeat() is due; -1: never.
  [[nodiscard]] std::int64_t repeat_deadline_ns() const { return repeat_deadline_ns_; }
  void repeat(std::int64_t now_ns);

  /// Bit 0 scroll lock, 1 num lock, 2 caps lock.
  [[nodiscard]] std::uint8_t leds() const { return leds_; }

  [[nodiscard]] Ps2KeyboardState save() const;
  void load(const Ps2KeyboardState& state);

 private:
  void set_defaults();
  void command(std::uint8_t byte);
  void argument(std::uint8_t command, std::uint8_t byte);
  void send_key(KeyCode code, bool pressed);
  [[nodiscard]] bool is_pressed(KeyCode code) const { return pressed_.test(static_cast<std::size_t>(code)); }

  std::uint8_t scan_set_ = 2;
  std::uint8_t leds_ = 0;
  std::uint8_t typematic_ = 0;
  bool enabled_ = true;
  bool break_codes_ = true;  // of set 3, where commands turn it and the next on and off
  bool repeats_ = true;
  KeyCode repeated_key_ = KeyCode::kUnmapped;
  std::int64_t repeat_deadline_ns_ = -1;
  std::bitset<static_cast<std::size_t>(KeyCode::kCount)> pressed_;
};

/// The bytes that a keyboard in scan code set SET (1 to 3) sends for a key; CTRL and ALT matter to Print and Pause.
/// Empty where the set lacks the key.
std::vector<std::uint8_t> scan_codes(unsigned set, KeyCode code, bool pressed, bool ctrl, bool alt);

}  // namespace doppel::hw
