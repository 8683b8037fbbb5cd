#include "x86/msr.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>

namespace doppel::x86 {
namespace {

struct MsrName {
  std::uint32_t index;
  std::string_view name;
};

constexpr auto kNames = std::to_array<MsrName>({
    {msr::kTsc, "IA32_TIME_STAMP_COUNTER"},
    {msr::kPlatformId, "IA32_PLATFORM_ID"},
    {msr::kApicBase, "IA32_APIC_BASE"},
    {msr::kSmiCount, "MSR_SMI_COUNT"},
    {msr::kFeatureControl, "IA32_FEATURE_CONTROL"},
    {msr::kTscAdjust, "IA32_TSC_ADJUST"},
    {msr::kSpecCtrl, "IA32_SPEC_CTRL"},
    {msr::kPredCmd, "IA32_PRED_CMD"},
    {msr::kBiosUpdateTrigger, "IA32_BIOS_UPDT_TRIG"},
    {msr::kBiosSignId, "IA32_BIOS_SIGN_ID"},
    {msr::kCoreCapabilities, "IA32_CORE_CAPABILITIES"},
    {msr::kUmwaitControl, "IA32_UMWAIT_CONTROL"},
    {msr::kMperf, "IA32_MPERF"},
    {msr::kAperf, "IA32_APERF"},
    {msr::kMtrrCap, "IA32_MTRRCAP"},
    {msr::kArchCapabilities, "IA32_ARCH_CAPABILITIES"},
    {msr::kFlushCmd, "IA32_FLUSH_CMD"},
    {msr::kTsxCtrl, "IA32_TSX_CTRL"},
    {msr::kSysenterCs, "IA32_SYSENTER_CS"},
    {msr::kSysenterEsp, "IA32_SYSENTER_ESP"},
    {msr::kSysenterEip, "IA32_SYSENTER_EIP"},
    {msr::kMcgCap, "IA32_MCG_CAP"},
    {msr::kMcgStatus, "IA32_MCG_STATUS"},
    {msr::kMcgCtl, "IA32_MCG_CTL"},
    {msr::kPerfStatus, "IA32_PERF_STATUS"},
    {msr::kMiscEnable, "IA32_MISC_ENABLE"},
    {msr::kXfd, "IA32_XFD"},
    {msr::kXfdErr, "IA32_XFD_ERR"},
    {msr::kDebugCtl, "IA32_DEBUGCTL"},
    {msr::kMtrrFix64K00000, "IA32_MTRR_FIX64K_00000"},
    {msr::kMtrrFix16K80000, "IA32_MTRR_FIX16K_80000"},
    {msr::kMtrrFix16KA0000, "IA32_MTRR_FIX16K_A0000"},
    {msr::kPat, "IA32_PAT"},
    {msr::kMtrrDefType, "IA32_MTRR_DEF_TYPE"},
    {msr::kPerfCapabilities, "IA32_PERF_CAPABILITIES"},
    {msr::kFixedCtrCtrl, "IA32_FIXED_CTR_CTRL"},
    {msr::kPerfGlobalStatus, "IA32_PERF_GLOBAL_STATUS"},
    {msr::kPerfGlobalCtrl, "IA32_PERF_GLOBAL_CTRL"},
    {msr::kPerfGlobalOvfCtrl, "IA32_PERF_GLOBAL_OVF_CTRL"},
    {msr::kVmxBasic, "IA32_VMX_BASIC"},
    {msr::kRtitCtl, "IA32_RTIT_CTL"},
    {msr::kTscDeadline, "IA32_TSC_DEADLINE"},
    {msr::kXss, "IA32_XSS"},
    {msr::kKvmWallClockNew, "MSR_KVM_WALL_CLOCK_NEW"},
    {msr::kKvmSystemTimeNew, "MSR_KVM_SYSTEM_TIME_NEW"},
    {msr::kKvmAsyncPfEnable, "MSR_KVM_ASYNC_PF_EN"},
    {msr::kKvmStealTime, "MSR_KVM_STEAL_TIME"},
    {msr::kKvmPvEoiEnable, "MSR_KVM_PV_EOI_EN"},
    {msr::kKvmPollControl, "MSR_KVM_POLL_CONTROL"},
    {msr::kKvmAsyncPfInt, "MSR_KVM_ASYNC_PF_INT"},
    {msr::kKvmAsyncPfAck, "MSR_KVM_ASYNC_PF_ACK"},
    {msr::kEfer, "IA32_EFER"},
    {msr::kStar, "IA32_STAR"},
    {msr::kLstar, "IA32_LSTAR"},
    {msr::kCstar, "IA32_CSTAR"},
    {msr::kSfmask, "IA32_FMASK"},
    {msr::kFsBase, "IA32_FS_BASE"},
    {msr::kGsBase, "IA32_GS_BASE"},
    {msr::kKernelGsBase, "IA32_KERNEL_GS_BASE"},
    {msr::kTscAux, "IA32_TSC_AUX"},
    {msr::kAmdTscRatio, "TSC_RATIO"},
    {msr::kAmdSyscfg, "SYSCFG"},
    {msr::kAmdHwcr, "HWCR"},
    {msr::kAmdPatchLevel, "PATCH_LEVEL"},
    {msr::kAmdVmCr, "VM_CR"},
    {msr::kAmdVmHsavePa, "VM_HSAVE_PA"},
    {msr::kAmdVirtSpecCtrl, "VIRT_SPEC_CTRL"},
    {msr::kAmdOsvwIdLength, "OSVW_ID_LENGTH"},
    {msr::kAmdDeCfg, "DE_CFG"},
});

/// Registers that say what the processor is or have a member of CpuState to themselves.
constexpr auto kNotReset = std::to_array<std::uint32_t>({
    msr::kApicBase,
    msr::kEfer,
    msr::kPlatformId,
    msr::kBiosSignId,
    msr::kCoreCapabilities,
    msr::kMtrrCap,
    msr::kArchCapabilities,
    msr::kMcgCap,
    msr::kMcgCtl,  // exists only where IA32_MCG_CAP says so, which reset does not change
    msr::kPerfStatus,
    msr::kPerfCapabilities,
    msr::kAmdPatchLevel,
    msr::kAmdDeCfg,
    msr::kAmdTscRatio,
    msr::kAmdHwcr,
    msr::kAmdSyscfg,
    msr::kFsBase,
    msr::kGsBase,
});

constexpr bool within(std::uint32_t index, std::uint32_t first, std::uint32_t count) {
  return index >= first && index - first < count;
}

bool survives_reset(std::uint32_t index) {
  return std::ranges::find(kNotReset, index) != kNotReset.end() ||
         within(index, msr::kVmxBasic, msr::kVmxLast - msr::kVmxBasic + 1) ||
         within(index, msr::kX2apicFirst, msr::kX2apicLast - msr::kX2apicFirst + 1);
}

}  // namespace

std::uint64_t msr_reset_value(std::uint32_t index) {
  switch (index) {
    case msr::kPat: return msr::kPatReset;
    case msr::kMiscEnable: return msr::kMiscEnableFastStrings;
    case msr::kKvmPollControl: return 1;
    default: break;
  }
  if (within(index, msr::kMc0Ctl, 4 * msr::kMcBankCount) && (index - msr::kMc0Ctl) % 4 == 0) return ~std::uint64_t{0};
  return 0;
}

std::vector<Msr> reset_msrs(std::span<const std::uint32_t> indexes) {
  std::vector<Msr> result;
  for (const std::uint32_t index : indexes)
    if (!survives_reset(index)) result.push_back({index, msr_reset_value(index)});
  std::ranges::sort(result, {}, &Msr::index);
  return result;
}

std::string msr_name(std::uint32_t index) {
  if (const auto* row = std::ranges::find(kNames, index, &MsrName::index); row != kNames.end())
    return std::string(row->name);
  if (within(index, msr::kMtrrPhysBase0, 2 * msr::kMtrrVariableCount)) {
    const std::uint32_t offset = index - msr::kMtrrPhysBase0;
    return fmt::format("IA32_MTRR_PHYS{}{}", offset % 2 == 0 ? "BASE" : "MASK", offset / 2);
  }
  if (within(index, msr::kMtrrFix4KC0000, 8))
    return fmt::format("IA32_MTRR_FIX4K_{:X}", 0xc0000 + 0x8000 * (index - msr::kMtrrFix4KC0000));
  if (within(index, msr::kMc0Ctl, 4 * msr::kMcBankCount)) {
    constexpr std::array<std::string_view, 4> kKinds = {"CTL", "STATUS", "ADDR", "MISC"};
    const std::uint32_t offset = index - msr::kMc0Ctl;
    return fmt::format("IA32_MC{}_{}", offset / 4, kKinds.at(offset % 4));
  }
  if (within(index, msr::kX2apicFirst, msr::kX2apicLast - msr::kX2apicFirst + 1))
    return fmt::format("IA32_X2APIC_{:03X}", (index - msr::kX2apicFirst) * 16);
  return fmt::format("MSR {:#x}", index);
}

}  // namespace doppel::x86
