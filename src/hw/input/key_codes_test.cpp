#include "hw/input/key_codes.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

#include "hw/input/ps2_keyboard.h"

namespace doppel::hw {
namespace {

using Codes = std::vector<std::uint8_t>;

TEST(KeyCodes, TableIsInOrderAndNamesAreUnique) {
  std::set<std::string_view> names;
  std::size_t index = 0;
  for (const KeyInfo& key : key_table()) {
    EXPECT_EQ(static_cast<std::size_t>(key.code), index++) << key.name;
    EXPECT_TRUE(names.insert(key.name).second) << key.name;
    EXPECT_EQ(key_from_name(key.name), key.code);
  }
  EXPECT_EQ(index, static_cast<std::size_t>(KeyCode::kCount));
  EXPECT_EQ(key_from_name("no_such_key"), std::nullopt);
}

TEST(KeyCodes, OutOfRangeIsUnmapped) {
  EXPECT_EQ(key_info(static_cast<KeyCode>(255)).code, KeyCode::kUnmapped);
}

TEST(KeyCodes, TranslationGivesTheSet1CodesOfTheOldKeyboard) {
  // In the order of the PC/AT's keys: set 1 counts them from 1 (Esc) to 0x35 (slash).
  constexpr KeyCode kRow[] = {
      KeyCode::kEsc,        KeyCode::kDigit1,      KeyCode::kDigit2,
      KeyCode::kDigit3,     KeyCode::kDigit4,      KeyCode::kDigit5,
      KeyCode::kDigit6,     KeyCode::kDigit7,      KeyCode::kDigit8,
      KeyCode::kDigit9,     KeyCode::kDigit0,      KeyCode::kMinus,
      KeyCode::kEqual,      KeyCode::kBackspace,   KeyCode::kTab,
      KeyCode::kQ,          KeyCode::kW,           KeyCode::kE,
      KeyCode::kR,          KeyCode::kT,           KeyCode::kY,
      KeyCode::kU,          KeyCode::kI,           KeyCode::kO,
      KeyCode::kP,          KeyCode::kBracketLeft, KeyCode::kBracketRight,
      KeyCode::kRet,        KeyCode::kCtrl,        KeyCode::kA,
      KeyCode::kS,          KeyCode::kD,           KeyCode::kF,
      KeyCode::kG,          KeyCode::kH,           KeyCode::kJ,
      KeyCode::kK,          KeyCode::kL,           KeyCode::kSemicolon,
      KeyCode::kApostrophe, KeyCode::kGraveAccent, KeyCode::kShift,
      KeyCode::kBackslash,  KeyCode::kZ,           KeyCode::kX,
      KeyCode::kC,          KeyCode::kV,           KeyCode::kB,
      KeyCode::kN,          KeyCode::kM,           KeyCode::kComma,
      KeyCode::kDot,        KeyCode::kSlash,
  };
  std::uint8_t code = 1;
  for (const KeyCode key : kRow) {
    EXPECT_EQ(scan_codes(1, key, true, false, false), Codes{code}) << key_info(key).name;
    EXPECT_EQ(scan_codes(1, key, false, false, false), Codes{static_cast<std::uint8_t>(code | 0x80)});
    ++code;
  }
}

TEST(KeyCodes, FunctionKeysInSet1) {
  for (unsigned n = 0; n < 10; ++n) {
    const auto key = key_from_name("f" + std::to_string(n + 1));
    ASSERT_TRUE(key);
    EXPECT_EQ(scan_codes(1, *key, true, false, false), Codes{static_cast<std::uint8_t>(0x3b + n)});
  }
  EXPECT_EQ(scan_codes(1, KeyCode::kF11, true, false, false), Codes{0x57});
  EXPECT_EQ(scan_codes(1, KeyCode::kF12, true, false, false), Codes{0x58});
}

TEST(KeyCodes, ExtendedKeysHaveTheirPrefix) {
  EXPECT_EQ(scan_codes(2, KeyCode::kRight, true, false, false), (Codes{0xe0, 0x74}));
  EXPECT_EQ(scan_codes(2, KeyCode::kRight, false, false, false), (Codes{0xe0, 0xf0, 0x74}));
  EXPECT_EQ(scan_codes(1, KeyCode::kRight, false, false, false), (Codes{0xe0, 0xcd}));
  EXPECT_EQ(scan_codes(3, KeyCode::kRight, false, false, false), (Codes{0xf0, 0x6a}));
}

TEST(KeyCodes, PauseAndPrintHaveSequencesOfTheirOwn) {
  EXPECT_EQ(scan_codes(2, KeyCode::kPause, true, false, false),
            (Codes{0xe1, 0x14, 0x77, 0xe1, 0xf0, 0x14, 0xf0, 0x77}));
  EXPECT_EQ(scan_codes(1, KeyCode::kPause, true, false, false), (Codes{0xe1, 0x1d, 0x45, 0xe1, 0x9d, 0xc5}));
  EXPECT_EQ(scan_codes(2, KeyCode::kPause, false, false, false), Codes{});
  EXPECT_EQ(scan_codes(1, KeyCode::kPause, true, true, false), (Codes{0xe0, 0x46, 0xe0, 0xc6}));
  EXPECT_EQ(scan_codes(1, KeyCode::kPrint, true, false, false), (Codes{0xe0, 0x2a, 0xe0, 0x37}));
  EXPECT_EQ(scan_codes(1, KeyCode::kPrint, false, false, false), (Codes{0xe0, 0xb7, 0xe0, 0xaa}));
  EXPECT_EQ(scan_codes(1, KeyCode::kPrint, true, false, true), Codes{0x54});
  EXPECT_EQ(scan_codes(1, KeyCode::kPrint, false, true, false), (Codes{0xe0, 0xb7}));
  EXPECT_EQ(scan_codes(3, KeyCode::kPrint, true, false, false), Codes{0x57});
  EXPECT_EQ(scan_codes(3, KeyCode::kPause, true, false, false), Codes{0x62});
}

TEST(KeyCodes, NoTwoKeysShareACodeInSet2) {
  // Two names for one key of the Japanese keyboard, of the keypad, and of the menu key.
  const std::set<std::string_view> twins = {"katakanahiragana", "kp_multiply", "compose"};
  std::set<std::uint16_t> codes;
  for (const KeyInfo& key : key_table())
    if (key.set2 != 0 && !twins.contains(key.name)) {
      EXPECT_TRUE(codes.insert(key.set2).second) << key.name;
    }
}

}  // namespace
}  // namespace doppel::hw
