#include "ui/curses/terminal_keys.h"

#include <curses.h>
#include <gtest/gtest.h>

#include <vector>

namespace doppel::ui {
namespace {

class Keys : public testing::Test {
 protected:
  void type(const char* text) {
    for (; *text != '\0'; ++text) decoder.put({.code = static_cast<unsigned char>(*text), .is_function = false});
  }
  void function(int code) { decoder.put({.code = static_cast<char32_t>(code), .is_function = true}); }
  std::vector<KeyStroke> taken() {
    decoder.pause();
    return std::exchange(strokes, {});
  }

  std::vector<KeyStroke> strokes;
  int quits = 0;
  KeyDecoder decoder{[this](const KeyStroke& stroke) { strokes.push_back(stroke); }, [this] { ++quits; }};
};

using Strokes = std::vector<KeyStroke>;

TEST_F(Keys, EscBeforeAKeyIsAlt) {
  type("\x1bx");
  EXPECT_EQ(taken(), (Strokes{{.key = "x", .alt = true}}));
  type("\x1b");
  EXPECT_EQ(taken(), (Strokes{{.key = "esc"}})) << "nothing followed";
  type("\x1b\x1b");
  EXPECT_EQ(taken(), (Strokes{{.key = "esc", .alt = true}}));
  type("\x1b");
  function(KEY_F(2));
  EXPECT_EQ(taken(), (Strokes{{.key = "f2", .alt = true}}));
}

TEST_F(Keys, CtrlAIsTheEscapeCharacter) {
  type("\x01\x01");
  EXPECT_EQ(taken(), (Strokes{{.key = "a", .ctrl = true}}));
  type("\x01qb");
  EXPECT_EQ(taken(), (Strokes{{.key = "b"}}));
  EXPECT_EQ(quits, 0);
  type("\x01x");
  EXPECT_EQ(quits, 1);
  EXPECT_TRUE(taken().empty());
}

TEST_F(Keys, FunctionKeys) {
  for (const int code : {KEY_UP, KEY_DC, KEY_F(1), KEY_F(12), KEY_F(13), KEY_F(25), KEY_F(49), KEY_F(60), KEY_F(61)})
    function(code);
  EXPECT_EQ(taken(), (Strokes{{.key = "up"},
                              {.key = "delete"},
                              {.key = "f1"},
                              {.key = "f12"},
                              {.key = "f1", .shift = true},
                              {.key = "f1", .ctrl = true},
                              {.key = "f1", .alt = true},
                              {.key = "f12", .alt = true}}));
  function(KEY_RESIZE);
  EXPECT_TRUE(taken().empty());
}

}  // namespace
}  // namespace doppel::ui
