// Model-specific registers: indexes, reset values and names (SDM volume 4, AMD APM 2 appendix A).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "x86/cpu_state.h"

namespace doppel::x86 {

namespace msr {
inline constexpr std::uint32_t kTsc = 0x10;
inline constexpr std::uint32_t kPlatformId = 0x17;
inline constexpr std::uint32_t kApicBase = 0x1b;
inline constexpr std::uint32_t kSmiCount = 0x34;
inline constexpr std::uint32_t kFeatureControl = 0x3a;
inline constexpr std::uint32_t kTscAdjust = 0x3b;
inline constexpr std::uint32_t kSpecCtrl = 0x48;
inline constexpr std::uint32_t kPredCmd = 0x49;
inline constexpr std::uint32_t kBiosUpdateTrigger = 0x79;
inline constexpr std::uint32_t kBiosSignId = 0x8b;
inline constexpr std::uint32_t kSgxLePubKeyHash0 = 0x8c;  // and the next 3
inline constexpr std::uint32_t kPmc0 = 0xc1;              // and the next 7
inline constexpr std::uint32_t kCoreCapabilities = 0xcf;
inline constexpr std::uint32_t kUmwaitControl = 0xe1;
inline constexpr std::uint32_t kMperf = 0xe7;
inline constexpr std::uint32_t kAperf = 0xe8;
inline constexpr std::uint32_t kMtrrCap = 0xfe;
inline constexpr std::uint32_t kArchCapabilities = 0x10a;
inline constexpr std::uint32_t kFlushCmd = 0x10b;
inline constexpr std::uint32_t kTsxCtrl = 0x122;
inline constexpr std::uint32_t kSysenterCs = 0x174;
inline constexpr std::uint32_t kSysenterEsp = 0x175;
inline constexpr std::uint32_t kSysenterEip = 0x176;
inline constexpr std::uint32_t kMcgCap = 0x179;
inline constexpr std::uint32_t kMcgStatus = 0x17a;
inline constexpr std::uint32_t kMcgCtl = 0x17b;
inline constexpr std::uint32_t kPerfEvtSel0 = 0x186;  // and the next 7
inline constexpr std::uint32_t kPerfStatus = 0x198;
inline constexpr std::uint32_t kMiscEnable = 0x1a0;
inline constexpr std::uint32_t kXfd = 0x1c4;
inline constexpr std::uint32_t kXfdErr = 0x1c5;
inline constexpr std::uint32_t kDebugCtl = 0x1d9;
inline constexpr std::uint32_t kLastBranchFromIp = 0x1db;
inline constexpr std::uint32_t kLastBranchToIp = 0x1dc;
inline constexpr std::uint32_t kMtrrPhysBase0 = 0x200;  // base and mask alternate, kMtrrVariableCount pairs
inline constexpr std::uint32_t kMtrrPhysMask0 = 0x201;
inline constexpr unsigned kMtrrVariableCount = 8;
inline constexpr std::uint32_t kMtrrFix64K00000 = 0x250;
inline constexpr std::uint32_t kMtrrFix16K80000 = 0x258;
inline constexpr std::uint32_t kMtrrFix16KA0000 = 0x259;
inline constexpr std::uint32_t kMtrrFix4KC0000 = 0x268;  // and the next 7, 32 KiB apart
inline constexpr std::uint32_t kPat = 0x277;
inline constexpr std::uint32_t kMtrrDefType = 0x2ff;
inline constexpr std::uint32_t kFixedCtr0 = 0x309;
inline constexpr std::uint32_t kPerfCapabilities = 0x345;
inline constexpr std::uint32_t kFixedCtrCtrl = 0x38d;
inline constexpr std::uint32_t kPerfGlobalStatus = 0x38e;
inline constexpr std::uint32_t kPerfGlobalCtrl = 0x38f;
inline constexpr std::uint32_t kPerfGlobalOvfCtrl = 0x390;
inline constexpr std::uint32_t kMc0Ctl = 0x400;  // CTL, STATUS, ADDR, MISC; kMcBankCount banks
inline constexpr unsigned kMcBankCount = 10;
inline constexpr std::uint32_t kVmxBasic = 0x480;  // to kVmxLast
inline constexpr std::uint32_t kVmxLast = 0x493;
inline constexpr std::uint32_t kRtitCtl = 0x570;
inline constexpr std::uint32_t kTscDeadline = 0x6e0;
inline constexpr std::uint32_t kX2apicFirst = 0x800;  // register at MMIO offset O is kX2apicFirst + O / 16
inline constexpr std::uint32_t kX2apicLast = 0x8ff;
inline constexpr std::uint32_t kXss = 0xda0;

inline constexpr std::uint32_t kKvmWallClock = 0x11;
inline constexpr std::uint32_t kKvmSystemTime = 0x12;
inline constexpr std::uint32_t kKvmWallClockNew = 0x4b564d00;
inline constexpr std::uint32_t kKvmSystemTimeNew = 0x4b564d01;
inline constexpr std::uint32_t kKvmAsyncPfEnable = 0x4b564d02;
inline constexpr std::uint32_t kKvmStealTime = 0x4b564d03;
inline constexpr std::uint32_t kKvmPvEoiEnable = 0x4b564d04;
inline constexpr std::uint32_t kKvmPollControl = 0x4b564d05;
inline constexpr std::uint32_t kKvmAsyncPfInt = 0x4b564d06;
inline constexpr std::uint32_t kKvmAsyncPfAck = 0x4b564d07;

inline constexpr std::uint32_t kEfer = 0xc0000080;
inline constexpr std::uint32_t kStar = 0xc0000081;
inline constexpr std::uint32_t kLstar = 0xc0000082;
inline constexpr std::uint32_t kCstar = 0xc0000083;
inline constexpr std::uint32_t kSfmask = 0xc0000084;
inline constexpr std::uint32_t kFsBase = 0xc0000100;
inline constexpr std::uint32_t kGsBase = 0xc0000101;
inline constexpr std::uint32_t kKernelGsBase = 0xc0000102;
inline constexpr std::uint32_t kTscAux = 0xc0000103;
inline constexpr std::uint32_t kAmdTscRatio = 0xc0000104;

inline constexpr std::uint32_t kAmdSyscfg = 0xc0010010;
inline constexpr std::uint32_t kAmdHwcr = 0xc0010015;
inline constexpr std::uint32_t kAmdPatchLevel = 0xc001008b;
inline constexpr std::uint32_t kAmdVmCr = 0xc0010114;
inline constexpr std::uint32_t kAmdVmHsavePa = 0xc0010117;
inline constexpr std::uint32_t kAmdVirtSpecCtrl = 0xc001011f;
inline constexpr std::uint32_t kAmdOsvwIdLength = 0xc0010140;
inline constexpr std::uint32_t kAmdLsCfg = 0xc0011020;
inline constexpr std::uint32_t kAmdDeCfg = 0xc0011029;

/// Bits of kMiscEnable.
inline constexpr std::uint64_t kMiscEnableFastStrings = 1U << 0;
inline constexpr std::uint64_t kMiscEnableMonitor = 1U << 18;
/// Bits of kFeatureControl.
inline constexpr std::uint64_t kFeatureControlLocked = 1U << 0;
inline constexpr std::uint64_t kFeatureControlVmx = 1U << 2;
/// Bits of kMtrrDefType.
inline constexpr std::uint64_t kMtrrEnable = 1U << 11;
inline constexpr std::uint64_t kMtrrFixedEnable = 1U << 10;
/// Eight entries: WB, WT, UC-, UC, twice (SDM 3A table 11-12).
inline constexpr std::uint64_t kPatReset = 0x0007'0406'0007'0406;
}  // namespace msr

/// What the register holds after power-on; zero for those not listed.
std::uint64_t msr_reset_value(std::uint32_t index);

/// The registers of INDEXES at their reset values, sorted by index: for CpuState::msrs. Left out are those that a reset
/// must not write back (IA32_APIC_BASE and IA32_EFER have members of their own, capability registers stay).
std::vector<Msr> reset_msrs(std::span<const std::uint32_t> indexes);

/// "IA32_EFER", or "MSR 0x12345" if it has no name here.
std::string msr_name(std::uint32_t index);

}  // namespace doppel::x86
