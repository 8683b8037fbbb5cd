#include "accel/soft/translator/plan.h"

#include <algorithm>
#include <array>
#include <bitset>
#include <ranges>

#include "accel/soft/interpreter/gather.h"
#include "accel/soft/interpreter/native_stub.h"
#include "accel/soft/interpreter/operation.h"
#include "accel/soft/interpreter/stub_execution.h"
#include "accel/soft/translator/long_code.h"
#include "x86/page_table.h"
#include "x86/registers.h"

namespace doppel::accel::soft {

namespace {

using Mnemonics = std::bitset<ZYDIS_MNEMONIC_MAX_VALUE + 1>;

/// Those of the operation tables that work on general registers, flags and one memory operand alone: the host's own
/// instruction does the same.
Mnemonics collect_general() {
  Mnemonics set;
  for (const auto rows : {arithmetic_operations(), multiply_operations(), shift_operations(), bit_operations(),
                          move_operations(), exchange_operations()})
    for (const OperationRow& row : rows) set.set(row.mnemonic);
  for (const ZydisMnemonic mnemonic :
       {ZYDIS_MNEMONIC_LAHF, ZYDIS_MNEMONIC_SAHF, ZYDIS_MNEMONIC_CLC, ZYDIS_MNEMONIC_STC, ZYDIS_MNEMONIC_CMC,
        ZYDIS_MNEMONIC_LFENCE, ZYDIS_MNEMONIC_MFENCE, ZYDIS_MNEMONIC_SFENCE})
    set.set(mnemonic);
  for (const ZydisMnemonic mnemonic : {ZYDIS_MNEMONIC_XLAT, ZYDIS_MNEMONIC_AAA, ZYDIS_MNEMONIC_AAS, ZYDIS_MNEMONIC_AAM,
                                       ZYDIS_MNEMONIC_AAD, ZYDIS_MNEMONIC_DAA, ZYDIS_MNEMONIC_DAS})
    set.reset(mnemonic);
  return set;
}

bool is_general(ZydisMnemonic mnemonic) {
  static const Mnemonics set = collect_general();
  return set[mnemonic];
}

/// Of x87's control instructions, those that the host can carry out on the guest's state.
bool is_x87_control(ZydisMnemonic mnemonic) {
  switch (mnemonic) {
    case ZYDIS_MNEMONIC_FLDCW:
    case ZYDIS_MNEMONIC_FNSTCW:
    case ZYDIS_MNEMONIC_FNSTSW:
    case ZYDIS_MNEMONIC_FNCLEX:
    case ZYDIS_MNEMONIC_FNINIT:
    case ZYDIS_MNEMONIC_FWAIT: return true;
    default: return false;
  }
}

/// Vector and mask registers come with MXCSR. LDMXCSR stays to be interpreted: AMD's processors have a bit more.
bool stores_mxcsr(const ZydisDecodedInstruction& zydis) {
  return zydis.mnemonic == ZYDIS_MNEMONIC_STMXCSR ||
         (zydis.mnemonic == ZYDIS_MNEMONIC_VSTMXCSR && host_vectors() >= HostVectors::kAvx);
}

/// String operations share two names with SSE2.
bool is_extension(const ZydisDecodedInstruction& zydis) {
  const bool shared = zydis.mnemonic == ZYDIS_MNEMONIC_MOVSD || zydis.mnemonic == ZYDIS_MNEMONIC_CMPSD;
  return (shared || !Decoder::has_operation(zydis.mnemonic)) && is_native_extension(zydis);
}

bool is_hint(const ZydisDecodedInstruction& zydis) {
  switch (zydis.meta.category) {
    case ZYDIS_CATEGORY_PREFETCH: return true;
    case ZYDIS_CATEGORY_NOP:
    case ZYDIS_CATEGORY_WIDENOP: return zydis.mnemonic != ZYDIS_MNEMONIC_PAUSE;
    default: return zydis.mnemonic == ZYDIS_MNEMONIC_ENDBR64 || zydis.mnemonic == ZYDIS_MNEMONIC_ENDBR32;
  }
}

bool has(const ZydisDecodedInstruction& zydis, ZydisInstructionAttributes attribute) {
  return (zydis.attributes & attribute) != 0;
}

bool is_repeat(std::uint8_t prefix) {
  return prefix == 0xf2 || prefix == 0xf3;
}

/// Scans that would be TZCNT and LZCNT if the guest's processor had those, as the host's has.
bool is_scan_by_default(const ZydisDecodedInstruction& zydis) {
  const bool scan = zydis.mnemonic == ZYDIS_MNEMONIC_BSF || zydis.mnemonic == ZYDIS_MNEMONIC_BSR;
  return scan && std::any_of(zydis.raw.prefixes, zydis.raw.prefixes + zydis.raw.prefix_count,
                             [](const auto& prefix) { return is_repeat(prefix.value); });
}

MachineCode without_repeats(const ZydisDecodedInstruction& zydis, std::span<const std::uint8_t> bytes) {
  MachineCode code;
  for (std::size_t i = 0; i < bytes.size(); ++i)
    if (i >= zydis.raw.prefix_count || !is_repeat(bytes[i])) code.add(bytes[i]);
  return code;
}

/// Shifts and rotates by nothing leave flags alone, as do comparisons of no elements.
bool may_leave_flags(const PlannedInstruction& planned, std::span<const ZydisDecodedOperand> operands) {
  const ZydisInstructionCategory category = planned.zydis.meta.category;
  if (planned.action == Action::kString) return planned.instruction->repeat != Repeat::kNone;
  if (category != ZYDIS_CATEGORY_SHIFT && category != ZYDIS_CATEGORY_ROTATE) return false;
  const auto& count = operands[planned.zydis.operand_count_visible - 1U];
  const unsigned mask = planned.instruction->operand_size == 8 ? 63 : 31;
  return count.type != ZYDIS_OPERAND_TYPE_IMMEDIATE || (count.imm.value.u & mask) == 0;
}

class Planner {
 public:
  Planner(const CodeKind& kind, const Instruction& instruction, PlannedInstruction& out)
      : kind_(kind), instruction_(instruction), out_(out) {}

