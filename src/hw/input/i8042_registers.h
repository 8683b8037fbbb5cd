// The i8042 keyboard controller's bits and commands (IBM PS/2 technical reference, "Keyboard and Auxiliary Device
// Controller").
#pragma once

#include <cstdint>

namespace doppel::hw::i8042 {

namespace status {
inline constexpr std::uint8_t kOutputFull = 0x01;
inline constexpr std::uint8_t kSystemFlag = 0x04;
inline constexpr std::uint8_t kCommand = 0x08;  // the last write went to port 64
inline constexpr std::uint8_t kUnlocked = 0x10;
inline constexpr std::uint8_t kAuxOutputFull = 0x20;
}  // namespace status

/// The command byte, at address 0 of the controller's RAM.
namespace config {
inline constexpr std::uint8_t kKeyboardInterrupt = 0x01;
inline constexpr std::uint8_t kAuxInterrupt = 0x02;
inline constexpr std::uint8_t kSystemFlag = 0x04;
inline constexpr std::uint8_t kKeyboardDisabled = 0x10;
inline constexpr std::uint8_t kAuxDisabled = 0x20;
inline constexpr std::uint8_t kTranslate = 0x40;
}  // namespace config

namespace output_port {
inline constexpr std::uint8_t kNotReset = 0x01;
inline constexpr std::uint8_t kA20 = 0x02;
inline constexpr std::uint8_t kKeyboardInterrupt = 0x10;
inline constexpr std::uint8_t kAuxInterrupt = 0x20;
inline constexpr std::uint8_t kHigh = 0xcc;  // the clock and data lines, idle
}  // namespace output_port

/// Input port: keyboard not locked, no manufacturing jumper, colour display irrelevant.
inline constexpr std::uint8_t kInputPort = 0x80;

enum Command : std::uint8_t {
  kReadRam = 0x20,   // to 0x3f
  kWriteRam = 0x60,  // to 0x7f
  kTestPassword = 0xa4,
  kDisableAux = 0xa7,
  kEnableAux = 0xa8,
  kTestAux = 0xa9,
  kSelfTest = 0xaa,
  kTestKeyboard = 0xab,
  kDisableKeyboard = 0xad,
  kEnableKeyboard = 0xae,
  kReadInputPort = 0xc0,
  kReadOutputPort = 0xd0,
  kWriteOutputPort = 0xd1,
  kWriteKeyboardOutput = 0xd2,
  kWriteAuxOutput = 0xd3,
  kWriteAux = 0xd4,
  kDisableA20 = 0xdd,
  kEnableA20 = 0xdf,
  kReadTestInputs = 0xe0,
  kPulseOutput = 0xf0,  // to 0xff: a 0 among the low four bits pulses that line
};

inline constexpr std::uint8_t kNoPassword = 0xf1;
inline constexpr std::uint8_t kSelfTestPassed = 0x55;
inline constexpr std::uint8_t kInterfaceGood = 0x00;
inline constexpr std::size_t kRamSize = 32;

}  // namespace doppel::hw::i8042
