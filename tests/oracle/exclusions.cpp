#include "exclusions.h"

#include <algorithm>
#include <array>

namespace doppel::oracle {

namespace {

constexpr const char* kNotOfState = "its result is no function of the processor state that is compared";
constexpr const char* kHypervisor = "a hypervisor or firmware under the host may answer it";
constexpr const char* kKernel = "the host's kernel answers it (traps, system calls, emulation under UMIP)";
constexpr const char* kSegments = "would change the host program's own segments, or depends on the kernel's tables";
constexpr const char* kLayout = "its memory image follows the guest's CPUID; the unit tests have it";
constexpr const char* kWaits = "waits for an event";
constexpr const char* kMicroarchitecture = "changes nothing that is compared, by design";

struct ExcludedMnemonic {
  ZydisMnemonic mnemonic;
  const char* reason;
};
constexpr std::array kMnemonics = {
    ExcludedMnemonic{ZYDIS_MNEMONIC_RDTSC, kNotOfState},
    ExcludedMnemonic{ZYDIS_MNEMONIC_CPUID, kNotOfState},
    ExcludedMnemonic{ZYDIS_MNEMONIC_SYSCALL, kKernel},
    ExcludedMnemonic{ZYDIS_MNEMONIC_SYSENTER, kKernel},
    ExcludedMnemonic{ZYDIS_MNEMONIC_SYSEXIT, kKernel},
    ExcludedMnemonic{ZYDIS_MNEMONIC_SYSRET, kKernel},
    ExcludedMnemonic{ZYDIS_MNEMONIC_INT, kKernel},
    ExcludedMnemonic{ZYDIS_MNEMONIC_INT1, kKernel},
    ExcludedMnemonic{ZYDIS_MNEMONIC_INT3, kKernel},
    ExcludedMnemonic{ZYDIS_MNEMONIC_SGDT, kKernel},
    ExcludedMnemonic{ZYDIS_MNEMONIC_SIDT, kKernel},
    ExcludedMnemonic{ZYDIS_MNEMONIC_SLDT, kKernel},
    ExcludedMnemonic{ZYDIS_MNEMONIC_SMSW, kKernel},
    ExcludedMnemonic{ZYDIS_MNEMONIC_STR, kKernel},
    ExcludedMnemonic{ZYDIS_MNEMONIC_IRET, kSegments},
    ExcludedMnemonic{ZYDIS_MNEMONIC_IRETD, kSegments},
    ExcludedMnemonic{ZYDIS_MNEMONIC_IRETQ, kSegments},
    ExcludedMnemonic{ZYDIS_MNEMONIC_LFS, kSegments},
    ExcludedMnemonic{ZYDIS_MNEMONIC_LGS, kSegments},
    ExcludedMnemonic{ZYDIS_MNEMONIC_LSS, kSegments},
    ExcludedMnemonic{ZYDIS_MNEMONIC_LAR, kSegments},
    ExcludedMnemonic{ZYDIS_MNEMONIC_LSL, kSegments},
    ExcludedMnemonic{ZYDIS_MNEMONIC_VERR, kSegments},
    ExcludedMnemonic{ZYDIS_MNEMONIC_VERW, kSegments},
    ExcludedMnemonic{ZYDIS_MNEMONIC_UD0, "its length differs between processors (SDM 2B, UD)"},
    ExcludedMnemonic{ZYDIS_MNEMONIC_PAUSE, kMicroarchitecture},
};

struct ExcludedSet {
  ZydisISASet set;
  const char* reason;
};
constexpr std::array kSets = {
    ExcludedSet{ZYDIS_ISA_SET_VTX, kHypervisor},
    ExcludedSet{ZYDIS_ISA_SET_VMFUNC, kHypervisor},
    ExcludedSet{ZYDIS_ISA_SET_SVM, kHypervisor},
    ExcludedSet{ZYDIS_ISA_SET_SNP, kHypervisor},
    ExcludedSet{ZYDIS_ISA_SET_TDX, kHypervisor},
    ExcludedSet{ZYDIS_ISA_SET_SMX, kHypervisor},
    ExcludedSet{ZYDIS_ISA_SET_SGX, kHypervisor},
    ExcludedSet{ZYDIS_ISA_SET_SGX_ENCLV, kHypervisor},
    ExcludedSet{ZYDIS_ISA_SET_PCONFIG, kHypervisor},
    ExcludedSet{ZYDIS_ISA_SET_AMD_INVLPGB, kHypervisor},
    ExcludedSet{ZYDIS_ISA_SET_MCOMMIT, kHypervisor},
    ExcludedSet{ZYDIS_ISA_SET_HRESET, kHypervisor},
    ExcludedSet{ZYDIS_ISA_SET_RDPMC, kHypervisor},
    ExcludedSet{ZYDIS_ISA_SET_RDRAND, kNotOfState},
    ExcludedSet{ZYDIS_ISA_SET_RDSEED, kNotOfState},
    ExcludedSet{ZYDIS_ISA_SET_RDPID, kNotOfState},
    ExcludedSet{ZYDIS_ISA_SET_RDTSCP, kNotOfState},
    ExcludedSet{ZYDIS_ISA_SET_RDPRU, kNotOfState},
    ExcludedSet{ZYDIS_ISA_SET_RTM, kNotOfState},
    ExcludedSet{ZYDIS_ISA_SET_RDWRFSGS, kSegments},
    ExcludedSet{ZYDIS_ISA_SET_MONITOR, kWaits},
    ExcludedSet{ZYDIS_ISA_SET_MONITORX, kWaits},
    ExcludedSet{ZYDIS_ISA_SET_WAITPKG, kWaits},
    ExcludedSet{ZYDIS_ISA_SET_UINTR, kKernel},
    ExcludedSet{ZYDIS_ISA_SET_XSAVE, kLayout},
    ExcludedSet{ZYDIS_ISA_SET_XSAVEC, kLayout},
    ExcludedSet{ZYDIS_ISA_SET_XSAVEOPT, kLayout},
    ExcludedSet{ZYDIS_ISA_SET_XSAVES, kLayout},
    ExcludedSet{ZYDIS_ISA_SET_PADLOCK_ACE, "VIA's, which shares encodings with other instructions"},
    ExcludedSet{ZYDIS_ISA_SET_PADLOCK_PHE, "VIA's, which shares encodings with other instructions"},
    ExcludedSet{ZYDIS_ISA_SET_PADLOCK_PMM, "VIA's, which shares encodings with other instructions"},
    ExcludedSet{ZYDIS_ISA_SET_PADLOCK_RNG, "VIA's, which shares encodings with other instructions"},
    ExcludedSet{ZYDIS_ISA_SET_PKU, "the host's kernel decides about CR4.PKE"},
    ExcludedSet{ZYDIS_ISA_SET_CET, "the host's kernel decides about CR4.CET"},
    ExcludedSet{ZYDIS_ISA_SET_KEYLOCKER, "the host's kernel decides about CR4.KL"},
    ExcludedSet{ZYDIS_ISA_SET_KEYLOCKER_WIDE, "the host's kernel decides about CR4.KL"},
};

bool writes_segment_register(const ZydisDecodedInstruction& instruction) {
  // MOV Sreg, r/m (8E) and POP FS, POP GS (0F A1, A9).
  if (instruction.mnemonic == ZYDIS_MNEMONIC_MOV && instruction.opcode_map == ZYDIS_OPCODE_MAP_DEFAULT)
    return instruction.opcode == 0x8e;
  return instruction.mnemonic == ZYDIS_MNEMONIC_POP && instruction.opcode_map == ZYDIS_OPCODE_MAP_0F;
}

bool is_near_branch(const ZydisDecodedInstruction& instruction) {
  return instruction.meta.branch_type == ZYDIS_BRANCH_TYPE_NEAR ||
         instruction.meta.branch_type == ZYDIS_BRANCH_TYPE_SHORT;
}

bool is_loop(const ZydisDecodedInstruction& instruction) {
  return instruction.mnemonic == ZYDIS_MNEMONIC_LOOP || instruction.mnemonic == ZYDIS_MNEMONIC_LOOPE ||
         instruction.mnemonic == ZYDIS_MNEMONIC_LOOPNE;
}

bool has_repeat_prefix(const ZydisDecodedInstruction& instruction) {
  for (unsigned i = 0; i < instruction.raw.prefix_count; ++i)
    if (instruction.raw.prefixes[i].value == 0xf2 || instruction.raw.prefixes[i].value == 0xf3) return true;
  return false;
}

}  // namespace

const char* why_excluded(const ZydisDecodedInstruction& instruction) {
  const auto mnemonic = std::ranges::find(kMnemonics, instruction.mnemonic, &ExcludedMnemonic::mnemonic);
  if (mnemonic != kMnemonics.end()) return mnemonic->reason;
  const auto set = std::ranges::find(kSets, instruction.meta.isa_set, &ExcludedSet::set);
  if (set != kSets.end()) return set->reason;
  if (instruction.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR || writes_segment_register(instruction)) return kSegments;
  if (is_near_branch(instruction) && (instruction.attributes & ZYDIS_ATTRIB_HAS_OPERANDSIZE) != 0)
    return "a near branch with a 16-bit operand in 64-bit mode: Intel ignores the prefix, AMD does not (SDM 2A, JMP; "
           "APM 3, JMP Near)";
  if (is_loop(instruction) && has_repeat_prefix(instruction))
    return "a repeat prefix before LOOPcc: unpredictable (SDM 2A 2.1.1); AMD takes it for the condition";
  if (instruction.mnemonic == ZYDIS_MNEMONIC_CLZERO && has_repeat_prefix(instruction))
    return "a repeat prefix before CLZERO: AMD's processors differ";
  if (instruction.meta.isa_set == ZYDIS_ISA_SET_PREFETCH_NOP && instruction.raw.modrm.mod == 3)
    return "0F 0D with a register: reserved NOP with Intel, #UD with AMD (SDM 2D table A-3; APM 3, PREFETCH)";
  return nullptr;
}

}  // namespace doppel::oracle
