#include "hw/input/i8042.h"

#include <gtest/gtest.h>

#include "event/fake_clock.h"

namespace doppel::hw {
namespace {

using namespace i8042;
using Codes = std::vector<std::uint8_t>;

/// The chip with its wires, and the guest's side of its ports.
struct Board {
  enum Pin : unsigned { kKeyboard, kAux, kA20, kReset, kPins };

  event::FakeClock clock;
  std::array<bool, kPins> levels{};
  std::array<int, kPins> rises{};
  IrqFunction sink{[this](unsigned pin, bool level) {
    if (level && !levels[pin]) ++rises[pin];
    levels[pin] = level;
  }};
  I8042 chip{{{&sink, kKeyboard}, {&sink, kAux}, {&sink, kA20}, {&sink, kReset}}, clock};

  Board() {
    chip.reset();
    command(kWriteRam, 0x03);  // both interrupts, no translation
  }
  std::uint8_t status() { return static_cast<std::uint8_t>(chip.command_port().read(0, 1)); }
  std::uint8_t read() { return static_cast<std::uint8_t>(chip.data_port().read(0, 1)); }
  void write(std::uint8_t value) { chip.data_port().write(0, 1, value); }
  void command(std::uint8_t value) { chip.command_port().write(0, 1, value); }
  void command(std::uint8_t value, std::uint8_t data) {
    command(value);
    write(data);
  }
  Codes drain() {
    Codes bytes;
    while ((status() & status::kOutputFull) != 0) bytes.push_back(read());
    return bytes;
  }
};

struct I8042Test : testing::Test, Board {};

TEST_F(I8042Test, TestsItself) {
  command(kSelfTest);
  EXPECT_EQ(drain(), Codes{0x55});
  EXPECT_NE(status() & status::kSystemFlag, 0);
  command(kTestKeyboard);
  command(kTestAux);
  EXPECT_EQ(drain(), (Codes{0, 0}));
  command(kTestPassword);
  EXPECT_EQ(drain(), Codes{0xf1});
}

TEST_F(I8042Test, StatusTellsCommandFromData) {
  command(kEnableKeyboard);
  EXPECT_NE(status() & status::kCommand, 0);
  write(0xf4);
  EXPECT_EQ(status() & status::kCommand, 0);
}

TEST_F(I8042Test, RamHoldsWhatIsWritten) {
  command(kWriteRam | 5, 0x77);
  command(kReadRam | 5);
  EXPECT_EQ(drain(), Codes{0x77});
  command(kWriteRam, 0x65);
  command(kReadRam);
  EXPECT_EQ(drain(), Codes{0x65});
  EXPECT_NE(status() & status::kSystemFlag, 0);
}

TEST_F(I8042Test, KeysInterrupt) {
  chip.key_event(KeyCode::kRight, true);
  EXPECT_TRUE(levels[kKeyboard]);
  EXPECT_EQ(status() & (status::kOutputFull | status::kAuxOutputFull), status::kOutputFull);
  EXPECT_EQ(read(), 0xe0);
  EXPECT_TRUE(levels[kKeyboard]) << "for the second byte";
  EXPECT_EQ(rises[kKeyboard], 2);
  EXPECT_EQ(read(), 0x74);
  EXPECT_FALSE(levels[kKeyboard]);
  EXPECT_EQ(read(), 0x74) << "an empty buffer repeats itself";
}

TEST_F(I8042Test, TranslatesSet2IntoSet1) {
  command(kWriteRam, 0x43);
  chip.key_event(KeyCode::kA, true);
  chip.key_event(KeyCode::kA, false);
  chip.key_event(KeyCode::kDelete, true);
  chip.key_event(KeyCode::kDelete, false);
  EXPECT_EQ(drain(), (Codes{0x1e, 0x9e, 0xe0, 0x53, 0xe0, 0xd3}));
  write(0xf2);
  EXPECT_EQ(drain(), (Codes{0xfa, 0xab, 0x41}));
}

TEST_F(I8042Test, InterruptsObeyTheCommandByte) {
  command(kWriteRam, 0x00);
  chip.key_event(KeyCode::kA, true);
  EXPECT_NE(status() & status::kOutputFull, 0);
  EXPECT_FALSE(levels[kKeyboard]);
  command(kWriteRam, 0x01);
  EXPECT_TRUE(levels[kKeyboard]) << "enabling it with a byte waiting raises it";
}

TEST_F(I8042Test, ADisabledKeyboardWaits) {
  command(kDisableKeyboard);
  chip.key_event(KeyCode::kA, true);
  EXPECT_EQ(status() & status::kOutputFull, 0);
  command(kEnableKeyboard);
  EXPECT_EQ(drain(), Codes{0x1c});
  command(kDisableKeyboard);
  write(0xee);
  EXPECT_EQ(drain(), Codes{0xee}) << "talking to the keyboard enables it";
}

TEST_F(I8042Test, MouseUsesItsOwnInterrupt) {
  command(kWriteAux, 0xf4);
  EXPECT_TRUE(levels[kAux]);
  EXPECT_FALSE(levels[kKeyboard]);
  EXPECT_EQ(status() & (status::kOutputFull | status::kAuxOutputFull), status::kOutputFull | status::kAuxOutputFull);
  EXPECT_EQ(drain(), Codes{0xfa});
  chip.mouse_move(1, -2);
  chip.mouse_button(MouseButton::kLeft, true);
  EXPECT_EQ(drain(), (Codes{0x08, 1, 2, 0x09, 0, 0}));
  EXPECT_FALSE(levels[kAux]);
}

TEST_F(I8042Test, ADisabledMouseWaits) {
  command(kWriteAux, 0xf4);
  drain();
  command(kDisableAux);
  chip.mouse_move(1, 0);
  EXPECT_EQ(drain(), Codes{});
  command(kEnableAux);
  EXPECT_EQ(drain(), (Codes{0x08, 1, 0}));
}

TEST_F(I8042Test, MovementKeepsFlowingAsTheGuestReads) {
  command(kWriteAux, 0xf4);
  drain();
  for (int i = 0; i < 50; ++i) chip.mouse_move(200, 0);
  int sum = 0;
  const Codes bytes = drain();
  for (std::size_t i = 1; i < bytes.size(); i += 3) sum += bytes[i];
  EXPECT_EQ(sum, 50 * 200);
}

TEST_F(I8042Test, BytesCanBePutIntoTheOutputBuffer) {
  command(kWriteKeyboardOutput, 0x12);
  EXPECT_TRUE(levels[kKeyboard]);
  EXPECT_EQ(drain(), Codes{0x12});
  command(kWriteAuxOutput, 0x34);
  EXPECT_TRUE(levels[kAux]);
  EXPECT_EQ(drain(), Codes{0x34});
}

TEST_F(I8042Test, RepliesWaitForTheBuffer) {
  chip.key_event(KeyCode::kA, true);
  command(kReadInputPort);
  EXPECT_EQ(drain(), (Codes{0x1c, 0x80}));
}

TEST_F(I8042Test, SwitchesA20) {
  EXPECT_TRUE(levels[kA20]) << "after reset";
  command(kWriteOutputPort, 0xdd);
  EXPECT_FALSE(levels[kA20]);
  command(kReadOutputPort);
  EXPECT_EQ(drain()[0] & output_port::kA20, 0);
  command(kWriteOutputPort, 0xdf);
  EXPECT_TRUE(levels[kA20]);
  command(kDisableA20);
  EXPECT_FALSE(levels[kA20]);
  command(kEnableA20);
  EXPECT_TRUE(levels[kA20]);
  EXPECT_EQ(rises[kReset], 0);
}

TEST_F(I8042Test, ResetsTheProcessor) {
  command(0xfe);
  EXPECT_EQ(rises[kReset], 1);
  EXPECT_FALSE(levels[kReset]);
  command(0xff);
  EXPECT_EQ(rises[kReset], 1) << "pulses no line";
  command(kWriteOutputPort, 0x02);
  EXPECT_EQ(rises[kReset], 2);
}

TEST_F(I8042Test, OutputPortShowsTheInterrupts) {
  command(kReadOutputPort);
  EXPECT_EQ(read(), 0xcf);
  command(kWriteAuxOutput, 1);
  command(kReadOutputPort);
  EXPECT_EQ(drain(), (Codes{1, 0xef}));
}

TEST_F(I8042Test, TellsOfTheLights) {
  std::vector<int> lights;
  chip.on_leds([&](std::uint8_t leds) { lights.push_back(leds); });
  write(0xed);
  write(0x02);
  write(0xed);
  write(0x02);
  EXPECT_EQ(lights, std::vector<int>{2});
}

TEST_F(I8042Test, RepeatsAKeyHeld) {
  chip.key_event(KeyCode::kA, true);
  EXPECT_EQ(drain(), Codes{0x1c});
  clock.advance(499 * event::kNsPerMillisecond);
  EXPECT_EQ(drain(), Codes{});
  clock.advance(2 * event::kNsPerMillisecond);
  EXPECT_EQ(drain(), Codes{0x1c});
  clock.advance(100 * event::kNsPerMillisecond);
  EXPECT_EQ(drain(), Codes{0x1c});
  chip.key_event(KeyCode::kA, false);
  EXPECT_EQ(drain(), (Codes{0xf0, 0x1c}));
  clock.advance(10 * event::kNsPerSecond);
  EXPECT_EQ(drain(), Codes{});
}

TEST_F(I8042Test, ResetForgetsAll) {
  command(kWriteAux, 0xf4);
  chip.key_event(KeyCode::kA, true);
  command(kDisableA20);
  chip.reset();
  EXPECT_TRUE(levels[kA20]);
  EXPECT_FALSE(levels[kAux]);
  EXPECT_EQ(drain(), Codes{});
}

TEST_F(I8042Test, SavedStateGoesOn) {
  command(kWriteRam, 0x43);
  command(kWriteAux, 0xf4);
  drain();
  chip.key_event(KeyCode::kUp, true);
  chip.mouse_move(7, 0);
  EXPECT_EQ(read(), 0xe0);
  command(kDisableA20);
  command(kWriteRam | 9);  // its byte is still to come
  state::Writer writer;
  chip.save(writer);

  Board other;
  state::Reader reader(writer.bytes());
  ASSERT_TRUE(other.chip.load(reader));
  EXPECT_TRUE(reader.at_end());
  EXPECT_FALSE(other.levels[kA20]);
  EXPECT_TRUE(other.levels[kKeyboard]);
  other.write(0x99);
  EXPECT_EQ(other.drain(), (Codes{0x48, 0x08, 7, 0}));
  other.command(kReadRam | 9);
  EXPECT_EQ(other.drain(), Codes{0x99});
  other.clock.advance(event::kNsPerSecond);
  EXPECT_EQ(other.drain(), Codes{}) << "a key held then is not repeated now";
  other.chip.key_event(KeyCode::kUp, false);
  EXPECT_EQ(other.drain(), (Codes{0xe0, 0xc8})) << "but it can be released";
}

TEST_F(I8042Test, SurvivesNonsense) {
  unsigned seed = 7;
  for (int i = 0; i < 50000; ++i) {
    seed = seed * 1103515245 + 12345;
    const auto value = static_cast<std::uint8_t>(seed >> 16);
    switch ((seed >> 24) & 7) {
      case 0: command(value); break;
      case 1:
      case 2: write(value); break;
      case 3: chip.key_event(static_cast<KeyCode>(value), (seed & 0x100) != 0); break;
      case 4: chip.mouse_move(value - 128, 3, value - 100); break;
      case 5: clock.advance(value * event::kNsPerMillisecond); break;
      default: (void)read(); break;
    }
  }
  chip.reset();
  EXPECT_EQ(drain(), Codes{});
}

TEST_F(I8042Test, RefusesADamagedState) {
  state::Writer writer;
  state::save(writer, I8042State{.replies = Codes(40)});
  state::Reader reader(writer.bytes());
  EXPECT_EQ(chip.load(reader).error().kind(), ErrorKind::kCorrupt);
}

}  // namespace
}  // namespace doppel::hw
