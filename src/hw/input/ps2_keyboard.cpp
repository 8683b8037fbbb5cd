#include "hw/input/ps2_keyboard.h"

#include <algorithm>

#include "event/clock.h"

namespace doppel::hw {
namespace {

enum : std::uint8_t {
  kSetLeds = 0xed,
  kEcho = 0xee,
  kScanSet = 0xf0,
  kReadId = 0xf2,
  kSetTypematic = 0xf3,
  kEnable = 0xf4,
  kDisable = 0xf5,
  kDefaults = 0xf6,
  kAllTypematic = 0xf7,
  kAllMakeBreak = 0xf8,
  kAllMake = 0xf9,
  kAllTypematicMakeBreak = 0xfa,
  kKeyTypematic = 0xfb,
  kKeyMakeBreak = 0xfc,
  kKeyMake = 0xfd,
  kResendLast = 0xfe,
  kReset = 0xff,
};

constexpr std::uint8_t kBreakPrefix = 0xf0;
constexpr std::uint8_t kExtendedPrefix = 0xe0;
constexpr std::uint8_t kDefaultTypematic = 0x2b;  // 10.9 a second after half a second

std::int64_t repeat_delay_ns(std::uint8_t typematic) {
  return (((typematic >> 5) & 3) + 1) * 250 * event::kNsPerMillisecond;
}

std::int64_t repeat_period_ns(std::uint8_t typematic) {
  const std::int64_t units = std::int64_t{8 + (typematic & 7)} << ((typematic >> 3) & 3);
  return units * 4170 * event::kNsPerMicrosecond;
}

using Codes = std::vector<std::uint8_t>;

/// Print in set 2: a shifted keypad asterisk, plain when Ctrl or Shift is held already; with Alt it is SysRq.
Codes print_codes(bool pressed, bool ctrl, bool alt) {
  if (alt) return pressed ? Codes{0x84} : Codes{kBreakPrefix, 0x84};
  if (ctrl) return pressed ? Codes{0xe0, 0x7c} : Codes{0xe0, kBreakPrefix, 0x7c};
  return pressed ? Codes{0xe0, 0x12, 0xe0, 0x7c} : Codes{0xe0, kBreakPrefix, 0x7c, 0xe0, kBreakPrefix, 0x12};
}

/// Pause sends its break along with its make; with Ctrl it is Break.
Codes pause_codes(bool pressed, bool ctrl) {
  if (!pressed) return {};
  if (ctrl) return {0xe0, 0x7e, 0xe0, kBreakPrefix, 0x7e};
  return {0xe1, 0x14, 0x77, 0xe1, kBreakPrefix, 0x14, kBreakPrefix, 0x77};
}

Codes set2_codes(KeyCode code, bool pressed, bool ctrl, bool alt) {
  if (code == KeyCode::kPrint) return print_codes(pressed, ctrl, alt);
  if (code == KeyCode::kPause) return pause_codes(pressed, ctrl);
  const std::uint16_t scan = key_info(code).set2;
  Codes codes;
  if (scan == 0) return codes;
  if ((scan & kExtended) != 0) codes.push_back(kExtendedPrefix);
  if (!pressed) codes.push_back(kBreakPrefix);
  codes.push_back(static_cast<std::uint8_t>(scan));
  return codes;
}

Codes to_set1(const Codes& set2) {
  Codes codes;
  std::uint8_t released = 0;
  for (const std::uint8_t byte : set2) {
    if (byte == kBreakPrefix) {
      released = 0x80;
      continue;
    }
    codes.push_back(static_cast<std::uint8_t>(translate_set2(byte) | released));
    released = 0;
  }
  return codes;
}

Codes set3_codes(KeyCode code, bool pressed) {
  const std::uint8_t scan = key_info(code).set3;
  if (scan == 0) return {};
  return pressed ? Codes{scan} : Codes{kBreakPrefix, scan};
}

}  // namespace

Codes scan_codes(unsigned set, KeyCode code, bool pressed, bool ctrl, bool alt) {
  switch (set) {
    case 1: return to_set1(set2_codes(code, pressed, ctrl, alt));
    case 2: return set2_codes(code, pressed, ctrl, alt);
    default: return set3_codes(code, pressed);
  }
}

void Ps2Keyboard::set_defaults() {
  scan_set_ = 2;
  typematic_ = kDefaultTypematic;
  break_codes_ = repeats_ = true;
  repeated_key_ = KeyCode::kUnmapped;
  repeat_deadline_ns_ = -1;
  clear_events();
}

void Ps2Keyboard::reset() {
  set_defaults();
  clear_output();
  enabled_ = true;
  leds_ = 0;
  reply({ps2::kSelfTestPassed});
}

void Ps2Keyboard::host_byte(std::uint8_t byte) {
  const std::uint8_t pending = pending_command();
  expect_argument_of(0);
  if (pending != 0 && byte < kSetLeds)
    argument(pending, byte);
  else
    command(byte);
}

void Ps2Keyboard::command(std::uint8_t byte) {
  if (byte < kSetLeds) return reply({ps2::kResend});
  switch (byte) {
    case kEcho: return reply({kEcho});
    case kResendLast: return resend_last();
    case kReset:
      reset();
      clear_output();
      return reply({ps2::kAck, ps2::kSelfTestPassed});
    case kReadId: return reply({ps2::kAck, 0xab, 0x83});
    case kSetLeds:
    case kScanSet:
    case kSetTypematic:
    case kKeyTypematic:
    case kKeyMakeBreak:
    case kKeyMake: expect_argument_of(byte); break;
    case kEnable:
      clear_events();
      enabled_ = true;
      break;
    case kDisable:
      set_defaults();
      enabled_ = false;
      break;
    case kDefaults: set_defaults(); break;
    case kAllTypematic:
    case kAllMakeBreak:
    case kAllMake:
    case kAllTypematicMakeBreak:
      repeats_ = byte == kAllTypematic || byte == kAllTypematicMakeBreak;
      break_codes_ = byte == kAllMakeBreak || byte == kAllTypematicMakeBreak;
      break;
    default: return reply({ps2::kResend});
  }
  reply({ps2::kAck});
}

void Ps2Keyboard::argument(std::uint8_t command, std::uint8_t byte) {
  switch (command) {
    case kSetLeds: leds_ = byte & 7; break;
    case kSetTypematic: typematic_ = byte & 0x7f; break;
    case kScanSet:
      if (byte == 0) return reply({ps2::kAck, scan_set_});
      if (byte > 3) return reply({ps2::kResend});
      scan_set_ = byte;
      clear_events();
      break;
    default: expect_argument_of(command); break;  // one key after another; all keys stay alike here
  }
  reply({ps2::kAck});
}

void Ps2Keyboard::key(KeyCode code, bool pressed, std::int64_t now_ns) {
  if (code == KeyCode::kUnmapped || code >= KeyCode::kCount || is_pressed(code) == pressed) return;
  pressed_.set(static_cast<std::size_t>(code), pressed);
  if (!enabled_) return;
  send_key(code, pressed);
  if (pressed && code != KeyCode::kPause && (scan_set_ != 3 || repeats_)) {
    repeated_key_ = code;
    repeat_deadline_ns_ = now_ns + repeat_delay_ns(typematic_);
  } else if (!pressed && code == repeated_key_) {
    repeat_deadline_ns_ = -1;
  }
}

void Ps2Keyboard::send_key(KeyCode code, bool pressed) {
  if (scan_set_ == 3 && !pressed && !break_codes_) return;
  const bool ctrl = is_pressed(KeyCode::kCtrl) || is_pressed(KeyCode::kCtrlR);
  const bool alt = is_pressed(KeyCode::kAlt) || is_pressed(KeyCode::kAltR);
  const auto codes = scan_codes(scan_set_, code, pressed, ctrl, alt);
  push_event(codes, pressed ? kMostEvents : 2 * kMostEvents);
}

void Ps2Keyboard::repeat(std::int64_t now_ns) {
  if (repeat_deadline_ns_ < 0 || now_ns < repeat_deadline_ns_) return;
  repeat_deadline_ns_ = now_ns + repeat_period_ns(typematic_);
  // A guest that does not read is not buried in repetitions.
  if (enabled_ && queued_events() == 0) send_key(repeated_key_, true);
}

Ps2KeyboardState Ps2Keyboard::save() const {
  Ps2KeyboardState state{.port = save_port(),
                         .scan_set = scan_set_,
                         .leds = leds_,
                         .typematic = typematic_,
                         .enabled = enabled_,
                         .break_codes = break_codes_,
                         .repeats = repeats_};
  for (std::size_t i = 0; i < pressed_.size(); ++i)
    if (pressed_.test(i)) state.pressed.push_back(static_cast<std::uint8_t>(i));
  return state;
}

void Ps2Keyboard::load(const Ps2KeyboardState& state) {
  load_port(state.port, 2 * kMostEvents);
  scan_set_ = std::clamp<std::uint8_t>(state.scan_set, 1, 3);
  leds_ = state.leds & 7;
  typematic_ = state.typematic & 0x7f;
  enabled_ = state.enabled;
  break_codes_ = state.break_codes;
  repeats_ = state.repeats;
  // The finger that held a key down is not on this host's keyboard; the key's release may still come.
  repeat_deadline_ns_ = -1;
  pressed_.reset();
  for (const std::uint8_t key : state.pressed)
    if (key < pressed_.size()) pressed_.set(key);
}

}  // namespace doppel::hw
