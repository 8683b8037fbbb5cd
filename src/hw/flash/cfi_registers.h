// Commands and registers of Intel's flash chips with the "Intel/Sharp extended command set" (28F128J3 data sheet,
// 290667, tables 4 and 8; Common Flash Memory Interface, JESD68).
#pragma once

#include <cstdint>

namespace doppel::hw::cfi {

namespace command {
inline constexpr std::uint8_t kReadArray = 0xff;
inline constexpr std::uint8_t kReadIdentifier = 0x90;
inline constexpr std::uint8_t kReadQuery = 0x98;
inline constexpr std::uint8_t kReadStatus = 0x70;
inline constexpr std::uint8_t kClearStatus = 0x50;
inline constexpr std::uint8_t kProgram = 0x40;
inline constexpr std::uint8_t kProgramAlternate = 0x10;
inline constexpr std::uint8_t kBlockErase = 0x20;
inline constexpr std::uint8_t kWriteToBuffer = 0xe8;
inline constexpr std::uint8_t kLockSetup = 0x60;
inline constexpr std::uint8_t kSetLock = 0x01;  // behind kLockSetup
inline constexpr std::uint8_t kLockDown = 0x2f;
inline constexpr std::uint8_t kConfirm = 0xd0;
}  // namespace command

namespace status {
inline constexpr std::uint8_t kReady = 0x80;
inline constexpr std::uint8_t kEraseError = 0x20;    // both errors: a wrong sequence of commands
inline constexpr std::uint8_t kProgramError = 0x10;  // SR.4
inline constexpr std::uint8_t kProtected = 0x02;     // the block is locked, or the chip's write protection is on
}  // namespace status

// Identifier codes, by address.
inline constexpr std::uint8_t kManufacturer = 0x89;  // Intel
inline constexpr std::uint8_t kDevice = 0x18;        // 28F128J3

}  // namespace doppel::hw::cfi
