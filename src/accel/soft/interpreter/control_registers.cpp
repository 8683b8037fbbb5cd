#include "accel/soft/interpreter/control_registers.h"

#include <array>
#include <string_view>
#include <utility>

#include "accel/soft/interpreter/paging.h"
#include "x86/descriptor.h"

namespace doppel::accel::soft {

namespace {

using namespace x86;

/// What is left of the 32 low bits of CR0 are reserved bits, which ignore writes.
constexpr std::uint64_t kCr0Bits = cr0::kPe | cr0::kMp | cr0::kEm | cr0::kTs | cr0::kEt | cr0::kNe | cr0::kWp |
                                   cr0::kAm | cr0::kNw | cr0::kCd | cr0::kPg;
constexpr std::uint64_t kHighHalf = ~std::uint64_t{0xffff'ffff};

struct FeatureGate {
  std::uint64_t bits;
  std::string_view feature;
};

constexpr std::array kCr4Gates = {
    FeatureGate{cr4::kVme | cr4::kPvi, "vme"},
    FeatureGate{cr4::kTsd, "tsc"},
    FeatureGate{cr4::kDe, "de"},
    FeatureGate{cr4::kPse, "pse"},
    FeatureGate{cr4::kPae, "pae"},
    FeatureGate{cr4::kMce, "mce"},
    FeatureGate{cr4::kPge, "pge"},
    FeatureGate{cr4::kOsfxsr, "fxsr"},
    FeatureGate{cr4::kOsxmmexcpt, "sse"},
    FeatureGate{cr4::kUmip, "umip"},
    FeatureGate{cr4::kLa57, "la57"},
    FeatureGate{cr4::kFsgsbase, "fsgsbase"},
    FeatureGate{cr4::kPcide, "pcid"},
    FeatureGate{cr4::kOsxsave, "xsave"},
    FeatureGate{cr4::kSmep, "smep"},
    FeatureGate{cr4::kSmap, "smap"},
    FeatureGate{cr4::kPke, "pku"},
};

constexpr std::array kEferGates = {
    FeatureGate{efer::kSce, "syscall"},
    FeatureGate{efer::kLme | efer::kLma, "lm"},
    FeatureGate{efer::kNxe, "nx"},
    FeatureGate{efer::kFfxsr, "fxsr-opt"},
};

/// GATES with their features looked up.
template <std::size_t kSize>
auto resolve(const std::array<FeatureGate, kSize>& gates) {
  std::array<std::pair<std::uint64_t, FeatureBit>, kSize> resolved;
  for (std::size_t i = 0; i < kSize; ++i) resolved[i] = {gates[i].bits, find_feature(gates[i].feature)->bit};
  return resolved;
}

template <std::size_t kSize>
std::uint64_t bits_of(const std::array<std::pair<std::uint64_t, FeatureBit>, kSize>& gates,
                      const FeatureSet& features) {
  std::uint64_t bits = 0;
  for (const auto& [gated, feature] : gates)
    if (features.has(feature)) bits |= gated;
  return bits;
}

bool is_16bit_tss(const Segment& tr) {
  return tr.type == kTss16Available || tr.type == kTss16Busy;
}

bool uses_pae_paging(std::uint64_t cr0_value, std::uint64_t cr4_value, std::uint64_t efer_value) {
  return (cr0_value & cr0::kPg) != 0 && (cr4_value & cr4::kPae) != 0 && (efer_value & efer::kLma) == 0;
}

/// Takes over new control registers, with PAE paging's page-directory pointers where RELOAD asks for them; #GP if those
/// have reserved bits set (SDM 3A 4.4.1).
void commit(Cpu& cpu, std::uint64_t cr0_value, std::uint64_t cr3_value, std::uint64_t cr4_value,
            std::uint64_t efer_value, bool reload) {
  const auto before = std::array{cpu.cr0, cpu.cr3, cpu.cr4, cpu.efer};
  cpu.cr0 = cr0_value;
  cpu.cr3 = cr3_value;
  cpu.cr4 = cr4_value;
  cpu.efer = efer_value;
  if (!reload || load_pdptes(cpu)) return;
  cpu.cr0 = before[0];
  cpu.cr3 = before[1];
  cpu.cr4 = before[2];
  cpu.efer = before[3];
  raise_gp();
}

}  // namespace

std::uint64_t cr4_bits(const FeatureSet& features) {
  static const auto kGates = resolve(kCr4Gates);
  return bits_of(kGates, features) | cr4::kPce;
}

std::uint64_t efer_bits(const FeatureSet& features) {
  static const auto kGates = resolve(kEferGates);
  return bits_of(kGates, features);
}

void write_cr0(Cpu& cpu, std::uint64_t value) {
  if ((value & kHighHalf) != 0) raise_gp();
  value = (value & kCr0Bits) | cr0::kEt;
  if ((value & cr0::kPg) != 0 && (value & cr0::kPe) == 0) raise_gp();
  if ((value & cr0::kNw) != 0 && (value & cr0::kCd) == 0) raise_gp();
  const std::uint64_t changed = cpu.cr0 ^ value;
  std::uint64_t new_efer = cpu.efer;
  if ((changed & cr0::kPg) != 0 && (value & cr0::kPg) != 0 && (cpu.efer & efer::kLme) != 0) {
    if ((cpu.cr4 & cr4::kPae) == 0 || cpu.segment[kCs].long_mode || is_16bit_tss(cpu.tr)) raise_gp();
    new_efer |= efer::kLma;
  }
  if ((changed & cr0::kPg) != 0 && (value & cr0::kPg) == 0) {
    if (cpu.code_mode == CodeMode::kLong64 || (cpu.cr4 & cr4::kPcide) != 0) raise_gp();
    new_efer &= ~efer::kLma;
  }
  const bool reload = uses_pae_paging(value, cpu.cr4, new_efer) && (changed & (cr0::kPg | cr0::kCd | cr0::kNw)) != 0;
  commit(cpu, value, cpu.cr3, cpu.cr4, new_efer, reload);
  if ((changed & (cr0::kPg | cr0::kWp | cr0::kPe)) != 0) cpu.tlb.flush_all();
  // Protected mode begins at CPL 0, whatever real mode's segment registers were left with.
  if ((changed & value & cr0::kPe) != 0) cpu.segment[kSs].dpl = cpu.segment[kCs].dpl = 0;
  cpu.update_mode();
  cpu.leave_block = true;
}

void write_cr3(Cpu& cpu, std::uint64_t value) {
  const bool keep = (cpu.cr4 & cr4::kPcide) != 0 && (value & cr3::kNoFlush) != 0;
  if (keep) value &= ~cr3::kNoFlush;
  if (cpu.long_mode && (value & ~low_mask(cpu.phys_bits)) != 0) raise_gp();
  commit(cpu, cpu.cr0, value, cpu.cr4, cpu.efer, uses_pae_paging(cpu.cr0, cpu.cr4, cpu.efer));
  cpu.tlb.enter_space(cpu.pcid(), keep);
  cpu.leave_block = true;
}

void write_cr4(Cpu& cpu, std::uint64_t value) {
  constexpr std::uint64_t kRightsAndFormat =
      cr4::kPae | cr4::kPse | cr4::kPge | cr4::kSmep | cr4::kSmap | cr4::kPke | cr4::kPcide | cr4::kLa57;
  constexpr std::uint64_t kReloading = cr4::kPae | cr4::kPge | cr4::kPse | cr4::kSmep;
  if ((value & ~cr4_bits(cpu.features)) != 0) raise_gp();
  const std::uint64_t changed = cpu.cr4 ^ value;
  if (cpu.long_mode && ((value & cr4::kPae) == 0 || (changed & cr4::kLa57) != 0)) raise_gp();
  if ((changed & value & cr4::kPcide) != 0 && (!cpu.long_mode || (cpu.cr3 & cr3::kPcidMask) != 0)) raise_gp();
  const bool reload = uses_pae_paging(cpu.cr0, value, cpu.efer) && (changed & kReloading) != 0;
  commit(cpu, cpu.cr0, cpu.cr3, value, cpu.efer, reload);
  if ((changed & kRightsAndFormat) != 0) cpu.tlb.flush_all();
  cpu.update_mode();
  cpu.leave_block = true;
}

void write_cr8(Cpu& cpu, std::uint64_t value) {
  constexpr std::uint64_t kPriorities = 0xf;
  if (value > kPriorities) raise_gp();
  if (value < cpu.cr8) cpu.stop = StopReason::kTprLowered;
  cpu.cr8 = value;
  cpu.leave_block = true;
}

bool write_efer(Cpu& cpu, std::uint64_t value) {
  if ((value & ~efer_bits(cpu.features)) != 0) return false;
  const std::uint64_t changed = cpu.efer ^ value;
  if ((changed & efer::kLme) != 0 && cpu.paging()) return false;
  cpu.efer = (value & ~efer::kLma) | (cpu.efer & efer::kLma);
  if ((changed & efer::kNxe) != 0) cpu.tlb.flush_all();
  cpu.leave_block = true;
  return true;
}

std::uint64_t dr6_with_fixed_bits(std::uint64_t value) {
  constexpr std::uint64_t kWritable = dr6::kTriggered | dr6::kBd | dr6::kBs | dr6::kBt;
  return (value & kWritable) | dr6::kReset;
}

std::uint64_t dr7_with_fixed_bits(std::uint64_t value) {
  constexpr std::uint64_t kConditions = 0xffff'0000;
  return (value & (dr7::kEnables | dr7::kLe | dr7::kGe | dr7::kGd | kConditions)) | dr7::kReset;
}

std::uint64_t read_debug_register(const Cpu& cpu, unsigned n) {
  return n < cpu.dr.size() ? cpu.dr.at(n) : (n & 1U) == 0 ? cpu.dr6 : cpu.dr7;
}

void write_debug_register(Cpu& cpu, unsigned n, std::uint64_t value) {
  if (n < cpu.dr.size()) {
    cpu.dr.at(n) = value;
  } else {
    if ((value & kHighHalf) != 0) raise_gp();
    if ((n & 1U) == 0)
      cpu.dr6 = dr6_with_fixed_bits(value);
    else
      cpu.dr7 = dr7_with_fixed_bits(value);
  }
  if (n != 4 && n != 6) breakpoints_changed(cpu);
  cpu.leave_block = true;
}

bool is_consistent(const FeatureSet& features, unsigned phys_bits, std::uint64_t cr0_value, std::uint64_t cr3_value,
                   std::uint64_t cr4_value, std::uint64_t efer_value) {
  const bool pe = (cr0_value & cr0::kPe) != 0;
  const bool pg = (cr0_value & cr0::kPg) != 0;
  const bool lme = (efer_value & efer::kLme) != 0;
  const bool lma = (efer_value & efer::kLma) != 0;
  if ((cr0_value & kHighHalf) != 0 || (pg && !pe)) return false;
  if ((cr0_value & cr0::kNw) != 0 && (cr0_value & cr0::kCd) == 0) return false;
  if ((cr4_value & ~cr4_bits(features)) != 0 || (efer_value & ~efer_bits(features)) != 0) return false;
  if (lma != (lme && pg)) return false;
  if (lma && ((cr4_value & cr4::kPae) == 0 || (cr3_value & ~low_mask(phys_bits)) != 0)) return false;
  return lma || (cr4_value & cr4::kPcide) == 0;
}

}  // namespace doppel::accel::soft
