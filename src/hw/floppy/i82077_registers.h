// Registers of Intel's 82077AA floppy controller (data sheet 290166, sections 2 to 6).
#pragma once

#include <cstdint>

namespace doppel::hw::fdc {

/// From port 3F0h. 3F0h and 3F1h are there in PS/2 mode alone; 3F6h is the IDE controller's.
enum class Register : std::uint8_t {
  kDigitalOutput = 2,
  kTapeDrive = 3,
  kMainStatus = 4,
  kFifo = 5,
  kDigitalInput = 7
};

namespace output {  // DOR
inline constexpr std::uint8_t kDriveMask = 0x03;
inline constexpr std::uint8_t kNotReset = 0x04;
inline constexpr std::uint8_t kDmaGate = 0x08;  // without it neither interrupts nor DMA requests leave the chip
inline constexpr std::uint8_t kMotor0 = 0x10;
}  // namespace output

namespace main_status {  // MSR
inline constexpr std::uint8_t kRequest = 0x80;
inline constexpr std::uint8_t kToHost = 0x40;
inline constexpr std::uint8_t kNonDma = 0x20;
inline constexpr std::uint8_t kBusy = 0x10;
}  // namespace main_status

inline constexpr std::uint8_t kDataRateMask = 0x03;      // DSR, CCR
inline constexpr std::uint8_t kDataRateReset = 0x80;     // DSR
inline constexpr std::uint8_t kDiskChange = 0x80;        // DIR
inline constexpr std::uint8_t kSpecifyNonDma = 0x01;     // byte 2 of SPECIFY
inline constexpr std::uint8_t kConfigureImplied = 0x40;  // EIS: seek before reading and writing
inline constexpr std::uint8_t kConfigureNoFifo = 0x20;
inline constexpr std::uint8_t kConfigureNoPoll = 0x10;

namespace st0 {
inline constexpr std::uint8_t kAbnormal = 0x40;
inline constexpr std::uint8_t kInvalid = 0x80;
inline constexpr std::uint8_t kPolling = 0xc0;
inline constexpr std::uint8_t kSeekEnd = 0x20;
inline constexpr std::uint8_t kEquipmentCheck = 0x10;
inline constexpr std::uint8_t kHead = 0x04;
}  // namespace st0

namespace st1 {
inline constexpr std::uint8_t kEndOfCylinder = 0x80;
inline constexpr std::uint8_t kDataError = 0x20;
inline constexpr std::uint8_t kOverrun = 0x10;
inline constexpr std::uint8_t kNoData = 0x04;
inline constexpr std::uint8_t kNotWritable = 0x02;
inline constexpr std::uint8_t kMissingMark = 0x01;
}  // namespace st1

namespace st2 {
inline constexpr std::uint8_t kControlMark = 0x40;
inline constexpr std::uint8_t kDataError = 0x20;
inline constexpr std::uint8_t kWrongCylinder = 0x10;
inline constexpr std::uint8_t kScanHit = 0x08;
inline constexpr std::uint8_t kScanNotSatisfied = 0x04;
}  // namespace st2

namespace st3 {
inline constexpr std::uint8_t kWriteProtected = 0x40;
inline constexpr std::uint8_t kAlwaysSet = 0x28;  // ready, two sides
inline constexpr std::uint8_t kTrack0 = 0x10;
}  // namespace st3

inline constexpr std::uint8_t kVersion = 0x90;   // an enhanced controller
inline constexpr std::uint8_t kSizeCode512 = 2;  // N
inline constexpr unsigned kSectorSize = 512;
inline constexpr unsigned kIdSize = 4;  // C, H, R, N

}  // namespace doppel::hw::fdc
