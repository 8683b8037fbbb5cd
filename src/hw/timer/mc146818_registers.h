// Registers of the MC146818A and the CMOS bytes that PC firmware gives a meaning.
#pragma once

#include <cstdint>

namespace doppel::hw::rtc {

inline constexpr std::uint8_t kSeconds = 0x00;
inline constexpr std::uint8_t kSecondsAlarm = 0x01;
inline constexpr std::uint8_t kMinutes = 0x02;
inline constexpr std::uint8_t kMinutesAlarm = 0x03;
inline constexpr std::uint8_t kHours = 0x04;
inline constexpr std::uint8_t kHoursAlarm = 0x05;
inline constexpr std::uint8_t kDayOfWeek = 0x06;
inline constexpr std::uint8_t kDayOfMonth = 0x07;
inline constexpr std::uint8_t kMonth = 0x08;
inline constexpr std::uint8_t kYear = 0x09;
inline constexpr std::uint8_t kRegisterA = 0x0a;
inline constexpr std::uint8_t kRegisterB = 0x0b;
inline constexpr std::uint8_t kRegisterC = 0x0c;
inline constexpr std::uint8_t kRegisterD = 0x0d;
inline constexpr std::uint8_t kCentury = 0x32;

inline constexpr std::uint8_t kAUpdateInProgress = 0x80;
inline constexpr std::uint8_t kADivider = 0x70;
inline constexpr std::uint8_t kADividerLastRunning = 0x20;  // settings above stop the divider
inline constexpr std::uint8_t kARate = 0x0f;

inline constexpr std::uint8_t kBSet = 0x80;
inline constexpr std::uint8_t kBPeriodic = 0x40;
inline constexpr std::uint8_t kBAlarm = 0x20;
inline constexpr std::uint8_t kBUpdate = 0x10;
inline constexpr std::uint8_t kBSquareWave = 0x08;
inline constexpr std::uint8_t kBBinary = 0x04;
inline constexpr std::uint8_t kB24Hours = 0x02;

inline constexpr std::uint8_t kCInterrupt = 0x80;
inline constexpr std::uint8_t kCPeriodic = 0x40;
inline constexpr std::uint8_t kCAlarm = 0x20;
inline constexpr std::uint8_t kCUpdate = 0x10;

inline constexpr std::uint8_t kDValid = 0x80;

inline constexpr std::uint8_t kCmosFloppyTypes = 0x10;
inline constexpr std::uint8_t kCmosEquipment = 0x14;
inline constexpr std::uint8_t kCmosBaseMemory = 0x15;       // KiB, 16 bits
inline constexpr std::uint8_t kCmosExtendedMemory = 0x17;   // KiB above 1 MiB, 16 bits
inline constexpr std::uint8_t kCmosExtendedMemory2 = 0x30;  // the same, as measured
inline constexpr std::uint8_t kCmosMemoryAbove16M = 0x34;   // units of 64 KiB, 16 bits
inline constexpr std::uint8_t kCmosBootOrder2 = 0x38;       // third device, and the floppy signature check
inline constexpr std::uint8_t kCmosBootOrder1 = 0x3d;       // first and second device
inline constexpr std::uint8_t kCmosMemoryAbove4G = 0x5b;    // units of 64 KiB, 24 bits
inline constexpr std::uint8_t kCmosOtherCpus = 0x5f;        // processors but the first

}  // namespace doppel::hw::rtc
