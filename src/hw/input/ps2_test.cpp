#include <gtest/gtest.h>

#include "event/clock.h"
#include "hw/input/ps2_keyboard.h"
#include "hw/input/ps2_mouse.h"

namespace doppel::hw {
namespace {

using Codes = std::vector<std::uint8_t>;

Codes drain(Ps2Port& port) {
  Codes bytes;
  while (port.has_output()) bytes.push_back(port.take());
  return bytes;
}

Codes ask(Ps2Port& port, std::initializer_list<std::uint8_t> bytes) {
  for (const std::uint8_t byte : bytes) port.host_byte(byte);
  return drain(port);
}

struct KeyboardTest : testing::Test {
  KeyboardTest() { drain(keyboard); }
  void press(KeyCode code) { keyboard.key(code, true, 0); }
  void release(KeyCode code) { keyboard.key(code, false, 0); }
  Ps2Keyboard keyboard;
};

TEST(Ps2Keyboard, TellsOfItsSelfTestAtPowerOn) {
  Ps2Keyboard keyboard;
  EXPECT_EQ(drain(keyboard), Codes{0xaa});
}

TEST_F(KeyboardTest, AnswersCommands) {
  EXPECT_EQ(ask(keyboard, {0xff}), (Codes{0xfa, 0xaa}));
  EXPECT_EQ(ask(keyboard, {0xf2}), (Codes{0xfa, 0xab, 0x83}));
  EXPECT_EQ(ask(keyboard, {0xee}), Codes{0xee});
  EXPECT_EQ(ask(keyboard, {0xf4}), Codes{0xfa});
  EXPECT_EQ(ask(keyboard, {0xed, 0x05}), (Codes{0xfa, 0xfa}));
  EXPECT_EQ(keyboard.leds(), 5);
  EXPECT_EQ(ask(keyboard, {0xf3, 0x20}), (Codes{0xfa, 0xfa}));
  EXPECT_EQ(ask(keyboard, {0x12}), Codes{0xfe});
  EXPECT_EQ(ask(keyboard, {0xef}), Codes{0xfe});
}

TEST_F(KeyboardTest, ACommandInPlaceOfAnArgumentWins) {
  EXPECT_EQ(ask(keyboard, {0xed, 0xf2}), (Codes{0xfa, 0xfa, 0xab, 0x83}));
  EXPECT_EQ(keyboard.leds(), 0);
}

TEST_F(KeyboardTest, ResendsTheLastByte) {
  press(KeyCode::kA);
  EXPECT_EQ(drain(keyboard), Codes{0x1c});
  EXPECT_EQ(ask(keyboard, {0xfe}), Codes{0x1c});
}

TEST_F(KeyboardTest, SwitchesScanCodeSets) {
  EXPECT_EQ(ask(keyboard, {0xf0, 0x00}), (Codes{0xfa, 0xfa, 2}));
  EXPECT_EQ(ask(keyboard, {0xf0, 0x01}), (Codes{0xfa, 0xfa}));
  press(KeyCode::kLeft);
  release(KeyCode::kLeft);
  EXPECT_EQ(drain(keyboard), (Codes{0xe0, 0x4b, 0xe0, 0xcb}));
  EXPECT_EQ(ask(keyboard, {0xf0, 0x03}), (Codes{0xfa, 0xfa}));
  press(KeyCode::kCtrl);
  release(KeyCode::kCtrl);
  EXPECT_EQ(drain(keyboard), (Codes{0x11, 0xf0, 0x11}));
  EXPECT_EQ(ask(keyboard, {0xf0, 0x04}), (Codes{0xfa, 0xfe}));
}

TEST_F(KeyboardTest, Set3CanSendMakesOnly) {
  ask(keyboard, {0xf0, 0x03, 0xf9});
  press(KeyCode::kA);
  release(KeyCode::kA);
  EXPECT_EQ(drain(keyboard), Codes{0x1c});
  EXPECT_EQ(keyboard.repeat_deadline_ns(), -1);
  EXPECT_EQ(ask(keyboard, {0xfc, 0x1c, 0x32, 0xf4}), (Codes{0xfa, 0xfa, 0xfa, 0xfa}));
}

TEST_F(KeyboardTest, DisabledIsSilent) {
  ask(keyboard, {0xf5});
  press(KeyCode::kA);
  release(KeyCode::kA);
  EXPECT_EQ(drain(keyboard), Codes{});
  ask(keyboard, {0xf4});
  press(KeyCode::kA);
  EXPECT_EQ(drain(keyboard), Codes{0x1c});
}

TEST_F(KeyboardTest, IgnoresTheHostsRepetitionAndStrayReleases) {
  press(KeyCode::kA);
  press(KeyCode::kA);
  release(KeyCode::kB);
  EXPECT_EQ(drain(keyboard), Codes{0x1c});
}

TEST_F(KeyboardTest, RepeatsTheLastKeyHeld) {
  using event::kNsPerMillisecond;
  press(KeyCode::kA);
  press(KeyCode::kB);
  drain(keyboard);
  EXPECT_EQ(keyboard.repeat_deadline_ns(), 500 * kNsPerMillisecond);
  keyboard.repeat(499 * kNsPerMillisecond);
  EXPECT_EQ(drain(keyboard), Codes{});
  keyboard.repeat(500 * kNsPerMillisecond);
  EXPECT_EQ(drain(keyboard), Codes{0x32});
  EXPECT_NEAR(static_cast<double>(keyboard.repeat_deadline_ns() - 500 * kNsPerMillisecond), 92e6, 1e6);
  release(KeyCode::kA);
  EXPECT_GE(keyboard.repeat_deadline_ns(), 0) << "B is still held";
  release(KeyCode::kB);
  EXPECT_EQ(keyboard.repeat_deadline_ns(), -1);
}

TEST_F(KeyboardTest, RepeatsNothingIntoAFullQueue) {
  press(KeyCode::kA);
  for (int i = 1; i < 100; ++i) keyboard.repeat(i * event::kNsPerSecond);
  EXPECT_EQ(drain(keyboard), Codes{0x1c});
}

TEST_F(KeyboardTest, RepliesGoBeforeKeys) {
  press(KeyCode::kA);
  keyboard.host_byte(0xee);
  EXPECT_EQ(drain(keyboard), (Codes{0xee, 0x1c}));
}

TEST_F(KeyboardTest, AFullQueueKeepsBreaks) {
  for (int i = 0; i < 200; ++i) {
    press(KeyCode::kA);
    release(KeyCode::kA);
  }
  press(KeyCode::kB);
  const Codes bytes = drain(keyboard);
  EXPECT_LE(bytes.size(), 2 * Ps2Keyboard::kMostEvents);
  EXPECT_EQ(bytes.back(), 0x1c);
  EXPECT_EQ(bytes[bytes.size() - 2], 0xf0);
}

TEST_F(KeyboardTest, RepliesAreBounded) {
  for (int i = 0; i < 1000; ++i) keyboard.host_byte(0xf2);
  EXPECT_EQ(drain(keyboard).size(), Ps2Port::kMostReplies);
}

struct MouseTest : testing::Test {
  MouseTest() { ask(mouse, {0xf4}); }
  Ps2Mouse mouse;
};

TEST(Ps2Mouse, TellsOfItsSelfTestAtPowerOn) {
  Ps2Mouse mouse;
  EXPECT_EQ(drain(mouse), (Codes{0xaa, 0x00}));
  mouse.move(5, 5, 0);
  EXPECT_EQ(drain(mouse), Codes{}) << "it is silent until enabled";
}

TEST_F(MouseTest, SendsMovementAndButtons) {
  mouse.move(5, 3, 0);
  EXPECT_EQ(drain(mouse), (Codes{0x28, 5, 0xfd}));
  mouse.move(-5, -3, 0);
  EXPECT_EQ(drain(mouse), (Codes{0x18, 0xfb, 3}));
  mouse.button(MouseButton::kLeft, true);
  EXPECT_EQ(drain(mouse), (Codes{0x09, 0, 0}));
  mouse.button(MouseButton::kRight, true);
  mouse.button(MouseButton::kMiddle, true);
  EXPECT_EQ(drain(mouse), (Codes{0x0b, 0, 0, 0x0f, 0, 0}));
  mouse.button(MouseButton::kLeft, true);
  EXPECT_EQ(drain(mouse), Codes{}) << "nothing new";
}

TEST_F(MouseTest, SplitsLargeMovements) {
  mouse.move(300, 0, 0);
  EXPECT_EQ(drain(mouse), (Codes{0x08, 255, 0, 0x08, 45, 0}));
  mouse.move(-300, 0, 0);
  EXPECT_EQ(drain(mouse), (Codes{0x18, 0x01, 0, 0x18, 0xd3, 0}));
}

TEST_F(MouseTest, SumsUpWhileTheQueueIsFull) {
  for (int i = 0; i < 1000; ++i) mouse.move(1, 0, 0);
  int sum = 0;
  while (mouse.has_output()) {
    const std::uint8_t first = mouse.take();
    EXPECT_EQ(first, 0x08);
    sum += mouse.take();
    (void)mouse.take();
    mouse.pump();
  }
  EXPECT_EQ(sum, 1000);
}

TEST_F(MouseTest, HostileMovementsDoNotOverflow) {
  for (int i = 0; i < 100; ++i) mouse.move(INT32_MAX, INT32_MIN, INT32_MIN);
  EXPECT_LE(drain(mouse).size(), Ps2Mouse::kMostEvents);
}

TEST_F(MouseTest, KnockTurnsOnTheWheel) {
  EXPECT_EQ(ask(mouse, {0xf2}), (Codes{0xfa, 0}));
  ask(mouse, {0xf3, 200, 0xf3, 100, 0xf3, 80});
  EXPECT_EQ(ask(mouse, {0xf2}), (Codes{0xfa, 3}));
  mouse.move(1, 0, -2);
  EXPECT_EQ(drain(mouse), (Codes{0x08, 1, 0, 0xfe}));
  ask(mouse, {0xf3, 200, 0xf3, 200, 0xf3, 80});
  EXPECT_EQ(ask(mouse, {0xf2}), (Codes{0xfa, 4}));
  mouse.button(MouseButton::kSide, true);
  EXPECT_EQ(drain(mouse), (Codes{0x08, 0, 0, 0x10}));
  mouse.move(0, 0, -10);
  EXPECT_EQ(drain(mouse), (Codes{0x08, 0, 0, 0x18, 0x08, 0, 0, 0x1e}));
  EXPECT_EQ(ask(mouse, {0xff}), (Codes{0xfa, 0xaa, 0}));
  EXPECT_EQ(ask(mouse, {0xf2}), (Codes{0xfa, 0}));
}

TEST_F(MouseTest, AnInterruptedKnockDoesNothing) {
  ask(mouse, {0xf3, 200, 0xf3, 100, 0xf3, 60, 0xf3, 80});
  EXPECT_EQ(ask(mouse, {0xf2}), (Codes{0xfa, 0}));
}

TEST_F(MouseTest, ReportsItsStatus) {
  ask(mouse, {0xe8, 3, 0xf3, 40, 0xe7});
  mouse.button(MouseButton::kRight, true);
  drain(mouse);
  EXPECT_EQ(ask(mouse, {0xe9}), (Codes{0xfa, 0x31, 3, 40}));
  EXPECT_EQ(ask(mouse, {0xf6, 0xe9}), (Codes{0xfa, 0xfa, 0x01, 2, 100}));
  EXPECT_EQ(ask(mouse, {0xe8, 9}), (Codes{0xfa, 0xfe}));
}

TEST_F(MouseTest, RemoteModeWaitsToBeAsked) {
  ask(mouse, {0xf0});
  mouse.move(4, 0, 0);
  EXPECT_EQ(drain(mouse), Codes{});
  EXPECT_EQ(ask(mouse, {0xeb}), (Codes{0xfa, 0x08, 4, 0}));
  EXPECT_EQ(ask(mouse, {0xeb}), (Codes{0xfa, 0x08, 0, 0}));
}

TEST_F(MouseTest, WrapModeEchoes) {
  EXPECT_EQ(ask(mouse, {0xee}), Codes{0xfa});
  EXPECT_EQ(ask(mouse, {0xf2, 0x55, 0xf4}), (Codes{0xf2, 0x55, 0xf4}));
  EXPECT_EQ(ask(mouse, {0xec}), Codes{0xfa});
  EXPECT_EQ(ask(mouse, {0xf2}), (Codes{0xfa, 0}));
}

TEST_F(MouseTest, ScalesTwoToOne) {
  ask(mouse, {0xe7});
  const std::pair<int, std::uint8_t> steps[] = {{1, 1}, {2, 1}, {3, 3}, {4, 6}, {5, 9}, {6, 12}};
  for (const auto& [counts, scaled] : steps) {
    mouse.move(counts, 0, 0);
    EXPECT_EQ(drain(mouse), (Codes{0x08, scaled, 0}));
  }
}

TEST_F(MouseTest, UnknownCommandsAreRefused) {
  EXPECT_EQ(ask(mouse, {0x01}), Codes{0xfe});
}

}  // namespace
}  // namespace doppel::hw