  void plan(std::span<const ZydisDecodedOperand> operands) {
    operands_ = operands;
    out_.action = choose();
    if (out_.action == Action::kInterpret) return give_up();
    find_flags();
    // Which registers a block needs does not depend on what segments are like.
    const ExtendedRegisters registers = out_.registers;
    if (instruction_.has_memory && !is_segment_whole()) give_up();
    out_.registers = registers;
  }
  void give_up() {
    out_.action = Action::kInterpret;
    out_.registers = {};
    out_.flags_read = ~std::uint64_t{0};
    out_.flags_killed = 0;
    out_.touches_flags = true;
  }

 private:
  Action choose();
  Action choose_branch();
  Action choose_stack();
  Action choose_string();
  Action choose_gather();
  std::optional<Action> choose_system();
  bool take_operands();
  bool take_register(const ZydisDecodedOperand& operand);
  void find_registers();
  void find_adjustment();
  void find_flags();
  [[nodiscard]] bool is_target_possible() const {
    return !kind_.is_long || x86::is_canonical(out_.next_rip() + instruction_.imm, 48);
  }
  [[nodiscard]] bool is_segment_whole() const;
  [[nodiscard]] bool has_address_register() const {
    return instruction_.base != kZeroRegister || instruction_.index != kZeroRegister;
  }
  /// The bit may lie far from the operand that is named.
  [[nodiscard]] bool is_bit_string() const {
    switch (out_.zydis.mnemonic) {
      case ZYDIS_MNEMONIC_BT:
      case ZYDIS_MNEMONIC_BTS:
      case ZYDIS_MNEMONIC_BTR:
      case ZYDIS_MNEMONIC_BTC: return operands_[1].type == ZYDIS_OPERAND_TYPE_REGISTER;
      default: return false;
    }
  }
  [[nodiscard]] bool has_indirect_operand() const {
    const ZydisOperandType type = operands_[0].type;
    return (type == ZYDIS_OPERAND_TYPE_REGISTER || type == ZYDIS_OPERAND_TYPE_MEMORY) &&
           operands_[0].size == 8 * kind_.word();
  }

