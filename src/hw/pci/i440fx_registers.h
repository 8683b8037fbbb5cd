// The 82441FX's own registers: 290549-001, section 3.2.
#pragma once

#include <cstdint>

namespace doppel::hw::i440fx {

inline constexpr unsigned kPmcConfig = 0x50;  // PMCCFG, word
inline constexpr unsigned kDeturbo = 0x52;    // DETURBO
inline constexpr unsigned kDbc = 0x53;        // DBC
inline constexpr unsigned kAxc = 0x54;        // AXC
inline constexpr unsigned kDrt = 0x55;        // DRT, word
inline constexpr unsigned kDramc = 0x57;      // DRAMC
inline constexpr unsigned kDramt = 0x58;      // DRAMT
inline constexpr unsigned kPam0 = 0x59;       // PAM0..PAM6
inline constexpr unsigned kPamRegisters = 7;
inline constexpr unsigned kDrb0 = 0x60;   // DRB0..DRB7
inline constexpr unsigned kFdhc = 0x68;   // FDHC
inline constexpr unsigned kMtt = 0x70;    // MTT
inline constexpr unsigned kSmram = 0x72;  // SMRAM

/// Each PAM nibble: read enable, write enable, cache enable.
inline constexpr std::uint8_t kPamRead = 0x1;
inline constexpr std::uint8_t kPamWrite = 0x2;
inline constexpr std::uint8_t kPamWritable = 0x77;
inline constexpr std::uint8_t kPam0Writable = 0x70;

inline constexpr std::uint8_t kSmramOpen = 0x40;    // D_OPEN: RAM at A0000 for everybody
inline constexpr std::uint8_t kSmramClosed = 0x20;  // D_CLS: data accesses go to PCI even in SMM
inline constexpr std::uint8_t kSmramLock = 0x10;    // D_LCK: until reset
inline constexpr std::uint8_t kSmramEnable = 0x08;  // G_SMRAME
inline constexpr std::uint8_t kSmramReset = 0x02;   // C_BASE_SEG: A0000, read-only
inline constexpr std::uint8_t kSmramWritable = 0x78;

}  // namespace doppel::hw::i440fx
