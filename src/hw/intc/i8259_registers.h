// Intel 8259A command words (data sheet 231468, "Programming the 8259A") and the PIIX3's ELCR.
#pragma once

#include <cstdint>

namespace doppel::hw::i8259 {

// Writes to the even port: which command word it is.
inline constexpr std::uint8_t kIsIcw1 = 0x10;
inline constexpr std::uint8_t kIsOcw3 = 0x08;

// ICW1. LTIM is not here: on a PC the ELCR takes its place.
inline constexpr std::uint8_t kIcw1NeedsIcw4 = 0x01;
inline constexpr std::uint8_t kIcw1Single = 0x02;  // no ICW3 follows

inline constexpr std::uint8_t kIcw2BaseMask = 0xf8;

// ICW4.
inline constexpr std::uint8_t kIcw4AutoEoi = 0x02;
inline constexpr std::uint8_t kIcw4SpecialFullyNested = 0x10;

/// OCW2, bits 7 to 5: rotate, specific, EOI.
enum class Ocw2 : std::uint8_t {
  kClearRotateOnAutoEoi = 0,
  kEoi = 1,
  kNothing = 2,
  kSpecificEoi = 3,
  kSetRotateOnAutoEoi = 4,
  kRotateOnEoi = 5,
  kSetPriority = 6,
  kRotateOnSpecificEoi = 7,
};

// OCW3.
inline constexpr std::uint8_t kOcw3Read = 0x02;
inline constexpr std::uint8_t kOcw3ReadIsr = 0x01;
inline constexpr std::uint8_t kOcw3Poll = 0x04;
inline constexpr std::uint8_t kOcw3SpecialMask = 0x20;
inline constexpr std::uint8_t kOcw3SetSpecialMask = 0x40;

// A poll's answer.
inline constexpr std::uint8_t kPollPending = 0x80;

// Pins that the ELCR may make level-triggered: not the timer, keyboard, cascade, RTC and coprocessor.
inline constexpr std::uint8_t kMasterElcrMask = 0xf8;
inline constexpr std::uint8_t kSlaveElcrMask = 0xde;

inline constexpr unsigned kCascadePin = 2;
inline constexpr unsigned kSpuriousPin = 7;

}  // namespace doppel::hw::i8259
