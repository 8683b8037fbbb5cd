#include "hw/input/key_codes.h"

#include <array>

namespace doppel::hw {
namespace {

constexpr std::array<KeyInfo, static_cast<std::size_t>(KeyCode::kCount)> kKeys = {{
    {KeyCode::kUnmapped, "unmapped", 0, 0},
    {KeyCode::kShift, "shift", 0x12, 0x12},
    {KeyCode::kShiftR, "shift_r", 0x59, 0x59},
    {KeyCode::kAlt, "alt", 0x11, 0x19},
    {KeyCode::kAltR, "alt_r", kExtended | 0x11, 0x39},
    {KeyCode::kCtrl, "ctrl", 0x14, 0x11},
    {KeyCode::kCtrlR, "ctrl_r", kExtended | 0x14, 0x58},
    {KeyCode::kMenu, "menu", kExtended | 0x2f, 0x8d},
    {KeyCode::kEsc, "esc", 0x76, 0x08},
    {KeyCode::kDigit1, "1", 0x16, 0x16},
    {KeyCode::kDigit2, "2", 0x1e, 0x1e},
    {KeyCode::kDigit3, "3", 0x26, 0x26},
    {KeyCode::kDigit4, "4", 0x25, 0x25},
    {KeyCode::kDigit5, "5", 0x2e, 0x2e},
    {KeyCode::kDigit6, "6", 0x36, 0x36},
    {KeyCode::kDigit7, "7", 0x3d, 0x3d},
    {KeyCode::kDigit8, "8", 0x3e, 0x3e},
    {KeyCode::kDigit9, "9", 0x46, 0x46},
    {KeyCode::kDigit0, "0", 0x45, 0x45},
    {KeyCode::kMinus, "minus", 0x4e, 0x4e},
    {KeyCode::kEqual, "equal", 0x55, 0x55},
    {KeyCode::kBackspace, "backspace", 0x66, 0x66},
    {KeyCode::kTab, "tab", 0x0d, 0x0d},
    {KeyCode::kQ, "q", 0x15, 0x15},
    {KeyCode::kW, "w", 0x1d, 0x1d},
    {KeyCode::kE, "e", 0x24, 0x24},
    {KeyCode::kR, "r", 0x2d, 0x2d},
    {KeyCode::kT, "t", 0x2c, 0x2c},
    {KeyCode::kY, "y", 0x35, 0x35},
    {KeyCode::kU, "u", 0x3c, 0x3c},
    {KeyCode::kI, "i", 0x43, 0x43},
    {KeyCode::kO, "o", 0x44, 0x44},
    {KeyCode::kP, "p", 0x4d, 0x4d},
    {KeyCode::kBracketLeft, "bracket_left", 0x54, 0x54},
    {KeyCode::kBracketRight, "bracket_right", 0x5b, 0x5b},
    {KeyCode::kRet, "ret", 0x5a, 0x5a},
    {KeyCode::kA, "a", 0x1c, 0x1c},
    {KeyCode::kS, "s", 0x1b, 0x1b},
    {KeyCode::kD, "d", 0x23, 0x23},
    {KeyCode::kF, "f", 0x2b, 0x2b},
    {KeyCode::kG, "g", 0x34, 0x34},
    {KeyCode::kH, "h", 0x33, 0x33},
    {KeyCode::kJ, "j", 0x3b, 0x3b},
    {KeyCode::kK, "k", 0x42, 0x42},
    {KeyCode::kL, "l", 0x4b, 0x4b},
    {KeyCode::kSemicolon, "semicolon", 0x4c, 0x4c},
    {KeyCode::kApostrophe, "apostrophe", 0x52, 0x52},
    {KeyCode::kGraveAccent, "grave_accent", 0x0e, 0x0e},
    {KeyCode::kBackslash, "backslash", 0x5d, 0x5c},
    {KeyCode::kZ, "z", 0x1a, 0x1a},
    {KeyCode::kX, "x", 0x22, 0x22},
    {KeyCode::kC, "c", 0x21, 0x21},
    {KeyCode::kV, "v", 0x2a, 0x2a},
    {KeyCode::kB, "b", 0x32, 0x32},
    {KeyCode::kN, "n", 0x31, 0x31},
    {KeyCode::kM, "m", 0x3a, 0x3a},
    {KeyCode::kComma, "comma", 0x41, 0x41},
    {KeyCode::kDot, "dot", 0x49, 0x49},
    {KeyCode::kSlash, "slash", 0x4a, 0x4a},
    {KeyCode::kAsterisk, "asterisk", 0x7c, 0x7e},
    {KeyCode::kSpc, "spc", 0x29, 0x29},
    {KeyCode::kCapsLock, "caps_lock", 0x58, 0x14},
    {KeyCode::kF1, "f1", 0x05, 0x07},
    {KeyCode::kF2, "f2", 0x06, 0x0f},
    {KeyCode::kF3, "f3", 0x04, 0x17},
    {KeyCode::kF4, "f4", 0x0c, 0x1f},
    {KeyCode::kF5, "f5", 0x03, 0x27},
    {KeyCode::kF6, "f6", 0x0b, 0x2f},
    {KeyCode::kF7, "f7", 0x83, 0x37},
    {KeyCode::kF8, "f8", 0x0a, 0x3f},
    {KeyCode::kF9, "f9", 0x01, 0x47},
    {KeyCode::kF10, "f10", 0x09, 0x4f},
    {KeyCode::kNumLock, "num_lock", 0x77, 0x76},
    {KeyCode::kScrollLock, "scroll_lock", 0x7e, 0x5f},
    {KeyCode::kKpDivide, "kp_divide", kExtended | 0x4a, 0x77},
    {KeyCode::kKpMultiply, "kp_multiply", 0x7c, 0x7e},
    {KeyCode::kKpSubtract, "kp_subtract", 0x7b, 0x84},
    {KeyCode::kKpAdd, "kp_add", 0x79, 0x7c},
    {KeyCode::kKpEnter, "kp_enter", kExtended | 0x5a, 0x79},
    {KeyCode::kKpDecimal, "kp_decimal", 0x71, 0x71},
    {KeyCode::kSysrq, "sysrq", 0x84, 0x57},
    {KeyCode::kKp0, "kp_0", 0x70, 0x70},
    {KeyCode::kKp1, "kp_1", 0x69, 0x69},
    {KeyCode::kKp2, "kp_2", 0x72, 0x72},
    {KeyCode::kKp3, "kp_3", 0x7a, 0x7a},
    {KeyCode::kKp4, "kp_4", 0x6b, 0x6b},
    {KeyCode::kKp5, "kp_5", 0x73, 0x73},
    {KeyCode::kKp6, "kp_6", 0x74, 0x74},
    {KeyCode::kKp7, "kp_7", 0x6c, 0x6c},
    {KeyCode::kKp8, "kp_8", 0x75, 0x75},
    {KeyCode::kKp9, "kp_9", 0x7d, 0x7d},
    {KeyCode::kLess, "less", 0x61, 0x13},
    {KeyCode::kF11, "f11", 0x78, 0x56},
    {KeyCode::kF12, "f12", 0x07, 0x5e},
    {KeyCode::kPrint, "print", 0, 0x57},
    {KeyCode::kHome, "home", kExtended | 0x6c, 0x6e},
    {KeyCode::kPgup, "pgup", kExtended | 0x7d, 0x6f},
    {KeyCode::kPgdn, "pgdn", kExtended | 0x7a, 0x6d},
    {KeyCode::kEnd, "end", kExtended | 0x69, 0x65},
    {KeyCode::kLeft, "left", kExtended | 0x6b, 0x61},
    {KeyCode::kUp, "up", kExtended | 0x75, 0x63},
    {KeyCode::kDown, "down", kExtended | 0x72, 0x60},
    {KeyCode::kRight, "right", kExtended | 0x74, 0x6a},
    {KeyCode::kInsert, "insert", kExtended | 0x70, 0x67},
    {KeyCode::kDelete, "delete", kExtended | 0x71, 0x64},
    {KeyCode::kPause, "pause", 0, 0x62},
    {KeyCode::kMetaL, "meta_l", kExtended | 0x1f, 0x8b},
    {KeyCode::kMetaR, "meta_r", kExtended | 0x27, 0x8c},
    {KeyCode::kCompose, "compose", kExtended | 0x2f, 0x8d},
    {KeyCode::kRo, "ro", 0x51, 0},
    {KeyCode::kHiragana, "hiragana", 0x13, 0x87},
    {KeyCode::kHenkan, "henkan", 0x64, 0x86},
    {KeyCode::kYen, "yen", 0x6a, 0x5d},
    {KeyCode::kMuhenkan, "muhenkan", 0x67, 0x85},
    {KeyCode::kKatakanahiragana, "katakanahiragana", 0x13, 0x87},
    {KeyCode::kKpComma, "kp_comma", 0x6d, 0},
    {KeyCode::kKpEquals, "kp_equals", 0x0f, 0},
    {KeyCode::kPower, "power", kExtended | 0x37, 0},
    {KeyCode::kSleep, "sleep", kExtended | 0x3f, 0},
    {KeyCode::kWake, "wake", kExtended | 0x5e, 0},
    {KeyCode::kAudionext, "audionext", kExtended | 0x4d, 0},
    {KeyCode::kAudioprev, "audioprev", kExtended | 0x15, 0},
    {KeyCode::kAudiostop, "audiostop", kExtended | 0x3b, 0},
    {KeyCode::kAudioplay, "audioplay", kExtended | 0x34, 0},
    {KeyCode::kAudiomute, "audiomute", kExtended | 0x23, 0},
    {KeyCode::kVolumeup, "volumeup", kExtended | 0x32, 0},
    {KeyCode::kVolumedown, "volumedown", kExtended | 0x21, 0},
    {KeyCode::kMediaselect, "mediaselect", kExtended | 0x50, 0},
    {KeyCode::kMail, "mail", kExtended | 0x48, 0},
    {KeyCode::kCalculator, "calculator", kExtended | 0x2b, 0},
    {KeyCode::kComputer, "computer", kExtended | 0x40, 0},
    {KeyCode::kAcHome, "ac_home", kExtended | 0x3a, 0},
    {KeyCode::kAcBack, "ac_back", kExtended | 0x38, 0},
    {KeyCode::kAcForward, "ac_forward", kExtended | 0x30, 0},
    {KeyCode::kAcRefresh, "ac_refresh", kExtended | 0x20, 0},
    {KeyCode::kAcBookmarks, "ac_bookmarks", kExtended | 0x18, 0},
    {KeyCode::kF13, "f13", 0x08, 0},
    {KeyCode::kF14, "f14", 0x10, 0},
    {KeyCode::kF15, "f15", 0x18, 0},
    {KeyCode::kF16, "f16", 0x20, 0},
    {KeyCode::kF17, "f17", 0x28, 0},
    {KeyCode::kF18, "f18", 0x30, 0},
    {KeyCode::kF19, "f19", 0x38, 0},
    {KeyCode::kF20, "f20", 0x40, 0},
    {KeyCode::kF21, "f21", 0x48, 0},
    {KeyCode::kF22, "f22", 0x50, 0},
    {KeyCode::kF23, "f23", 0x57, 0},
    {KeyCode::kF24, "f24", 0x5f, 0},
}};

/// What the controller of the PC/AT makes of 0x00 to 0x84; the rest passes unchanged.
constexpr std::array<std::uint8_t, 0x85> kTranslation = {
    0xff, 0x43, 0x41, 0x3f, 0x3d, 0x3b, 0x3c, 0x58, 0x64, 0x44, 0x42, 0x40, 0x3e, 0x0f, 0x29, 0x59,  //
    0x65, 0x38, 0x2a, 0x70, 0x1d, 0x10, 0x02, 0x5a, 0x66, 0x71, 0x2c, 0x1f, 0x1e, 0x11, 0x03, 0x5b,  //
    0x67, 0x2e, 0x2d, 0x20, 0x12, 0x05, 0x04, 0x5c, 0x68, 0x39, 0x2f, 0x21, 0x14, 0x13, 0x06, 0x5d,  //
    0x69, 0x31, 0x30, 0x23, 0x22, 0x15, 0x07, 0x5e, 0x6a, 0x72, 0x32, 0x24, 0x16, 0x08, 0x09, 0x5f,  //
    0x6b, 0x33, 0x25, 0x17, 0x18, 0x0b, 0x0a, 0x60, 0x6c, 0x34, 0x35, 0x26, 0x27, 0x19, 0x0c, 0x61,  //
    0x6d, 0x73, 0x28, 0x74, 0x1a, 0x0d, 0x62, 0x6e, 0x3a, 0x36, 0x1c, 0x1b, 0x75, 0x2b, 0x63, 0x76,  //
    0x55, 0x56, 0x77, 0x78, 0x79, 0x7a, 0x0e, 0x7b, 0x7c, 0x4f, 0x7d, 0x4b, 0x47, 0x7e, 0x7f, 0x6f,  //
    0x52, 0x53, 0x50, 0x4c, 0x4d, 0x48, 0x01, 0x45, 0x57, 0x4e, 0x51, 0x4a, 0x37, 0x49, 0x46, 0x54,  //
    0x80, 0x81, 0x82, 0x41, 0x54,                                                                    //
};

}  // namespace

std::span<const KeyInfo> key_table() {
  return kKeys;
}

const KeyInfo& key_info(KeyCode code) {
  const auto index = static_cast<std::size_t>(code);
  return kKeys[index < kKeys.size() ? index : 0];
}

std::optional<KeyCode> key_from_name(std::string_view name) {
  for (const KeyInfo& key : kKeys)
    if (key.name == name) return key.code;
  return std::nullopt;
}

std::uint8_t translate_set2(std::uint8_t byte) {
  return byte < kTranslation.size() ? kTranslation[byte] : byte;
}

}  // namespace doppel::hw
