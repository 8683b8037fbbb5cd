// The registers of a serial ATA host bus adapter, and what lies in memory for it: Serial ATA AHCI 1.3.1, chapters 3, 4.
#pragma once

#include <cstdint>

#include "base/endian.h"

namespace doppel::hw::ahci {

inline constexpr unsigned kSlots = 32;
inline constexpr std::uint32_t kPorts = 0x100;  // where the ports' registers begin
inline constexpr std::uint32_t kPortSize = 0x80;

/// Generic host control.
enum class Register : std::uint32_t {
  kCapabilities = 0x00,      // CAP
  kControl = 0x04,           // GHC
  kInterruptStatus = 0x08,   // IS
  kPortsImplemented = 0x0c,  // PI
  kVersion = 0x10,           // VS
};

namespace capabilities {
inline constexpr std::uint32_t kSlotsShift = 8;            // NCS, less one
inline constexpr std::uint32_t kOnlyAhci = 1U << 18U;      // SAM
inline constexpr std::uint32_t kSpeed6 = 3U << 20U;        // ISS
inline constexpr std::uint32_t kListOverride = 1U << 24U;  // SCLO
inline constexpr std::uint32_t kQueued = 1U << 30U;        // SNCQ
inline constexpr std::uint32_t k64Bit = 1U << 31U;         // S64A
}  // namespace capabilities

namespace control {
inline constexpr std::uint32_t kReset = 1U;             // HR
inline constexpr std::uint32_t kInterrupts = 2U;        // IE
inline constexpr std::uint32_t kEnable = 0x8000'0000U;  // AE
}  // namespace control

inline constexpr std::uint32_t kVersion13 = 0x0001'0300;

/// A port's, from its first register.
enum class PortRegister : std::uint32_t {
  kListLow = 0x00,  // PxCLB
  kListHigh = 0x04,
  kReceivedLow = 0x08,  // PxFB
  kReceivedHigh = 0x0c,
  kInterruptStatus = 0x10,  // PxIS
  kInterruptEnable = 0x14,  // PxIE
  kCommand = 0x18,          // PxCMD
  kTaskFile = 0x20,         // PxTFD
  kSignature = 0x24,        // PxSIG
  kSataStatus = 0x28,       // PxSSTS
  kSataControl = 0x2c,      // PxSCTL
  kSataError = 0x30,        // PxSERR
  kSataActive = 0x34,       // PxSACT
  kIssue = 0x38,            // PxCI
};

namespace interrupt {
inline constexpr std::uint32_t kRegister = 1U << 0U;       // DHRS
inline constexpr std::uint32_t kPioSetup = 1U << 1U;       // PSS
inline constexpr std::uint32_t kDeviceBits = 1U << 3U;     // SDBS
inline constexpr std::uint32_t kDescriptor = 1U << 5U;     // DPS
inline constexpr std::uint32_t kOverflow = 1U << 24U;      // OFS
inline constexpr std::uint32_t kHostBusError = 1U << 29U;  // HBFS
inline constexpr std::uint32_t kTaskFileError = 1U << 30U;
inline constexpr std::uint32_t kAll = 0xfdc0'00ff;
}  // namespace interrupt

namespace command {
inline constexpr std::uint32_t kStart = 1U << 0U;            // ST
inline constexpr std::uint32_t kSpinUp = 1U << 1U;           // SUD
inline constexpr std::uint32_t kPowerOn = 1U << 2U;          // POD
inline constexpr std::uint32_t kListOverride = 1U << 3U;     // CLO
inline constexpr std::uint32_t kReceive = 1U << 4U;          // FRE
inline constexpr unsigned kSlotShift = 8;                    // CCS
inline constexpr std::uint32_t kReceiveRunning = 1U << 14U;  // FR
inline constexpr std::uint32_t kListRunning = 1U << 15U;     // CR
inline constexpr std::uint32_t kAtapi = 1U << 24U;
inline constexpr std::uint32_t kWritable = kStart | kReceive | kAtapi;
}  // namespace command

namespace sata {
inline constexpr std::uint32_t kNothing = 0;
inline constexpr std::uint32_t kOffline = 4;
inline constexpr std::uint32_t kPresent = 0x133;  // active, 6 Gbit/s, communication established
inline constexpr std::uint32_t kDetection = 0xf;  // DET of PxSCTL
inline constexpr std::uint32_t kReset = 1;
inline constexpr std::uint32_t kDisable = 4;
}  // namespace sata

/// The entry of a command list: section 4.2.2.
struct CommandHeader {
  Le16 flags{};
  Le16 descriptors{};  // PRDTL
  Le32 bytes{};        // PRDBC
  Le64 table{};        // 128-byte aligned
  Le32 reserved[4];
};
static_assert(sizeof(CommandHeader) == 32);
inline constexpr std::uint64_t kHeaderBytes = 4;  // where PRDBC is

/// What stands in front of a command table's descriptors: section 4.2.3.
struct CommandTable {
  std::uint8_t fis[64];
  std::uint8_t packet[16];
};
inline constexpr std::uint64_t kDescriptors = 0x80;

struct Descriptor {
  Le64 address{};
  Le32 reserved{};
  Le32 size{};  // bits 21 to 0, less one; bit 31: an interrupt when it is done
};
static_assert(sizeof(Descriptor) == 16);

/// Kinds of frames, and where received ones are put: section 4.2.1.
inline constexpr std::uint8_t kRegisterToDevice = 0x27;
inline constexpr std::uint8_t kRegisterToHost = 0x34;
inline constexpr std::uint8_t kPioSetup = 0x5f;
inline constexpr std::uint8_t kSetDeviceBits = 0xa1;
inline constexpr std::uint64_t kReceivedPioSetup = 0x20;
inline constexpr std::uint64_t kReceivedRegister = 0x40;
inline constexpr std::uint64_t kReceivedDeviceBits = 0x58;

}  // namespace doppel::hw::ahci
