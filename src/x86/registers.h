// Bits of the flags, control and debug registers (SDM 1 3.4.3, 3A 2.2.1 and 2.5, 3B 18.2) and exception vectors.
#pragma once

#include <cstdint>

namespace doppel::x86 {

namespace rflags {
inline constexpr std::uint64_t kCf = 1U << 0;
inline constexpr std::uint64_t kFixed = 1U << 1;  // always reads as one
inline constexpr std::uint64_t kPf = 1U << 2;
inline constexpr std::uint64_t kAf = 1U << 4;
inline constexpr std::uint64_t kZf = 1U << 6;
inline constexpr std::uint64_t kSf = 1U << 7;
inline constexpr std::uint64_t kTf = 1U << 8;
inline constexpr std::uint64_t kIf = 1U << 9;
inline constexpr std::uint64_t kDf = 1U << 10;
inline constexpr std::uint64_t kOf = 1U << 11;
inline constexpr std::uint64_t kIopl = 3U << 12;
inline constexpr unsigned kIoplShift = 12;
inline constexpr std::uint64_t kNt = 1U << 14;
inline constexpr std::uint64_t kRf = 1U << 16;
inline constexpr std::uint64_t kVm = 1U << 17;
inline constexpr std::uint64_t kAc = 1U << 18;
inline constexpr std::uint64_t kVif = 1U << 19;
inline constexpr std::uint64_t kVip = 1U << 20;
inline constexpr std::uint64_t kId = 1U << 21;
/// The six flags that arithmetic sets.
inline constexpr std::uint64_t kArithmetic = kCf | kPf | kAf | kZf | kSf | kOf;
}  // namespace rflags

namespace cr0 {
inline constexpr std::uint64_t kPe = 1U << 0;
inline constexpr std::uint64_t kMp = 1U << 1;
inline constexpr std::uint64_t kEm = 1U << 2;
inline constexpr std::uint64_t kTs = 1U << 3;
inline constexpr std::uint64_t kEt = 1U << 4;
inline constexpr std::uint64_t kNe = 1U << 5;
inline constexpr std::uint64_t kWp = 1U << 16;
inline constexpr std::uint64_t kAm = 1U << 18;
inline constexpr std::uint64_t kNw = 1U << 29;
inline constexpr std::uint64_t kCd = 1U << 30;
inline constexpr std::uint64_t kPg = 1U << 31;
}  // namespace cr0

namespace cr3 {
inline constexpr std::uint64_t kPwt = 1U << 3;
inline constexpr std::uint64_t kPcd = 1U << 4;
inline constexpr std::uint64_t kPcidMask = 0xfff;  // with CR4.PCIDE
inline constexpr std::uint64_t kNoFlush = 1ULL << 63;
}  // namespace cr3

namespace cr4 {
inline constexpr std::uint64_t kVme = 1U << 0;
inline constexpr std::uint64_t kPvi = 1U << 1;
inline constexpr std::uint64_t kTsd = 1U << 2;
inline constexpr std::uint64_t kDe = 1U << 3;
inline constexpr std::uint64_t kPse = 1U << 4;
inline constexpr std::uint64_t kPae = 1U << 5;
inline constexpr std::uint64_t kMce = 1U << 6;
inline constexpr std::uint64_t kPge = 1U << 7;
inline constexpr std::uint64_t kPce = 1U << 8;
inline constexpr std::uint64_t kOsfxsr = 1U << 9;
inline constexpr std::uint64_t kOsxmmexcpt = 1U << 10;
inline constexpr std::uint64_t kUmip = 1U << 11;
inline constexpr std::uint64_t kLa57 = 1U << 12;
inline constexpr std::uint64_t kVmxe = 1U << 13;
inline constexpr std::uint64_t kSmxe = 1U << 14;
inline constexpr std::uint64_t kFsgsbase = 1U << 16;
inline constexpr std::uint64_t kPcide = 1U << 17;
inline constexpr std::uint64_t kOsxsave = 1U << 18;
inline constexpr std::uint64_t kSmep = 1U << 20;
inline constexpr std::uint64_t kSmap = 1U << 21;
inline constexpr std::uint64_t kPke = 1U << 22;
inline constexpr std::uint64_t kCet = 1U << 23;
inline constexpr std::uint64_t kPks = 1U << 24;
}  // namespace cr4

namespace efer {
inline constexpr std::uint64_t kSce = 1U << 0;
inline constexpr std::uint64_t kLme = 1U << 8;
inline constexpr std::uint64_t kLma = 1U << 10;
inline constexpr std::uint64_t kNxe = 1U << 11;
inline constexpr std::uint64_t kSvme = 1U << 12;   // AMD
inline constexpr std::uint64_t kLmsle = 1U << 13;  // AMD
inline constexpr std::uint64_t kFfxsr = 1U << 14;  // AMD
inline constexpr std::uint64_t kTce = 1U << 15;    // AMD
}  // namespace efer

namespace dr6 {
inline constexpr std::uint64_t kTriggered = 0xf;  // B0 to B3
inline constexpr std::uint64_t kBd = 1U << 13;
inline constexpr std::uint64_t kBs = 1U << 14;
inline constexpr std::uint64_t kBt = 1U << 15;
inline constexpr std::uint64_t kRtm = 1U << 16;  // active low
inline constexpr std::uint64_t kReset = 0xffff0ff0;
}  // namespace dr6

namespace dr7 {
inline constexpr std::uint64_t kEnables = 0xff;  // L0, G0 ... L3, G3
inline constexpr std::uint64_t kLe = 1U << 8;
inline constexpr std::uint64_t kGe = 1U << 9;
inline constexpr std::uint64_t kGd = 1U << 13;
inline constexpr std::uint64_t kReset = 0x400;
}  // namespace dr7

/// IA32_APIC_BASE (SDM 3A 11.4.4).
namespace apic_base {
inline constexpr std::uint64_t kBsp = 1U << 8;
inline constexpr std::uint64_t kX2apic = 1U << 10;
inline constexpr std::uint64_t kEnable = 1U << 11;
inline constexpr std::uint64_t kDefaultAddress = 0xfee00000;
}  // namespace apic_base

/// XCR0 and IA32_XSS: one bit per state component (SDM 1 13.1).
namespace xcr {
inline constexpr std::uint64_t kX87 = 1U << 0;
inline constexpr std::uint64_t kSse = 1U << 1;
inline constexpr std::uint64_t kAvx = 1U << 2;
inline constexpr std::uint64_t kMpx = 3U << 3;
inline constexpr std::uint64_t kAvx512 = 7U << 5;
inline constexpr std::uint64_t kPkru = 1U << 9;
inline constexpr std::uint64_t kAmx = 3U << 17;
}  // namespace xcr

/// Exception vectors (SDM 3A table 6-1).
enum Vector : std::uint8_t {
  kDivideError = 0,
  kDebug = 1,
  kNmi = 2,
  kBreakpoint = 3,
  kOverflow = 4,
  kBoundRange = 5,
  kInvalidOpcode = 6,
  kDeviceNotAvailable = 7,
  kDoubleFault = 8,
  kInvalidTss = 10,
  kSegmentNotPresent = 11,
  kStackFault = 12,
  kGeneralProtection = 13,
  kPageFault = 14,
  kFloatingPoint = 16,
  kAlignmentCheck = 17,
  kMachineCheck = 18,
  kSimdFloatingPoint = 19,
  kVirtualization = 20,
  kControlProtection = 21,
};

/// Whether the vector pushes an error code (SDM 3A 6.13).
constexpr bool pushes_error_code(std::uint8_t vector) {
  return vector < 32 && ((0x00227d00U >> vector) & 1U) != 0;
}

}  // namespace doppel::x86