  const CodeKind& kind_;
  const Instruction& instruction_;
  PlannedInstruction& out_;
  std::span<const ZydisDecodedOperand> operands_;
  bool vector_ = false;
  bool x87_ = false;
  bool mask_ = false;
};

Action Planner::choose() {
  const ZydisDecodedInstruction& zydis = out_.zydis;
  if (instruction_.has_memory && instruction_.address_size == 2) return Action::kInterpret;
  switch (zydis.meta.category) {
    case ZYDIS_CATEGORY_CALL:
    case ZYDIS_CATEGORY_RET:
    case ZYDIS_CATEGORY_COND_BR:
    case ZYDIS_CATEGORY_UNCOND_BR: return choose_branch();
    case ZYDIS_CATEGORY_PUSH:
    case ZYDIS_CATEGORY_POP: return choose_stack();
    default: break;
  }
  if (zydis.mnemonic == ZYDIS_MNEMONIC_LEAVE)
    return zydis.operand_width == 8 * kind_.word() ? Action::kLeave : Action::kInterpret;
  if (is_hint(zydis)) return Action::kNothing;
  if (zydis.meta.category == ZYDIS_CATEGORY_STRINGOP) return choose_string();
  if (is_gather(zydis.mnemonic)) return choose_gather();
  if (zydis.mnemonic == ZYDIS_MNEMONIC_RDTSC || zydis.mnemonic == ZYDIS_MNEMONIC_RDTSCP) {
    out_.written_gprs |= 1U << x86::kRax | 1U << x86::kRdx;
    if (zydis.mnemonic == ZYDIS_MNEMONIC_RDTSCP) out_.written_gprs |= 1U << x86::kRcx;
    return Action::kReadTsc;
  }
  if (const auto system = choose_system()) return *system;
  const bool zero_upper = zydis.mnemonic == ZYDIS_MNEMONIC_VZEROUPPER || zydis.mnemonic == ZYDIS_MNEMONIC_VZEROALL;
  if (zero_upper && !kind_.is_long) return Action::kInterpret;  // which has eight registers
  if (zero_upper || stores_mxcsr(zydis)) vector_ = true;
  x87_ = is_x87(zydis) || is_x87_control(zydis.mnemonic) || zydis.meta.isa_ext == ZYDIS_ISA_EXT_MMX;
  if (!zero_upper && !is_general(zydis.mnemonic) && !is_x87_control(zydis.mnemonic) && !stores_mxcsr(zydis) &&
      !is_extension(zydis))
    return Action::kInterpret;
  if (!take_operands()) return Action::kInterpret;
  find_registers();
  find_adjustment();
  out_.sets_x87_pointers = is_extension(zydis) && is_x87(zydis) && instruction_.stub->sets_pointers;
  out_.clears_x87_pointers = zydis.mnemonic == ZYDIS_MNEMONIC_FNINIT;
  if (zydis.mnemonic == ZYDIS_MNEMONIC_LEA)
    return instruction_.base == kRipRegister || !has_address_register() ? Action::kAddress : Action::kVerbatim;
  if (!instruction_.has_memory) return Action::kVerbatim;
  if (out_.used.both()) return Action::kInterpret;
  if (out_.uses_high_byte && zydis.mnemonic == ZYDIS_MNEMONIC_CMPXCHG) return Action::kInterpret;  // and AL
  return is_bit_string() ? Action::kBitString : Action::kMemory;
}

Action Planner::choose_branch() {
  const ZydisDecodedInstruction& zydis = out_.zydis;
  if (has(zydis, ZYDIS_ATTRIB_HAS_OPERANDSIZE) || zydis.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR)
    return Action::kInterpret;
  // Not Zydis' attribute, which is also said of a target in memory behind RIP.
  const bool relative = operands_[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE;
  if (relative && !is_target_possible()) return Action::kInterpret;
  switch (zydis.meta.category) {
    case ZYDIS_CATEGORY_RET: return zydis.mnemonic == ZYDIS_MNEMONIC_RET ? Action::kReturn : Action::kInterpret;
    case ZYDIS_CATEGORY_CALL:
      if (relative) return Action::kCall;
      return has_indirect_operand() ? Action::kCallIndirect : Action::kInterpret;
    case ZYDIS_CATEGORY_UNCOND_BR:
      if (relative) return zydis.mnemonic == ZYDIS_MNEMONIC_JMP ? Action::kJump : Action::kInterpret;
      return zydis.mnemonic == ZYDIS_MNEMONIC_JMP && has_indirect_operand() ? Action::kJumpIndirect
                                                                            : Action::kInterpret;
    default: {
      const bool counts = zydis.opcode_map == ZYDIS_OPCODE_MAP_DEFAULT && zydis.opcode >= 0xe0 && zydis.opcode <= 0xe3;
      if (!counts) return Action::kJumpIf;
      return instruction_.address_size == 2 ? Action::kInterpret : Action::kJumpCounter;
    }
  }
}

bool Planner::is_segment_whole() const {
  if (out_.zydis.mnemonic == ZYDIS_MNEMONIC_LEA) return true;
  switch (instruction_.segment) {
    case x86::kCs: return kind_.is_long;
    case x86::kFs: return kind_.whole_fs;
    case x86::kGs: return kind_.whole_gs;
    default: return true;
  }
}

/// Of whole words.
Action Planner::choose_stack() {
  const ZydisDecodedInstruction& zydis = out_.zydis;
  if (zydis.mnemonic == (kind_.is_long ? ZYDIS_MNEMONIC_PUSHFQ : ZYDIS_MNEMONIC_PUSHFD)) return Action::kPushFlags;
  if (zydis.mnemonic != ZYDIS_MNEMONIC_PUSH && zydis.mnemonic != ZYDIS_MNEMONIC_POP) return Action::kInterpret;
  if (has(zydis, ZYDIS_ATTRIB_HAS_OPERANDSIZE)) return Action::kInterpret;
  const ZydisDecodedOperand& operand = operands_[0];
  const bool push = zydis.mnemonic == ZYDIS_MNEMONIC_PUSH;
  const bool immediate = operand.type == ZYDIS_OPERAND_TYPE_IMMEDIATE;
  const bool general =
      operand.type == ZYDIS_OPERAND_TYPE_REGISTER &&
      ZydisRegisterGetClass(operand.reg.value) == (kind_.is_long ? ZYDIS_REGCLASS_GPR64 : ZYDIS_REGCLASS_GPR32);
  if (push && operand.type == ZYDIS_OPERAND_TYPE_MEMORY && operand.size == 8 * kind_.word()) return Action::kPushMemory;
  if (!general && !(push && immediate)) return Action::kInterpret;
  return push ? Action::kPush : Action::kPop;
}

/// Where addresses are of the mode's own size, and segments flat.
Action Planner::choose_string() {
  const auto use = string_use(out_.zydis.mnemonic);
  if (!use || instruction_.address_size != kind_.word()) return Action::kInterpret;
  const x86::SegmentName segment = instruction_.segment;
  const bool flat = !has_base(segment) && (kind_.is_long || segment != x86::kCs);
  if (!flat || (instruction_.repeat == Repeat::kRepne && !use->compares())) return Action::kInterpret;
  const auto write = [&](bool does, x86::Gpr reg) {
    if (does) out_.written_gprs |= static_cast<std::uint16_t>(1U << reg);
  };
  write(use->source, x86::kRsi);
  write(use->destination, x86::kRdi);
  write(!use->destination, x86::kRax);
  write(instruction_.repeat != Repeat::kNone, x86::kRcx);
  out_.string = *use;
  return Action::kString;
}

/// Registers are moved by the host's instructions, of which processors with AVX512BW have those for any length.
Action Planner::choose_gather() {
  const GatherOperands operands = gather_operands(instruction_);
  if (host_vectors() < (operands.vex ? HostVectors::kAvx : HostVectors::kAvx512bw)) return Action::kInterpret;
  vector_ = true;
  find_registers();
  out_.writes_memory = operands.scatter;
  return Action::kGather;
}

/// None: the instruction is none of those.
std::optional<Action> Planner::choose_system() {
  const auto kernel = [&](Action action) { return kind_.privileged ? action : Action::kInterpret; };
  switch (out_.zydis.mnemonic) {
    case ZYDIS_MNEMONIC_CLI: return kernel(Action::kDisableInterrupts);
    case ZYDIS_MNEMONIC_STI: return kernel(Action::kEnableInterrupts);
    case ZYDIS_MNEMONIC_SWAPGS: return kernel(Action::kSwapGs);
    case ZYDIS_MNEMONIC_CLD: return Action::kClearDirection;
    case ZYDIS_MNEMONIC_STD: return Action::kSetDirection;
    case ZYDIS_MNEMONIC_MOV: {
      const ZydisDecodedOperand& source = operands_[1];
      const bool reads = source.type == ZYDIS_OPERAND_TYPE_REGISTER &&
                         ZydisRegisterGetClass(source.reg.value) == ZYDIS_REGCLASS_SEGMENT;
      if (!reads || instruction_.has_memory) return std::nullopt;
      (void)take_register(operands_[0]);
      return Action::kReadSelector;
    }
    default: return std::nullopt;
  }
}

bool Planner::take_operands() {
  for (const ZydisDecodedOperand& operand : operands_) {
    if (operand.type == ZYDIS_OPERAND_TYPE_REGISTER && !take_register(operand)) return false;
    if (operand.type != ZYDIS_OPERAND_TYPE_MEMORY || operand.mem.type == ZYDIS_MEMOP_TYPE_AGEN) continue;
    const bool encoded = operand.encoding == ZYDIS_OPERAND_ENCODING_MODRM_RM ||
                         (operand.encoding == ZYDIS_OPERAND_ENCODING_DISP16_32_64 && !kind_.is_long);
    const bool plain =
        operand.mem.type == ZYDIS_MEMOP_TYPE_MEM && encoded && operand.visibility == ZYDIS_OPERAND_VISIBILITY_EXPLICIT;
    if (!plain || operand.size == 0 || operand.size > 512) return false;
    out_.memory_size = static_cast<std::uint16_t>(operand.size / 8U);
    out_.writes_memory = (operand.actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0;
  }
  return true;
}

bool Planner::take_register(const ZydisDecodedOperand& operand) {
  const ZydisRegister reg = operand.reg.value;
  const bool written = (operand.actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0;
  switch (ZydisRegisterGetClass(reg)) {
    case ZYDIS_REGCLASS_GPR8:
      if (operand.encoding == ZYDIS_OPERAND_ENCODING_MODRM_REG)
        out_.uses_high_byte = instruction_.has_memory && reg >= ZYDIS_REGISTER_AH && reg <= ZYDIS_REGISTER_BH;
      [[fallthrough]];
    case ZYDIS_REGCLASS_GPR16:
    case ZYDIS_REGCLASS_GPR32:
    case ZYDIS_REGCLASS_GPR64: {
      const auto whole = ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, reg);
      if (written) out_.written_gprs |= static_cast<std::uint16_t>(1U << ZydisRegisterGetId(whole));
      out_.used.r10 |= whole == ZYDIS_REGISTER_R10;
      out_.used.r11 |= whole == ZYDIS_REGISTER_R11;
      out_.written.r10 |= written && whole == ZYDIS_REGISTER_R10;
      out_.written.r11 |= written && whole == ZYDIS_REGISTER_R11;
      return true;
    }
    case ZYDIS_REGCLASS_XMM:
    case ZYDIS_REGCLASS_YMM:
    case ZYDIS_REGCLASS_ZMM: vector_ = true; return true;
    case ZYDIS_REGCLASS_MASK: mask_ = true; return true;
    case ZYDIS_REGCLASS_X87:
    case ZYDIS_REGCLASS_MMX: x87_ = true; return true;
    case ZYDIS_REGCLASS_FLAGS: return true;
    default:
      return reg == ZYDIS_REGISTER_MXCSR || reg == ZYDIS_REGISTER_X87CONTROL || reg == ZYDIS_REGISTER_X87STATUS ||
             reg == ZYDIS_REGISTER_X87TAG;
  }
}

/// As the accelerator's own stubs see it: what state the operating system must have switched on.
void Planner::find_registers() {
  out_.registers.x87 = x87_;
  if (out_.zydis.encoding == ZYDIS_INSTRUCTION_ENCODING_EVEX || mask_)
    out_.registers.vectors = VectorLevel::kAvx512;
  else if (vector_)
    out_.registers.vectors =
        out_.zydis.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX ? VectorLevel::kAvx : VectorLevel::kSse;
}

/// ADD, SUB and LEA of a word with a constant.
void Planner::find_adjustment() {
  const ZydisMnemonic mnemonic = out_.zydis.mnemonic;
  if (instruction_.operand_size != kind_.word()) return;
  if (mnemonic == ZYDIS_MNEMONIC_LEA) {
    const bool same = instruction_.base == instruction_.reg && instruction_.index == kZeroRegister;
    if (same && instruction_.address_size == kind_.word())
      out_.adjustment = {
          .reg = static_cast<std::uint8_t>(instruction_.reg / 8), .is_one = true, .by = instruction_.disp};
    return;
  }
  const bool constant = !instruction_.has_memory && operands_[1].type == ZYDIS_OPERAND_TYPE_IMMEDIATE;
  if (!constant || (mnemonic != ZYDIS_MNEMONIC_ADD && mnemonic != ZYDIS_MNEMONIC_SUB)) return;
  const auto value = static_cast<std::int64_t>(instruction_.imm);
  out_.adjustment = {.reg = static_cast<std::uint8_t>(instruction_.rm / 8),
                     .is_one = true,
                     .by = mnemonic == ZYDIS_MNEMONIC_ADD ? value : -value};
}

void Planner::find_flags() {
  out_.flags_read = 0;
  out_.touches_flags = false;
  if (out_.zydis.cpu_flags == nullptr) return;
  const ZydisAccessedFlags& flags = *out_.zydis.cpu_flags;
  out_.flags_read = flags.tested;
  out_.flags_killed = flags.modified | flags.set_0 | flags.set_1 | flags.undefined;
  out_.touches_flags = ((out_.flags_read | out_.flags_killed) & x86::rflags::kArithmetic) != 0;
  if (may_leave_flags(out_, operands_)) out_.flags_killed = 0;
}

}  // namespace

std::optional<StringUse> string_use(ZydisMnemonic mnemonic) {
  switch (mnemonic) {
    case ZYDIS_MNEMONIC_MOVSB:
    case ZYDIS_MNEMONIC_MOVSW:
    case ZYDIS_MNEMONIC_MOVSD:
    case ZYDIS_MNEMONIC_MOVSQ: return StringUse{.source = true, .destination = true, .writes = true};
    case ZYDIS_MNEMONIC_STOSB:
    case ZYDIS_MNEMONIC_STOSW:
    case ZYDIS_MNEMONIC_STOSD:
    case ZYDIS_MNEMONIC_STOSQ: return StringUse{.destination = true, .writes = true};
    case ZYDIS_MNEMONIC_LODSB:
    case ZYDIS_MNEMONIC_LODSW:
    case ZYDIS_MNEMONIC_LODSD:
    case ZYDIS_MNEMONIC_LODSQ: return StringUse{.source = true};
    case ZYDIS_MNEMONIC_CMPSB:
    case ZYDIS_MNEMONIC_CMPSW:
    case ZYDIS_MNEMONIC_CMPSD:
    case ZYDIS_MNEMONIC_CMPSQ: return StringUse{.source = true, .destination = true};
    case ZYDIS_MNEMONIC_SCASB:
    case ZYDIS_MNEMONIC_SCASW:
    case ZYDIS_MNEMONIC_SCASD:
    case ZYDIS_MNEMONIC_SCASQ: return StringUse{.destination = true};
    default: return std::nullopt;
  }
}

std::optional<StackAccess> stack_access(Action action, const CodeKind& kind) {
  const auto below = static_cast<std::int8_t>(-kind.word());
  switch (action) {
    case Action::kPush:
    case Action::kPushFlags:
    case Action::kCall: return StackAccess{.reg = x86::kRsp, .offset = below, .writes = true};
    case Action::kPop:
    case Action::kReturn: return StackAccess{.reg = x86::kRsp, .offset = 0, .writes = false};
    case Action::kLeave: return StackAccess{.reg = x86::kRbp, .offset = 0, .writes = false};
    default: return std::nullopt;
  }
}

namespace {

/// Puts a plan together, block by block.
class BlockPlanner {
 public:
  BlockPlanner(CodeCache& cache, const CodeKind& kind, BlockPlan& plan) : cache_(cache), plan_(plan) {
    plan_.kind = kind;
    plan_.parts.clear();
    plan_.decoded.clear();
    plan_.decoded.reserve(kMostInstructions);
    plan_.instructions.clear();
    plan_.registers = {};
  }
  [[nodiscard]] bool has_room_for(const Block& block) const {
    return plan_.parts.size() < kMostParts && plan_.instructions.size() + block.size <= kMostInstructions;
  }
  void add(const Block& block, std::uint64_t linear);
  struct Next {
    const Block* block = nullptr;
    std::uint64_t linear = 0;
  };
  /// Null: nothing that is known to FIND.
  [[nodiscard]] Next next(const FindBlock& find) const;
  /// What was added last goes on with NEXT.
  void go_on(const Next& next);
  void finish(bool shared);

 private:
  void plan_instruction(PlannedInstruction& planned);
  void find_flags_homes();

  CodeCache& cache_;
  BlockPlan& plan_;
  std::vector<std::uint64_t> begins_;  // linear addresses of the parts
};

void BlockPlanner::add(const Block& block, std::uint64_t linear) {
  plan_.parts.push_back(&block);
  begins_.push_back(linear);
  std::size_t at = 0;
  for (const Instruction& instruction : cache_.instructions_of(block)) {
    PlannedInstruction& planned = plan_.instructions.emplace_back();
    planned.instruction = &plan_.decoded.emplace_back(instruction);
    planned.bytes = block.code().subspan(at, instruction.length);
    planned.rip = linear + at;
    at += instruction.length;
    plan_instruction(planned);
    plan_.registers.add(planned.registers);
  }
}

/// Does the host execute the guest's instruction, but for its memory operand perhaps?
bool keeps_code(Action action) {
  return action == Action::kVerbatim || action == Action::kMemory || action == Action::kBitString;
}

/// PLANNED stays to be interpreted if its bytes are no instruction.
void BlockPlanner::plan_instruction(PlannedInstruction& planned) {
  Planner planner(plan_.kind, *planned.instruction, planned);
  const CodeKind& kind = plan_.kind;
  std::array<ZydisDecodedOperand, ZYDIS_MAX_OPERAND_COUNT> operands;
  if (!cache_.decoder().accepts(planned.bytes, kind.mode(), *planned.instruction, planned.zydis, operands)) return;
  const auto all = std::span(operands).first(planned.zydis.operand_count);
  planner.plan(all);
  if (!keeps_code(planned.action)) return;
  if (!kind.is_long)
    planned.rewritten = as_long_code({.zydis = planned.zydis, .operands = all, .mode = kind.mode()}, planned.bytes);
  if (is_scan_by_default(planned.zydis)) planned.rewritten = without_repeats(planned.zydis, planned.code());
  if (planned.rewritten.size == 0) return;
  if (!cache_.decoder().accepts(planned.code(), CodeMode::kLong64, *planned.instruction, planned.zydis, operands))
    planner.give_up();
}

/// Where code most likely goes on behind what was added last, in the same page: what ran more often before anything was
/// translated. Conditional branches backwards are loops, which are left at their end.
BlockPlanner::Next BlockPlanner::next(const FindBlock& find) const {
  const PlannedInstruction& last = plan_.instructions.back();
  const std::uint64_t target = (last.next_rip() + last.instruction->imm) & plan_.kind.address_mask();
  const auto at = [&](std::uint64_t linear) -> Next {
    if (linear >> 12U != begins_.front() >> 12U || std::ranges::find(begins_, linear) != begins_.end()) return {};
    const Block* const block = find(linear);
    const bool fits = block != nullptr && !block->crosses() && has_room_for(*block);
    return fits ? Next{.block = block, .linear = linear} : Next{};
  };
  if (last.action == Action::kJump || last.action == Action::kCall) return at(target);
  if (last.action != Action::kJumpIf || target <= last.next_rip()) return {};
  const Next taken = at(target);
  const Next not_taken = at(last.next_rip());
  if (taken.block == nullptr || not_taken.block == nullptr) return taken.block != nullptr ? taken : not_taken;
  return taken.block->runs > not_taken.block->runs ? taken : not_taken;
}

void BlockPlanner::go_on(const Next& next) {
  PlannedInstruction& last = plan_.instructions.back();
  last.goes_on = true;
  last.follows_target = last.action == Action::kJumpIf && next.linear != last.next_rip();
}

void BlockPlanner::finish(bool shared) {
  std::uint64_t needed = x86::rflags::kArithmetic;
  for (PlannedInstruction& planned : std::views::reverse(plan_.instructions)) {
    if (planned.action == Action::kJumpIf) needed = x86::rflags::kArithmetic;  // nothing is known of where it leads
    needed = ((needed & ~planned.flags_killed) | planned.flags_read) & x86::rflags::kArithmetic;
    planned.flags_before = needed;
  }
  if (shared) group_accesses(plan_);
  find_flags_homes();
}

/// Does PLANNED's code do without the host's flags only with an effort?
bool wants_flags_register(const PlannedInstruction& planned) {
  switch (planned.action) {
    case Action::kReturn:
    case Action::kJumpIndirect:
    case Action::kCallIndirect:
    case Action::kString:
    case Action::kGather:
    case Action::kReadTsc: return true;
    case Action::kMemory:
    case Action::kPush:
    case Action::kPushMemory:
    case Action::kPop:
    case Action::kLeave:
    case Action::kCall: return planned.member.group < 0 || planned.member.leads;
    default: return false;
  }
}

/// Flags that nobody looks at before the plan ends are saved when something else wants their register. A block that
/// begins so finds them saved.
void BlockPlanner::find_flags_homes() {
  bool untouched = true;  // up to the end, or until they are overwritten
  for (PlannedInstruction& planned : std::views::reverse(plan_.instructions)) {
    const bool interpreted = planned.action == Action::kInterpret;  // to which both homes are the same
    if (interpreted)
      untouched = true;
    else if (planned.touches_flags)
      untouched = false;
    planned.flags_home = untouched && planned.flags_before != 0 ? FlagsHome::kMemory : FlagsHome::kRegister;
  }
  bool saved = true;
  for (PlannedInstruction& planned : plan_.instructions) {
    saved = planned.flags_home == FlagsHome::kMemory && (saved || wants_flags_register(planned));
    if (!saved) planned.flags_home = FlagsHome::kRegister;
    saved |= planned.action == Action::kInterpret;
  }
}

}  // namespace

void plan_blocks(CodeCache& cache, const Block& block, const CodeKind& kind, std::uint64_t linear,
                 const FindBlock& find, bool shared, BlockPlan& plan) {
  BlockPlanner planner(cache, kind, plan);
  planner.add(block, linear);
  for (auto next = planner.next(find); next.block != nullptr && !block.crosses(); next = planner.next(find)) {
    planner.go_on(next);
    planner.add(*next.block, next.linear);
  }
  planner.finish(shared);
}

}  // namespace doppel::accel::soft
