// Registers of the local APIC (SDM 3A, tables 11-1 and 11-6).
#pragma once

#include <array>
#include <cstdint>

#include "base/bits.h"

namespace doppel::hw::lapic {

/// A register's number is its MMIO offset / 16 and its MSR index - 0x800.
enum class Register : std::uint8_t {
  kId = 0x02,
  kVersion = 0x03,
  kTpr = 0x08,
  kApr = 0x09,
  kPpr = 0x0a,
  kEoi = 0x0b,
  kRemoteRead = 0x0c,
  kLdr = 0x0d,
  kDfr = 0x0e,
  kSvr = 0x0f,
  kIsr = 0x10,  // eight of each
  kTmr = 0x18,
  kIrr = 0x20,
  kEsr = 0x28,
  kLvtCmci = 0x2f,
  kIcr = 0x30,
  kIcrHigh = 0x31,
  kLvtTimer = 0x32,
  kLvtThermal = 0x33,
  kLvtPerformance = 0x34,
  kLvtLint0 = 0x35,
  kLvtLint1 = 0x36,
  kLvtError = 0x37,
  kInitialCount = 0x38,
  kCurrentCount = 0x39,
  kDivide = 0x3e,
  kSelfIpi = 0x3f,
};
inline constexpr unsigned kRegisterCount = 0x40;

enum class Access : std::uint8_t { kNone = 0, kRead = 1, kWrite = 2, kReadWrite = 3 };
constexpr bool readable(Access access) {
  return (static_cast<unsigned>(access) & 1U) != 0;
}
constexpr bool writable(Access access) {
  return (static_cast<unsigned>(access) & 2U) != 0;
}

struct RegisterInfo {
  Access xapic = Access::kNone;
  Access x2apic = Access::kNone;
  std::uint64_t x2apic_bits = 0;  // others must be written as 0, or #GP
};

struct RegisterRow {
  Register first;
  unsigned count;
  RegisterInfo info;
};

// clang-format off
inline constexpr std::array kRegisterRows = {
    //          register                 count   xAPIC               x2APIC              writable bits
    RegisterRow{Register::kId,             1, {Access::kReadWrite, Access::kRead,      0}},
    RegisterRow{Register::kVersion,        1, {Access::kRead,      Access::kRead,      0}},
    RegisterRow{Register::kTpr,            1, {Access::kReadWrite, Access::kReadWrite, 0xff}},
    RegisterRow{Register::kApr,            1, {Access::kRead,      Access::kNone,      0}},
    RegisterRow{Register::kPpr,            1, {Access::kRead,      Access::kRead,      0}},
    RegisterRow{Register::kEoi,            1, {Access::kWrite,     Access::kWrite,     0}},
    RegisterRow{Register::kRemoteRead,     1, {Access::kRead,      Access::kNone,      0}},
    RegisterRow{Register::kLdr,            1, {Access::kReadWrite, Access::kRead,      0}},
    RegisterRow{Register::kDfr,            1, {Access::kReadWrite, Access::kNone,      0}},
    RegisterRow{Register::kSvr,            1, {Access::kReadWrite, Access::kReadWrite, 0x13ff}},
    RegisterRow{Register::kIsr,            8, {Access::kRead,      Access::kRead,      0}},
    RegisterRow{Register::kTmr,            8, {Access::kRead,      Access::kRead,      0}},
    RegisterRow{Register::kIrr,            8, {Access::kRead,      Access::kRead,      0}},
    RegisterRow{Register::kEsr,            1, {Access::kReadWrite, Access::kReadWrite, 0}},
    RegisterRow{Register::kLvtCmci,        1, {Access::kReadWrite, Access::kReadWrite, 0x117ff}},
    RegisterRow{Register::kIcr,            1, {Access::kReadWrite, Access::kReadWrite, 0xffff'ffff'000c'dfff}},
    RegisterRow{Register::kIcrHigh,        1, {Access::kReadWrite, Access::kNone,      0}},
    RegisterRow{Register::kLvtTimer,       1, {Access::kReadWrite, Access::kReadWrite, 0x710ff}},
    RegisterRow{Register::kLvtThermal,     1, {Access::kReadWrite, Access::kReadWrite, 0x117ff}},
    RegisterRow{Register::kLvtPerformance, 1, {Access::kReadWrite, Access::kReadWrite, 0x117ff}},
    RegisterRow{Register::kLvtLint0,       1, {Access::kReadWrite, Access::kReadWrite, 0x1f7ff}},
    RegisterRow{Register::kLvtLint1,       1, {Access::kReadWrite, Access::kReadWrite, 0x1f7ff}},
    RegisterRow{Register::kLvtError,       1, {Access::kReadWrite, Access::kReadWrite, 0x110ff}},
    RegisterRow{Register::kInitialCount,   1, {Access::kReadWrite, Access::kReadWrite, 0xffffffff}},
    RegisterRow{Register::kCurrentCount,   1, {Access::kRead,      Access::kRead,      0}},
    RegisterRow{Register::kDivide,         1, {Access::kReadWrite, Access::kReadWrite, 0xb}},
    RegisterRow{Register::kSelfIpi,        1, {Access::kNone,      Access::kWrite,     0xff}},
};
// clang-format on

inline constexpr auto kRegisters = [] {
  std::array<RegisterInfo, kRegisterCount> table{};
  for (const RegisterRow& row : kRegisterRows)
    for (unsigned i = 0; i < row.count; ++i) table[static_cast<unsigned>(row.first) + i] = row.info;
  return table;
}();

// Model-specific registers.
inline constexpr std::uint32_t kMsrApicBase = 0x1b;
inline constexpr std::uint32_t kMsrTscDeadline = 0x6e0;
inline constexpr std::uint32_t kMsrX2apicFirst = 0x800;
inline constexpr std::uint32_t kMsrX2apicLast = 0x8ff;

// IA32_APIC_BASE.
inline constexpr unsigned kBaseBspBit = 8;
inline constexpr unsigned kBaseX2apicBit = 10;
inline constexpr unsigned kBaseEnableBit = 11;
inline constexpr std::uint64_t kDefaultBase = 0xfee00000;

// Spurious-interrupt vector register.
inline constexpr unsigned kSvrEnableBit = 8;
inline constexpr unsigned kSvrNoFocusBit = 9;
inline constexpr unsigned kSvrSuppressEoiBit = 12;
inline constexpr std::uint32_t kSvrReset = 0xff;

// Version register: an integrated APIC with seven local vectors.
inline constexpr std::uint32_t kVersionValue = 0x14;
inline constexpr unsigned kVersionDirectedEoiBit = 24;

// Error status register.
inline constexpr std::uint32_t kEsrSendIllegalVector = 1U << 5U;
inline constexpr std::uint32_t kEsrReceiveIllegalVector = 1U << 6U;
inline constexpr std::uint32_t kEsrIllegalRegister = 1U << 7U;

// Local vectors.
inline constexpr unsigned kLvtRemoteIrrBit = 14;
inline constexpr unsigned kLvtLevelBit = 15;
inline constexpr unsigned kLvtMaskBit = 16;
inline constexpr std::uint32_t kLvtReadOnly = 0x5000;  // delivery status, remote IRR
inline constexpr std::uint32_t kLvtReset = 1U << kLvtMaskBit;
inline constexpr std::uint32_t kLvtVirtualWire = 0x700;  // ExtINT, not masked

// Interrupt command register.
inline constexpr unsigned kIcrLogicalBit = 11;
inline constexpr std::uint64_t kIcrStatus = 1U << 12U;
inline constexpr unsigned kIcrAssertBit = 14;
inline constexpr unsigned kIcrLevelBit = 15;
inline constexpr std::uint32_t kIcrWritable = 0x000ccfff;
enum class Shorthand : std::uint8_t { kNone = 0, kSelf = 1, kAll = 2, kAllButSelf = 3 };

inline constexpr std::uint32_t kDfrFlat = 0xf;
inline constexpr std::uint32_t kDfrCluster = 0x0;
inline constexpr std::uint32_t kDivideWritable = 0xb;

/// The logical id of an x2APIC (SDM 3A 11.12.10.2).
constexpr std::uint32_t x2apic_ldr(std::uint32_t id) {
  return (id >> 4U) << 16U | 1U << (id & 15U);
}

}  // namespace doppel::hw::lapic
