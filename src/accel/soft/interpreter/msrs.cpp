#include "accel/soft/interpreter/msrs.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <span>

#include "accel/soft/interpreter/control_registers.h"
#include "x86/msr.h"

namespace doppel::accel::soft {

namespace {

using x86::FeatureBit;
using x86::FeatureWord;

constexpr FeatureBit kMachineCheck{FeatureWord::k1Edx, 1U << 7U | 1U << 14U};
constexpr FeatureBit kSysenter{FeatureWord::k1Edx, 1U << 11U};
constexpr FeatureBit kMtrr{FeatureWord::k1Edx, 1U << 12U};
constexpr FeatureBit kPat{FeatureWord::k1Edx, 1U << 16U};
constexpr FeatureBit kTscAdjust{FeatureWord::k7Ebx, 1U << 1U};
constexpr FeatureBit kSpecCtrl{FeatureWord::k7Edx, 1U << 26U};
constexpr FeatureBit kStibp{FeatureWord::k7Edx, 1U << 27U};
constexpr FeatureBit kFlushL1d{FeatureWord::k7Edx, 1U << 28U};
constexpr FeatureBit kArchCapabilities{FeatureWord::k7Edx, 1U << 29U};
constexpr FeatureBit kCoreCapability{FeatureWord::k7Edx, 1U << 30U};
constexpr FeatureBit kSsbd{FeatureWord::k7Edx, 1U << 31U};
constexpr FeatureBit kSyscall{FeatureWord::k80000001Edx, 1U << 11U};
constexpr FeatureBit kRdtscp{FeatureWord::k80000001Edx, 1U << 27U};
constexpr FeatureBit kRdpid{FeatureWord::k7Ecx, 1U << 22U};
constexpr FeatureBit kOsvw{FeatureWord::k80000001Ecx, 1U << 9U};
constexpr FeatureBit kAmdIbpb{FeatureWord::k80000008Ebx, 1U << 12U};
constexpr FeatureBit kAmdIbrs{FeatureWord::k80000008Ebx, 1U << 14U};
constexpr FeatureBit kAmdStibp{FeatureWord::k80000008Ebx, 1U << 15U};
constexpr FeatureBit kAmdSsbd{FeatureWord::k80000008Ebx, 1U << 24U};
constexpr FeatureBit kKvmClockOld{FeatureWord::kKvmEax, 1U << 0U};
constexpr FeatureBit kKvmClock{FeatureWord::kKvmEax, 1U << 3U};

/// IA32_MCG_CAP: ten banks, MCG_CTL is there, recovery from software-recoverable errors.
constexpr std::uint64_t kMachineCheckCapabilities = x86::msr::kMcBankCount | 1U << 8U | 1U << 24U;
/// IA32_MTRRCAP: variable ranges, fixed ranges, write combining.
constexpr std::uint64_t kMtrrCapabilities = x86::msr::kMtrrVariableCount | 1U << 8U | 1U << 10U;

using Exists = bool (*)(const Cpu& cpu);
/// OFFSET counts from the row's first register.
using Reader = std::uint64_t (*)(const Cpu& cpu, std::uint32_t offset);
/// False: #GP.
using Writer = bool (*)(Cpu& cpu, std::uint32_t offset, std::uint64_t value, MsrWriter writer);

enum class Saved : bool { kNo, kYes };

struct MsrRow {
  std::uint32_t first;
  std::uint32_t count;
  Exists exists;  // null: always
  Reader read;    // null: #GP
  Writer write;   // null: #GP
  Saved saved = Saved::kNo;
};

// --- When registers exist ---

template <FeatureBit kFeature>
bool has(const Cpu& cpu) {
  return cpu.has(kFeature);
}

/// Bits of IA32_SPEC_CTRL that there are.
std::uint64_t spec_ctrl_bits(const Cpu& cpu) {
  std::uint64_t bits = 0;
  if (cpu.has(kSpecCtrl) || cpu.has(kAmdIbrs)) bits |= 1U << 0U;
  if (cpu.has(kStibp) || cpu.has(kAmdStibp)) bits |= 1U << 1U;
  if (cpu.has(kSsbd) || cpu.has(kAmdSsbd)) bits |= 1U << 2U;
  return bits;
}
bool has_spec_ctrl(const Cpu& cpu) {
  return spec_ctrl_bits(cpu) != 0;
}
bool has_pred_cmd(const Cpu& cpu) {
  return cpu.has(kSpecCtrl) || cpu.has(kAmdIbpb);
}
bool has_tsc_aux(const Cpu& cpu) {
  return cpu.has(kRdtscp) || cpu.has(kRdpid);
}

// --- Values ---

bool is_msr_canonical(const Cpu& cpu, std::uint64_t value) {
  return x86::is_canonical(value, cpu.has(x86::feature::kLa57) ? 57 : 48);
}

/// UC, WC, WT, WP, WB; the PAT has UC- too (SDM 3A tables 12-8 and 12-11).
constexpr bool is_memory_type(std::uint64_t type) {
  return type <= 6 && type != 2 && type != 3;
}
constexpr bool is_pat_type(std::uint64_t type) {
  return type <= 7 && type != 2 && type != 3;
}
template <bool (*kIsType)(std::uint64_t)>
bool all_bytes(std::uint64_t value) {
  for (unsigned i = 0; i < 8; ++i)
    if (!kIsType(value >> (8 * i) & 0xff)) return false;
  return true;
}

template <std::uint64_t kValue>
std::uint64_t constant(const Cpu&, std::uint32_t) {
  return kValue;
}
bool ignore(Cpu&, std::uint32_t, std::uint64_t, MsrWriter) {
  return true;
}

template <std::uint64_t MsrFile::* kMember>
std::uint64_t member(const Cpu& cpu, std::uint32_t) {
  return cpu.msrs.*kMember;
}
template <std::uint64_t MsrFile::* kMember>
bool set_member(Cpu& cpu, std::uint32_t, std::uint64_t value, MsrWriter) {
  cpu.msrs.*kMember = value;
  return true;
}
template <std::uint64_t MsrFile::* kMember>
bool set_canonical(Cpu& cpu, std::uint32_t, std::uint64_t value, MsrWriter) {
  if (!is_msr_canonical(cpu, value)) return false;
  cpu.msrs.*kMember = value;
  return true;
}
template <std::uint64_t MsrFile::* kMember>
bool set_low_half(Cpu& cpu, std::uint32_t, std::uint64_t value, MsrWriter) {
  if (value > 0xffff'ffff) return false;
  cpu.msrs.*kMember = value;
  return true;
}
template <std::uint64_t MsrFile::* kMember>
bool set_by_host(Cpu& cpu, std::uint32_t, std::uint64_t value, MsrWriter writer) {
  if (writer != MsrWriter::kHost) return false;
  cpu.msrs.*kMember = value;
  return true;
}

// --- Time ---

std::uint64_t read_tsc(const Cpu& cpu, std::uint32_t) {
  return guest_tsc(cpu);
}
bool write_tsc(Cpu& cpu, std::uint32_t, std::uint64_t value, MsrWriter writer) {
  const std::uint64_t before = cpu.msrs.tsc_offset;
  if (writer == MsrWriter::kHost) {
    cpu.msrs.tsc_offset = cpu.machine.clock.tsc_offset_for(value);
  } else {
    cpu.msrs.tsc_offset = value - host_tsc();
    cpu.msrs.tsc_adjust += cpu.msrs.tsc_offset - before;
  }
  publish_clock(cpu);
  return true;
}
bool write_tsc_adjust(Cpu& cpu, std::uint32_t, std::uint64_t value, MsrWriter writer) {
  if (writer == MsrWriter::kGuest) cpu.msrs.tsc_offset += value - cpu.msrs.tsc_adjust;
  cpu.msrs.tsc_adjust = value;
  publish_clock(cpu);
  return true;
}
bool write_system_time(Cpu& cpu, std::uint32_t, std::uint64_t value, MsrWriter) {
  cpu.msrs.kvm_system_time = value;
  publish_clock(cpu);
  return true;
}
bool write_wall_clock(Cpu& cpu, std::uint32_t, std::uint64_t value, MsrWriter writer) {
  cpu.msrs.kvm_wall_clock = value;
  if (writer == MsrWriter::kGuest) publish_wall_clock(cpu, value);
  return true;
}

// --- What acts elsewhere ---

std::uint64_t read_apic_base(const Cpu& cpu, std::uint32_t) {
  return cpu.apic_base;
}
bool write_apic_base(Cpu& cpu, std::uint32_t, std::uint64_t value, MsrWriter) {
  using namespace x86::apic_base;
  const std::uint64_t address_bits = low_mask(cpu.phys_bits) & ~std::uint64_t{0xfff};
  const std::uint64_t x2apic = cpu.has(x86::feature::kX2apic) ? kX2apic : 0;
  if ((value & ~(address_bits | kBsp | kEnable | x2apic)) != 0) return false;
  if ((value & kX2apic) != 0 && (value & kEnable) == 0) return false;
  cpu.apic_base = value;
  return true;
}

std::uint64_t read_efer(const Cpu& cpu, std::uint32_t) {
  return cpu.efer;
}
bool write_efer_msr(Cpu& cpu, std::uint32_t, std::uint64_t value, MsrWriter) {
  return write_efer(cpu, value);
}

template <x86::SegmentName kName>
std::uint64_t read_base(const Cpu& cpu, std::uint32_t) {
  return cpu.segment[kName].base;
}
template <x86::SegmentName kName>
bool write_base(Cpu& cpu, std::uint32_t, std::uint64_t value, MsrWriter) {
  if (!is_msr_canonical(cpu, value)) return false;
  cpu.segment[kName].base = value;
  cpu.update_view(kName);
  return true;
}

bool write_xss(Cpu& cpu, std::uint32_t, std::uint64_t value, MsrWriter) {
  if ((value & ~x86::xss_of(cpu.features)) != 0) return false;
  cpu.msrs.xss = value;
  return true;
}

// --- Memory types (SDM 3A 12.11) ---

bool write_pat(Cpu& cpu, std::uint32_t, std::uint64_t value, MsrWriter) {
  if (!all_bytes<is_pat_type>(value)) return false;
  cpu.msrs.pat = value;
  return true;
}
bool write_mtrr_def_type(Cpu& cpu, std::uint32_t, std::uint64_t value, MsrWriter) {
  constexpr std::uint64_t kType = 0xff;
  if ((value & ~(kType | x86::msr::kMtrrEnable | x86::msr::kMtrrFixedEnable)) != 0) return false;
  if (!is_memory_type(value & kType)) return false;
  cpu.msrs.mtrr_def_type = value;
  return true;
}
std::uint64_t read_mtrr_variable(const Cpu& cpu, std::uint32_t offset) {
  return cpu.msrs.mtrr_variable.at(offset);
}
bool write_mtrr_variable(Cpu& cpu, std::uint32_t offset, std::uint64_t value, MsrWriter) {
  constexpr std::uint64_t kReservedInBase = 0xf00;
  constexpr std::uint64_t kReservedInMask = 0x7ff;
  const bool is_mask = offset % 2 != 0;
  if ((value & ~low_mask(cpu.phys_bits)) != 0) return false;
  if ((value & (is_mask ? kReservedInMask : kReservedInBase)) != 0) return false;
  if (!is_mask && !is_memory_type(value & 0xff)) return false;
  cpu.msrs.mtrr_variable.at(offset) = value;
  return true;
}
/// FIRST: the row's first register in MsrFile::mtrr_fixed.
template <std::size_t kFirst>
std::uint64_t read_mtrr_fixed(const Cpu& cpu, std::uint32_t offset) {
  return cpu.msrs.mtrr_fixed.at(kFirst + offset);
}
template <std::size_t kFirst>
bool write_mtrr_fixed(Cpu& cpu, std::uint32_t offset, std::uint64_t value, MsrWriter) {
  if (!all_bytes<is_memory_type>(value)) return false;
  cpu.msrs.mtrr_fixed.at(kFirst + offset) = value;
  return true;
}

// --- Machine checks (SDM 3B chapter 16) ---

constexpr bool is_zero_or_ones(std::uint64_t value) {
  return value == 0 || value == ~std::uint64_t{0};
}
bool write_mcg_status(Cpu& cpu, std::uint32_t, std::uint64_t value, MsrWriter) {
  constexpr std::uint64_t kBits = 0xf;
  if ((value & ~kBits) != 0) return false;
  cpu.msrs.mcg_status = value;
  return true;
}
bool write_mcg_ctl(Cpu& cpu, std::uint32_t, std::uint64_t value, MsrWriter) {
  if (!is_zero_or_ones(value)) return false;
  cpu.msrs.mcg_ctl = value;
  return true;
}
std::uint64_t read_machine_check_bank(const Cpu& cpu, std::uint32_t offset) {
  return cpu.msrs.machine_check.at(offset);
}
bool write_machine_check_bank(Cpu& cpu, std::uint32_t offset, std::uint64_t value, MsrWriter writer) {
  // The tenth bit of a control register is what old Linux kernels leave out for a K8 erratum.
  constexpr std::uint64_t kBit10 = 1U << 10U;
  const bool is_control = offset % 4 == 0;
  if (writer == MsrWriter::kGuest && !(is_control ? is_zero_or_ones(value | kBit10) || value == 0 : value == 0))
    return false;
  cpu.msrs.machine_check.at(offset) = value;
  return true;
}

// --- Speculation ---

bool write_spec_ctrl(Cpu& cpu, std::uint32_t, std::uint64_t value, MsrWriter) {
  if ((value & ~spec_ctrl_bits(cpu)) != 0) return false;
  cpu.msrs.spec_ctrl = value;
  return true;
}
/// IA32_PRED_CMD and IA32_FLUSH_CMD: one bit that does nothing here.
bool write_command(Cpu&, std::uint32_t, std::uint64_t value, MsrWriter) {
  return value <= 1;
}

// --- Others ---

/// There are no last-branch records: LBR and BTF may be set, and stay clear.
bool write_debug_ctl(Cpu&, std::uint32_t, std::uint64_t value, MsrWriter) {
  return value <= 3;
}
std::uint64_t read_hwcr(const Cpu& cpu, std::uint32_t) {
  return cpu.msrs.hwcr;
}
bool write_hwcr(Cpu& cpu, std::uint32_t, std::uint64_t value, MsrWriter) {
  // Writes that firmware and kernels make for their own processors' sake: SMMLOCK, MCSTATUSWREN, FFDIS, IGNNE,
  // TSCFREQSEL.
  constexpr std::uint64_t kAllowed = 1U << 0U | 1U << 3U | 1U << 6U | 1U << 8U | 1U << 18U | 1U << 24U;
  constexpr std::uint64_t kKept = 1U << 18U | 1U << 24U;
  if ((value & ~kAllowed) != 0) return false;
  cpu.msrs.hwcr = value & kKept;
  return true;
}

namespace index = x86::msr;
constexpr auto kYes = Saved::kYes;
constexpr std::uint64_t kIntelMicrocode = std::uint64_t{1} << 32U;
constexpr std::uint64_t kAmdMicrocode = 0x0100'0065;

/// Registers without a name in x86/msr.h are what firmware and kernels of the processors we claim to be look at.
constexpr auto kRows = std::to_array<MsrRow>({
    {0x0, 2, nullptr, constant<0>, ignore},  // P5_MC_ADDR, P5_MC_TYPE
    {index::kTsc, 1, nullptr, read_tsc, write_tsc, kYes},
    {index::kKvmWallClock, 1, has<kKvmClockOld>, member<&MsrFile::kvm_wall_clock>, write_wall_clock},
    {index::kKvmSystemTime, 1, has<kKvmClockOld>, member<&MsrFile::kvm_system_time>, write_system_time},
    {index::kPlatformId, 1, nullptr, constant<0>, nullptr},
    {index::kApicBase, 1, has<x86::feature::kApic>, read_apic_base, write_apic_base},
    {0x2a, 1, nullptr, constant<0>, ignore},  // MSR_EBL_CR_POWERON
    {index::kSmiCount, 1, nullptr, constant<0>, nullptr},
    {index::kFeatureControl, 1, nullptr, constant<index::kFeatureControlLocked>, nullptr},
    {index::kTscAdjust, 1, has<kTscAdjust>, member<&MsrFile::tsc_adjust>, write_tsc_adjust, kYes},
    {index::kSpecCtrl, 1, has_spec_ctrl, member<&MsrFile::spec_ctrl>, write_spec_ctrl, kYes},
    {index::kPredCmd, 1, has_pred_cmd, nullptr, write_command},
    {index::kBiosUpdateTrigger, 1, nullptr, nullptr, ignore},
    {index::kBiosSignId, 1, nullptr, constant<kIntelMicrocode>, ignore},
    {index::kPmc0, 2, nullptr, constant<0>, ignore},  // P6's
    {0xcd, 1, nullptr, constant<3>, nullptr},         // MSR_FSB_FREQ
    {0xce, 1, nullptr, constant<0>, nullptr},         // MSR_PLATFORM_INFO
    {index::kCoreCapabilities, 1, has<kCoreCapability>, member<&MsrFile::core_capabilities>,
     set_by_host<&MsrFile::core_capabilities>, kYes},
    {index::kMtrrCap, 1, has<kMtrr>, constant<kMtrrCapabilities>, nullptr},
    {index::kArchCapabilities, 1, has<kArchCapabilities>, member<&MsrFile::arch_capabilities>,
     set_by_host<&MsrFile::arch_capabilities>, kYes},
    {index::kFlushCmd, 1, has<kFlushL1d>, nullptr, write_command},
    {0x119, 1, nullptr, constant<0>, ignore},            // BBL_CR_CTL
    {0x11e, 1, nullptr, constant<0xbe70'2111>, ignore},  // BBL_CR_CTL3
    {index::kSysenterCs, 1, has<kSysenter>, member<&MsrFile::sysenter_cs>, set_member<&MsrFile::sysenter_cs>, kYes},
    {index::kSysenterEsp, 1, has<kSysenter>, member<&MsrFile::sysenter_esp>, set_canonical<&MsrFile::sysenter_esp>,
     kYes},
    {index::kSysenterEip, 1, has<kSysenter>, member<&MsrFile::sysenter_eip>, set_canonical<&MsrFile::sysenter_eip>,
     kYes},
    {index::kMcgCap, 1, has<kMachineCheck>, constant<kMachineCheckCapabilities>, nullptr},
    {index::kMcgStatus, 1, has<kMachineCheck>, member<&MsrFile::mcg_status>, write_mcg_status, kYes},
    {index::kMcgCtl, 1, has<kMachineCheck>, member<&MsrFile::mcg_ctl>, write_mcg_ctl, kYes},
    {index::kPerfEvtSel0, 2, nullptr, constant<0>, ignore},  // P6's
    {index::kPerfStatus, 1, nullptr, constant<1000 | std::uint64_t{4} << 40U>, ignore},
    {index::kMiscEnable, 1, nullptr, member<&MsrFile::misc_enable>, set_low_half<&MsrFile::misc_enable>, kYes},
    {index::kDebugCtl, 1, nullptr, constant<0>, write_debug_ctl},
    {index::kLastBranchFromIp, 4, nullptr, constant<0>, nullptr},  // and to, and those of the last exception
    {index::kMtrrPhysBase0, 2 * index::kMtrrVariableCount, has<kMtrr>, read_mtrr_variable, write_mtrr_variable, kYes},
    {index::kMtrrFix64K00000, 1, has<kMtrr>, read_mtrr_fixed<0>, write_mtrr_fixed<0>, kYes},
    {index::kMtrrFix16K80000, 2, has<kMtrr>, read_mtrr_fixed<1>, write_mtrr_fixed<1>, kYes},
    {index::kMtrrFix4KC0000, 8, has<kMtrr>, read_mtrr_fixed<3>, write_mtrr_fixed<3>, kYes},
    {index::kPat, 1, has<kPat>, member<&MsrFile::pat>, write_pat, kYes},
    {index::kMtrrDefType, 1, has<kMtrr>, member<&MsrFile::mtrr_def_type>, write_mtrr_def_type, kYes},
    {index::kPerfCapabilities, 1, has<x86::feature::kPdcm>, member<&MsrFile::perf_capabilities>,
     set_by_host<&MsrFile::perf_capabilities>, kYes},
    {index::kMc0Ctl, 4 * index::kMcBankCount, has<kMachineCheck>, read_machine_check_bank, write_machine_check_bank,
     kYes},
    {index::kXss, 1, has<x86::feature::kXsaves>, member<&MsrFile::xss>, write_xss, kYes},
    {index::kKvmWallClockNew, 1, has<kKvmClock>, member<&MsrFile::kvm_wall_clock>, write_wall_clock, kYes},
    {index::kKvmSystemTimeNew, 1, has<kKvmClock>, member<&MsrFile::kvm_system_time>, write_system_time, kYes},
    {index::kEfer, 1, nullptr, read_efer, write_efer_msr},
    {index::kStar, 1, has<kSyscall>, member<&MsrFile::star>, set_member<&MsrFile::star>, kYes},
    {index::kLstar, 1, has<x86::feature::kLm>, member<&MsrFile::lstar>, set_canonical<&MsrFile::lstar>, kYes},
    {index::kCstar, 1, has<x86::feature::kLm>, member<&MsrFile::cstar>, set_canonical<&MsrFile::cstar>, kYes},
    {index::kSfmask, 1, has<kSyscall>, member<&MsrFile::sfmask>, set_low_half<&MsrFile::sfmask>, kYes},
    {index::kFsBase, 1, has<x86::feature::kLm>, read_base<x86::kFs>, write_base<x86::kFs>},
    {index::kGsBase, 1, has<x86::feature::kLm>, read_base<x86::kGs>, write_base<x86::kGs>},
    {index::kKernelGsBase, 1, has<x86::feature::kLm>, member<&MsrFile::kernel_gs_base>,
     set_canonical<&MsrFile::kernel_gs_base>, kYes},
    {index::kTscAux, 1, has_tsc_aux, member<&MsrFile::tsc_aux>, set_low_half<&MsrFile::tsc_aux>, kYes},
    {0xc001'0000, 8, nullptr, constant<0>, ignore},  // PERF_CTL0-3, PERF_CTR0-3
    {index::kAmdSyscfg, 1, nullptr, constant<0>, ignore},
    {index::kAmdHwcr, 1, nullptr, read_hwcr, write_hwcr, kYes},
    {0xc001'001a, 1, nullptr, constant<0>, ignore},  // TOP_MEM
    {0xc001'001d, 1, nullptr, constant<0>, ignore},  // TOP_MEM2
    {0xc001'001f, 1, nullptr, constant<0>, ignore},  // NB_CFG1
    {0xc001'0020, 1, nullptr, nullptr, ignore},      // PATCH_LOADER
    {0xc001'0055, 1, nullptr, constant<0>, ignore},  // INTPEND
    {0xc001'0058, 1, nullptr, constant<0>, ignore},  // MMIO_CFG_BASE_ADDR
    {index::kAmdPatchLevel, 1, nullptr, constant<kAmdMicrocode>, nullptr},
    {0xc001'0112, 2, nullptr, constant<0>, ignore},                  // SMM_ADDR, SMM_MASK
    {index::kAmdOsvwIdLength, 2, has<kOsvw>, constant<0>, nullptr},  // and OSVW_STATUS
    {index::kAmdLsCfg, 1, nullptr, constant<0>, ignore},
    {0xc001'1022, 1, nullptr, constant<0>, ignore},       // DC_CFG
    {index::kAmdDeCfg, 1, nullptr, constant<2>, ignore},  // LFENCE waits
    {0xc001'102a, 1, nullptr, constant<0>, ignore},       // BU_CFG2
});
static_assert(std::ranges::is_sorted(kRows, {}, &MsrRow::first));

const MsrRow* find(const Cpu& cpu, std::uint32_t wanted) {
  const auto* next = std::ranges::upper_bound(kRows, wanted, {}, &MsrRow::first);
  if (next == kRows.begin()) return nullptr;
  const MsrRow& row = *std::prev(next);
  if (wanted - row.first >= row.count) return nullptr;
  return row.exists == nullptr || row.exists(cpu) ? &row : nullptr;
}

}  // namespace

MsrStatus read_msr(const Cpu& cpu, std::uint32_t index, std::uint64_t& value) {
  const MsrRow* row = find(cpu, index);
  if (row == nullptr) return MsrStatus::kUnknown;
  if (row->read == nullptr) return MsrStatus::kFault;
  value = row->read(cpu, index - row->first);
  return MsrStatus::kDone;
}

MsrStatus write_msr(Cpu& cpu, std::uint32_t index, std::uint64_t value, MsrWriter writer) {
  const MsrRow* row = find(cpu, index);
  if (row == nullptr) return MsrStatus::kUnknown;
  if (row->write == nullptr || !row->write(cpu, index - row->first, value, writer)) return MsrStatus::kFault;
  return MsrStatus::kDone;
}

std::vector<std::uint32_t> saved_msr_indexes() {
  std::vector<std::uint32_t> indexes;
  for (const MsrRow& row : kRows)
    for (std::uint32_t i = 0; row.saved == Saved::kYes && i < row.count; ++i) indexes.push_back(row.first + i);
  return indexes;
}

}  // namespace doppel::accel::soft
