// Characters to keys, and code page 437.
#include "ui/us_layout.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

#include "ui/code_page_437.h"

namespace doppel::ui {
namespace {

struct Recorder final : KeySink {
  void key(std::string_view name, bool pressed) override { events += (pressed ? "+" : "-") + std::string(name) + " "; }
  std::string events;
};

TEST(UsLayout, EveryPrintableCharacterHasAStrokeOfItsOwn) {
  std::set<std::string> strokes;
  for (char32_t c = 0x20; c < 0x7f; ++c) {
    const auto stroke = us_key_stroke(c);
    ASSERT_TRUE(stroke) << static_cast<unsigned>(c);
    EXPECT_FALSE(stroke->ctrl || stroke->alt);
    strokes.insert(std::string(stroke->key) + (stroke->shift ? "+" : ""));
  }
  EXPECT_EQ(strokes.size(), 95U);
  EXPECT_EQ(us_key_stroke('A'), (KeyStroke{.key = "a", .shift = true}));
  EXPECT_EQ(us_key_stroke('|'), (KeyStroke{.key = "backslash", .shift = true}));
  EXPECT_FALSE(us_key_stroke(U'ä'));
}

TEST(UsLayout, ControlCharacters) {
  for (char32_t c = 0; c < 0x20; ++c) EXPECT_TRUE(us_key_stroke(c)) << static_cast<unsigned>(c);
  EXPECT_EQ(us_key_stroke(3), (KeyStroke{.key = "c", .ctrl = true}));
  EXPECT_EQ(us_key_stroke(26), (KeyStroke{.key = "z", .ctrl = true}));
  EXPECT_EQ(us_key_stroke('\r'), (KeyStroke{.key = "ret"}));
  EXPECT_EQ(us_key_stroke('\t'), (KeyStroke{.key = "tab"}));
  EXPECT_EQ(us_key_stroke(127), (KeyStroke{.key = "backspace"}));
}

TEST(UsLayout, ModifiersAreHeldAroundTheKey) {
  Recorder keys;
  type(keys, {.key = "f1", .ctrl = true, .alt = true});
  EXPECT_EQ(keys.events, "+ctrl +alt +f1 -f1 -ctrl -alt ");
  keys.events.clear();
  type(keys, *us_key_stroke('%'));
  EXPECT_EQ(keys.events, "+shift +5 -5 -shift ");
}

TEST(CodePage437, DrawsItsPictures) {
  EXPECT_EQ(code_page_437(0), U' ');
  EXPECT_EQ(code_page_437(0x01), U'☺');
  EXPECT_EQ(code_page_437('A'), U'A');
  EXPECT_EQ(code_page_437(0x7f), U'⌂');
  EXPECT_EQ(code_page_437(0x80), U'Ç');
  EXPECT_EQ(code_page_437(0xb3), U'│');
  EXPECT_EQ(code_page_437(0xc9), U'╔');
  EXPECT_EQ(code_page_437(0xdb), U'█');
  EXPECT_EQ(code_page_437(0xe3), U'π');
  EXPECT_EQ(code_page_437(0xff), U' ');
  EXPECT_EQ(code_page_437(0x141), U'?');
  for (std::uint16_t code = 0; code < 256; ++code) EXPECT_GE(code_page_437(code), U' ');
}

}  // namespace
}  // namespace doppel::ui
