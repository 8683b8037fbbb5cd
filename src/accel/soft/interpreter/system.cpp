// System instructions (SDM 1 5.20; 2A to 2C by name): control and debug registers, the TLB, CPUID, MSRs, waiting,
// caches.
#include <algorithm>
#include <array>

#include "accel/soft/interpreter/control_registers.h"
#include "accel/soft/interpreter/cpuid.h"
#include "accel/soft/interpreter/debug.h"
#include "accel/soft/interpreter/guest_clock.h"
#include "accel/soft/interpreter/msrs.h"
#include "accel/soft/interpreter/operation.h"
#include "accel/soft/interpreter/register_offset.h"

namespace doppel::accel::soft {

namespace {

using x86::FeatureBit;
using x86::FeatureWord;

void require_cpl0(const Cpu& cpu) {
  if (cpu.cpl != 0) raise_gp();
}

/// MOV to and from CR and DR, INVPCID: 64 bits in 64-bit mode, else 32, whatever prefixes say.
std::uint64_t get_wide(const Cpu& cpu, RegisterOffset reg) {
  return cpu.code_mode == CodeMode::kLong64 ? cpu.get<std::uint64_t>(reg) : cpu.get<std::uint32_t>(reg);
}
void set_wide(Cpu& cpu, RegisterOffset reg, std::uint64_t value) {
  if (cpu.code_mode == CodeMode::kLong64)
    cpu.set<std::uint64_t>(reg, value);
  else
    cpu.set<std::uint32_t>(reg, static_cast<std::uint32_t>(value));
}

/// EDX:EAX.
std::uint64_t get_pair(const Cpu& cpu) {
  return std::uint64_t{cpu.get<std::uint32_t>(kData)} << 32U | cpu.get<std::uint32_t>(kAccumulator);
}
void set_pair(Cpu& cpu, std::uint64_t value) {
  cpu.set<std::uint32_t>(kAccumulator, static_cast<std::uint32_t>(value));
  cpu.set<std::uint32_t>(kData, static_cast<std::uint32_t>(value >> 32U));
}

/// The linear address of a memory operand whose segment limit and rights do not matter.
std::uint64_t unchecked_linear(const Cpu& cpu, const Instruction& i) {
  const std::uint64_t sum = cpu.view[i.segment].base + cpu.effective_address(i);
  return cpu.code_mode == CodeMode::kLong64 ? sum : sum & 0xffff'ffffU;
}

void undefined(Cpu&, const Instruction&) {
  raise_ud();
}
void nothing(Cpu&, const Instruction&) {}
void privileged_nothing(Cpu& cpu, const Instruction&) {
  require_cpl0(cpu);
}

// --- Control registers; EXTRA is the number ---

template <std::uint64_t Cpu::* kRegister>
void mov_from_cr(Cpu& cpu, const Instruction& i) {
  require_cpl0(cpu);
  set_wide(cpu, i.rm, cpu.*kRegister);
}
void mov_to_cr0(Cpu& cpu, const Instruction& i) {
  require_cpl0(cpu);
  write_cr0(cpu, get_wide(cpu, i.rm));
}
void mov_to_cr2(Cpu& cpu, const Instruction& i) {
  require_cpl0(cpu);
  cpu.cr2 = get_wide(cpu, i.rm);
}
void mov_to_cr3(Cpu& cpu, const Instruction& i) {
  require_cpl0(cpu);
  write_cr3(cpu, get_wide(cpu, i.rm));
}
void mov_to_cr4(Cpu& cpu, const Instruction& i) {
  require_cpl0(cpu);
  write_cr4(cpu, get_wide(cpu, i.rm));
}
void mov_to_cr8(Cpu& cpu, const Instruction& i) {
  require_cpl0(cpu);
  write_cr8(cpu, get_wide(cpu, i.rm));
}

Handler select_control(unsigned number, bool to) {
  switch (number) {
    case 0: return to ? mov_to_cr0 : mov_from_cr<&Cpu::cr0>;
    case 2: return to ? mov_to_cr2 : mov_from_cr<&Cpu::cr2>;
    case 3: return to ? mov_to_cr3 : mov_from_cr<&Cpu::cr3>;
    case 4: return to ? mov_to_cr4 : mov_from_cr<&Cpu::cr4>;
    case 8: return to ? mov_to_cr8 : mov_from_cr<&Cpu::cr8>;
    default: return undefined;
  }
}

/// Order of faults: #UD, #GP, then general detect (SDM 3B 18.2.2, 18.2.4).
void check_debug_register(Cpu& cpu, unsigned number) {
  if ((number == 4 || number == 5) && (cpu.cr4 & x86::cr4::kDe) != 0) raise_ud();
  require_cpl0(cpu);
  if ((cpu.dr7 & x86::dr7::kGd) == 0) return;
  record_debug_exception(cpu, x86::dr6::kBd);
  raise(x86::kDebug);
}
void mov_from_dr(Cpu& cpu, const Instruction& i) {
  check_debug_register(cpu, i.extra);
  set_wide(cpu, i.rm, read_debug_register(cpu, i.extra));
}
void mov_to_dr(Cpu& cpu, const Instruction& i) {
  check_debug_register(cpu, i.extra);
  write_debug_register(cpu, i.extra, get_wide(cpu, i.rm));
}

/// Null for MOV of other registers.
Handler select_mov(const Decoded& decoded, Instruction& instruction) {
  for (unsigned n = 0; n < 2; ++n) {
    if (!decoded.is_register(n)) continue;
    const ZydisRegister reg = decoded.operand(n).reg.value;
    const ZydisRegisterClass group = ZydisRegisterGetClass(reg);
    if (group != ZYDIS_REGCLASS_CONTROL && group != ZYDIS_REGCLASS_DEBUG) continue;
    const auto number = static_cast<unsigned>(ZydisRegisterGetId(reg));
    instruction.extra = static_cast<std::uint8_t>(number);
    if (group == ZYDIS_REGCLASS_CONTROL) return select_control(number, n == 0);
    if (number > 7) return undefined;
    return n == 0 ? mov_to_dr : mov_from_dr;
  }
  return nullptr;
}

void clts(Cpu& cpu, const Instruction&) {
  require_cpl0(cpu);
  cpu.cr0 &= ~x86::cr0::kTs;
  cpu.leave_block = true;
}

/// May set CR0.PE, but not clear it.
void load_machine_status_word(Cpu& cpu, std::uint16_t word) {
  constexpr std::uint64_t kBits = x86::cr0::kPe | x86::cr0::kMp | x86::cr0::kEm | x86::cr0::kTs;
  write_cr0(cpu, (cpu.cr0 & (~kBits | x86::cr0::kPe)) | (word & kBits));
}
void lmsw_register(Cpu& cpu, const Instruction& i) {
  require_cpl0(cpu);
  load_machine_status_word(cpu, cpu.get<std::uint16_t>(i.rm));
}
void lmsw_memory(Cpu& cpu, const Instruction& i) {
  require_cpl0(cpu);
  load_machine_status_word(cpu, cpu.load<std::uint16_t>(i.segment, cpu.effective_address(i)));
}
Handler select_lmsw(const Decoded& decoded, Instruction&) {
  return decoded.is_memory(0) ? lmsw_memory : lmsw_register;
}

void check_umip(const Cpu& cpu) {
  if (cpu.cpl != 0 && (cpu.cr4 & x86::cr4::kUmip) != 0) raise_gp();
}
/// A register takes as much of CR0 as it has room for.
template <class T>
void smsw_register(Cpu& cpu, const Instruction& i) {
  check_umip(cpu);
  cpu.set<T>(i.rm, static_cast<T>(cpu.cr0));
}
void smsw_memory(Cpu& cpu, const Instruction& i) {
  check_umip(cpu);
  cpu.store<std::uint16_t>(i.segment, cpu.effective_address(i), static_cast<std::uint16_t>(cpu.cr0));
}
Handler select_smsw(const Decoded& decoded, Instruction&) {
  if (decoded.is_memory(0)) return smsw_memory;
  return BySize{.size2 = smsw_register<std::uint16_t>,
                .size4 = smsw_register<std::uint32_t>,
                .size8 = smsw_register<std::uint64_t>}
      .of(decoded.size(0));
}

// --- The TLB ---

void invlpg(Cpu& cpu, const Instruction& i) {
  require_cpl0(cpu);
  const std::uint64_t linear = unchecked_linear(cpu, i);
  if (!cpu.long_mode || x86::is_canonical(linear, cpu.linear_bits())) cpu.tlb.flush_page(cpu.pcid(), linear);
  cpu.leave_block = true;
}

void invpcid(Cpu& cpu, const Instruction& i) {
  enum Type : std::uint8_t { kAddress, kContext, kAllWithGlobal, kAll };
  require_cpl0(cpu);
  const std::uint64_t type = get_wide(cpu, i.reg);
  const std::uint64_t offset = cpu.effective_address(i);
  const std::uint64_t start = cpu.linear<AccessKind::kRead>(i.segment, offset, 16);
  const auto descriptor = cpu.load_linear<std::uint64_t>(start);
  const auto address = cpu.load<std::uint64_t>(i.segment, (offset + 8) & low_mask(i.address_size * 8U));
  if (type > kAll) raise_gp();
  const std::uint64_t pcid = descriptor & x86::cr3::kPcidMask;
  if (type <= kContext) {
    if (pcid != descriptor) raise_gp();
    if (pcid != 0 && (cpu.cr4 & x86::cr4::kPcide) == 0) raise_gp();
    if (type == kAddress && !x86::is_canonical(address, cpu.has(x86::feature::kLa57) ? 57 : 48)) raise_gp();
  }
  // Flushing too much is allowed.
  switch (static_cast<Type>(type)) {
    case kAddress: cpu.tlb.flush_page(static_cast<Tlb::Pcid>(pcid), address); break;
    case kContext: cpu.tlb.flush_space(static_cast<Tlb::Pcid>(pcid)); break;
    case kAllWithGlobal: cpu.tlb.flush_all(); break;
    case kAll: cpu.tlb.flush_non_global(); break;
  }
  cpu.leave_block = true;
}

// --- Identification and time ---

void cpuid_instruction(Cpu& cpu, const Instruction&) {
  const x86::CpuidEntry row = cpuid(cpu, cpu.get<std::uint32_t>(kAccumulator), cpu.get<std::uint32_t>(kCounter));
  cpu.set<std::uint32_t>(kAccumulator, row.eax);
  cpu.set<std::uint32_t>(kBase, row.ebx);
  cpu.set<std::uint32_t>(kCounter, row.ecx);
  cpu.set<std::uint32_t>(kData, row.edx);
}

void check_tsd(const Cpu& cpu) {
  if (cpu.cpl != 0 && (cpu.cr4 & x86::cr4::kTsd) != 0) raise_gp();
}
void rdtsc(Cpu& cpu, const Instruction&) {
  check_tsd(cpu);
  set_pair(cpu, guest_tsc(cpu));
}
void rdtscp(Cpu& cpu, const Instruction&) {
  check_tsd(cpu);
  set_pair(cpu, guest_tsc(cpu));
  cpu.set<std::uint32_t>(kCounter, static_cast<std::uint32_t>(cpu.msrs.tsc_aux));
}
void rdpid(Cpu& cpu, const Instruction& i) {
  set_wide(cpu, i.rm, cpu.msrs.tsc_aux);
}
/// There are no performance counters, so that no number names one.
void rdpmc(Cpu&, const Instruction&) {
  raise_gp();
}

// --- MSRs ---

/// Does the instruction leave run() for an answer? Null: not any more, here it is not there yet.
const BusAccess* ask_outside(Cpu& cpu, std::uint32_t index, IoDirection direction, std::uint64_t value) {
  const BusAccess* answer = cpu.bus.next({.kind = BusAccess::Kind::kMsr,
                                          .direction = direction,
                                          .address = index,
                                          .size = 8,
                                          .value = value,
                                          .fault = 0,
                                          .count = 0});
  if (answer == nullptr) {
    cpu.rip = cpu.instruction_start;
    cpu.stop = StopReason::kBus;
    cpu.leave_block = true;
  } else if (answer->fault != 0) {
    raise_gp();
  }
  return answer;
}

void rdmsr(Cpu& cpu, const Instruction&) {
  require_cpl0(cpu);
  const auto index = cpu.get<std::uint32_t>(kCounter);
  const MsrExits& exits = cpu.machine.msr_exits;
  std::uint64_t value = 0;
  const MsrStatus status = exits.contains(index) ? MsrStatus::kUnknown : read_msr(cpu, index, value);
  if (status == MsrStatus::kUnknown && (exits.unknown || exits.contains(index))) {
    const BusAccess* answer = ask_outside(cpu, index, IoDirection::kIn, 0);
    if (answer == nullptr) return;
    value = answer->value;
  } else if (status != MsrStatus::kDone) {
    raise_gp();
  }
  set_pair(cpu, value);
}

void wrmsr(Cpu& cpu, const Instruction&) {
  require_cpl0(cpu);
  const auto index = cpu.get<std::uint32_t>(kCounter);
  const MsrExits& exits = cpu.machine.msr_exits;
  const MsrStatus status =
      exits.contains(index) ? MsrStatus::kUnknown : write_msr(cpu, index, get_pair(cpu), MsrWriter::kGuest);
  if (status == MsrStatus::kUnknown && (exits.unknown || exits.contains(index)))
    ask_outside(cpu, index, IoDirection::kOut, get_pair(cpu));
  else if (status != MsrStatus::kDone)
    raise_gp();
}

// --- Waiting ---

void hlt(Cpu& cpu, const Instruction&) {
  require_cpl0(cpu);
  cpu.stop = StopReason::kHalt;
  cpu.leave_block = true;
}

void check_monitor(const Cpu& cpu) {
  if (!cpu.has(x86::feature::kMonitor) || cpu.cpl != 0) raise_ud();
  if (cpu.get<std::uint32_t>(kCounter) != 0) raise_gp();
}
void monitor(Cpu& cpu, const Instruction& i) {
  check_monitor(cpu);
  const std::uint64_t offset = cpu.gpr[x86::kRax] & low_mask(i.address_size * 8U);
  cpu.probe(cpu.linear<AccessKind::kRead>(i.segment, offset, 1), 1, AccessKind::kRead);
}
/// Nobody watches the address: what follows looks at it again at once, which MWAIT allows.
void mwait(Cpu& cpu, const Instruction&) {
  check_monitor(cpu);
}

// --- Supervisor-mode access prevention ---

void set_ac(Cpu& cpu, bool on) {
  constexpr FeatureBit kSmap{FeatureWord::k7Ebx, 1U << 20U};
  if (!cpu.has(kSmap) || cpu.cpl != 0) raise_ud();
  cpu.rflags = on ? cpu.rflags | x86::rflags::kAc : cpu.rflags & ~x86::rflags::kAc;
  const bool prevents = (cpu.cr4 & x86::cr4::kSmap) != 0 && !on;
  cpu.mmu_index = prevents ? MmuIndex::kSupervisor : MmuIndex::kSupervisorAc;
  cpu.leave_block = true;  // translated code is made for one view
}
void clac(Cpu& cpu, const Instruction&) {
  set_ac(cpu, false);
}
void stac(Cpu& cpu, const Instruction&) {
  set_ac(cpu, true);
}

// --- Caches ---

/// CLFLUSH and its like fault as a read of a byte would, and there is no cache to write back.
void flush_line(Cpu& cpu, const Instruction& i) {
  cpu.probe(cpu.linear<AccessKind::kRead>(i.segment, cpu.effective_address(i), 1), 1, AccessKind::kRead);
}
void fence(Cpu&, const Instruction&) {
  std::atomic_thread_fence(std::memory_order_seq_cst);
}

// --- Virtualisation ---

/// KVM's hypercalls, none of which there is, or #UD without KVM's signature.
void hypercall(Cpu& cpu, const Instruction&) {
  constexpr std::uint64_t kNoSuchCall = static_cast<std::uint64_t>(-1000);  // KVM_ENOSYS
  if (cpu.features.word(FeatureWord::kKvmEax) == 0) raise_ud();
  set_wide(cpu, kAccumulator, kNoSuchCall);
}

template <Handler kHandler>
Handler select(const Decoded&, Instruction&) {
  return kHandler;
}

constexpr std::array kRows = {
    OperationRow{ZYDIS_MNEMONIC_MOV, select_mov},
    OperationRow{ZYDIS_MNEMONIC_CLTS, select<clts>},
    OperationRow{ZYDIS_MNEMONIC_LMSW, select_lmsw},
    OperationRow{ZYDIS_MNEMONIC_SMSW, select_smsw},

    OperationRow{ZYDIS_MNEMONIC_INVLPG, select<invlpg>},
    OperationRow{ZYDIS_MNEMONIC_INVPCID, select<invpcid>},

    OperationRow{ZYDIS_MNEMONIC_CPUID, select<cpuid_instruction>},
    OperationRow{ZYDIS_MNEMONIC_RDTSC, select<rdtsc>},
    OperationRow{ZYDIS_MNEMONIC_RDTSCP, select<rdtscp>},
    OperationRow{ZYDIS_MNEMONIC_RDPID, select<rdpid>},
    OperationRow{ZYDIS_MNEMONIC_RDPMC, select<rdpmc>},
    OperationRow{ZYDIS_MNEMONIC_RDMSR, select<rdmsr>},
    OperationRow{ZYDIS_MNEMONIC_WRMSR, select<wrmsr>},

    OperationRow{ZYDIS_MNEMONIC_HLT, select<hlt>},
    OperationRow{ZYDIS_MNEMONIC_MONITOR, select<monitor>},
    OperationRow{ZYDIS_MNEMONIC_MWAIT, select<mwait>},
    OperationRow{ZYDIS_MNEMONIC_CLAC, select<clac>},
    OperationRow{ZYDIS_MNEMONIC_STAC, select<stac>},

    OperationRow{ZYDIS_MNEMONIC_INVD, select<privileged_nothing>},
    OperationRow{ZYDIS_MNEMONIC_WBINVD, select<privileged_nothing>},  // WBNOINVD too
    OperationRow{ZYDIS_MNEMONIC_CLFLUSH, select<flush_line>},
    OperationRow{ZYDIS_MNEMONIC_CLFLUSHOPT, select<flush_line>},
    OperationRow{ZYDIS_MNEMONIC_CLWB, select<flush_line>},
    OperationRow{ZYDIS_MNEMONIC_CLDEMOTE, select<nothing>},
    OperationRow{ZYDIS_MNEMONIC_SERIALIZE, select<fence>},
    OperationRow{ZYDIS_MNEMONIC_MFENCE, select<fence>},
    OperationRow{ZYDIS_MNEMONIC_LFENCE, select<fence>},
    OperationRow{ZYDIS_MNEMONIC_SFENCE, select<fence>},

    OperationRow{ZYDIS_MNEMONIC_VMCALL, select<hypercall>},
    OperationRow{ZYDIS_MNEMONIC_VMMCALL, select<hypercall>},
    OperationRow{ZYDIS_MNEMONIC_VMLAUNCH, select<undefined>},
    OperationRow{ZYDIS_MNEMONIC_VMRESUME, select<undefined>},
    OperationRow{ZYDIS_MNEMONIC_VMXON, select<undefined>},
    OperationRow{ZYDIS_MNEMONIC_VMXOFF, select<undefined>},
    OperationRow{ZYDIS_MNEMONIC_VMCLEAR, select<undefined>},
    OperationRow{ZYDIS_MNEMONIC_VMPTRLD, select<undefined>},
    OperationRow{ZYDIS_MNEMONIC_VMPTRST, select<undefined>},
    OperationRow{ZYDIS_MNEMONIC_VMREAD, select<undefined>},
    OperationRow{ZYDIS_MNEMONIC_VMWRITE, select<undefined>},
    OperationRow{ZYDIS_MNEMONIC_VMFUNC, select<undefined>},
    OperationRow{ZYDIS_MNEMONIC_INVEPT, select<undefined>},
    OperationRow{ZYDIS_MNEMONIC_INVVPID, select<undefined>},
    OperationRow{ZYDIS_MNEMONIC_VMRUN, select<undefined>},
    OperationRow{ZYDIS_MNEMONIC_VMLOAD, select<undefined>},
    OperationRow{ZYDIS_MNEMONIC_VMSAVE, select<undefined>},
    OperationRow{ZYDIS_MNEMONIC_STGI, select<undefined>},
    OperationRow{ZYDIS_MNEMONIC_CLGI, select<undefined>},
    OperationRow{ZYDIS_MNEMONIC_SKINIT, select<undefined>},
    OperationRow{ZYDIS_MNEMONIC_INVLPGA, select<undefined>},
    OperationRow{ZYDIS_MNEMONIC_INVLPGB, select<undefined>},
    OperationRow{ZYDIS_MNEMONIC_TLBSYNC, select<undefined>},
    OperationRow{ZYDIS_MNEMONIC_MONITORX, select<undefined>},
    OperationRow{ZYDIS_MNEMONIC_MWAITX, select<undefined>},
    OperationRow{ZYDIS_MNEMONIC_UMONITOR, select<undefined>},
    OperationRow{ZYDIS_MNEMONIC_UMWAIT, select<undefined>},
    OperationRow{ZYDIS_MNEMONIC_TPAUSE, select<undefined>},
    OperationRow{ZYDIS_MNEMONIC_GETSEC, select<undefined>},
    OperationRow{ZYDIS_MNEMONIC_RSM, select<undefined>},
    OperationRow{ZYDIS_MNEMONIC_ENCLS, select<undefined>},
    OperationRow{ZYDIS_MNEMONIC_ENCLU, select<undefined>},
    OperationRow{ZYDIS_MNEMONIC_ENCLV, select<undefined>},
    OperationRow{ZYDIS_MNEMONIC_PCONFIG, select<undefined>},
    OperationRow{ZYDIS_MNEMONIC_PTWRITE, select<undefined>},
    OperationRow{ZYDIS_MNEMONIC_HRESET, select<undefined>},
    OperationRow{ZYDIS_MNEMONIC_XBEGIN, select<undefined>},
    OperationRow{ZYDIS_MNEMONIC_XEND, select<undefined>},
    OperationRow{ZYDIS_MNEMONIC_XTEST, select<undefined>},
    OperationRow{ZYDIS_MNEMONIC_XABORT, select<undefined>},
};

}  // namespace

std::span<const OperationRow> system_operations() {
  return kRows;
}

}  // namespace doppel::accel::soft
