#include "accel/soft/interpreter/decoder.h"

#include <algorithm>
#include <bit>
#include <vector>

#include "accel/soft/interpreter/fault.h"
#include "accel/soft/interpreter/native_stub.h"
#include "accel/soft/interpreter/operation.h"

namespace doppel::accel::soft {

namespace {

/// The selectors of each mnemonic, the last table's first.
using OperationTable = std::array<std::array<Selector, 3>, ZYDIS_MNEMONIC_MAX_VALUE + 1>;

OperationTable collect_operations() {
  OperationTable table{};
  for (const auto rows :
       {arithmetic_operations(), multiply_operations(), shift_operations(), bit_operations(), move_operations(),
        exchange_operations(), stack_operations(), string_operations(), branch_operations(), flag_operations(),
        io_operations(), segment_operations(), far_operations(), system_operations(), extended_state_operations()})
    for (const OperationRow& row : rows) {
      auto& selectors = table[row.mnemonic];
      std::shift_right(selectors.begin(), selectors.end(), 1);
      selectors.front() = row.select;
    }
  return table;
}

const OperationTable& operations() {
  static const OperationTable kTable = collect_operations();
  return kTable;
}

void undefined_instruction(Cpu&, const Instruction&) {
  raise_ud();
}
void too_long_instruction(Cpu&, const Instruction&) {
  raise_gp();
}

struct MachineMode {
  ZydisMachineMode mode;
  ZydisStackWidth stack;
};
/// By CodeMode. The stack's real width is known at run time; Zydis wants one.
constexpr std::array kMachineModes = {
    MachineMode{ZYDIS_MACHINE_MODE_REAL_16, ZYDIS_STACK_WIDTH_16},
    MachineMode{ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_STACK_WIDTH_16},
    MachineMode{ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32},
    MachineMode{ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64},
};

bool is_general(ZydisRegister reg) {
  switch (ZydisRegisterGetClass(reg)) {
    case ZYDIS_REGCLASS_GPR8:
    case ZYDIS_REGCLASS_GPR16:
    case ZYDIS_REGCLASS_GPR32:
    case ZYDIS_REGCLASS_GPR64: return true;
    default: return false;
  }
}

RegisterOffset offset_of(ZydisRegister reg) {
  const auto id = static_cast<unsigned>(ZydisRegisterGetId(reg));
  if (ZydisRegisterGetClass(reg) != ZYDIS_REGCLASS_GPR8) return static_cast<RegisterOffset>(id * 8);
  // Zydis counts AL CL DL BL, AH CH DH BH, then SPL and on.
  if (id < 4) return static_cast<RegisterOffset>(id * 8);
  if (id < 8) return static_cast<RegisterOffset>((id - 4) * 8 + 1);
  return static_cast<RegisterOffset>((id - 4) * 8);
}

RegisterOffset address_register(ZydisRegister reg) {
  if (reg == ZYDIS_REGISTER_RIP || reg == ZYDIS_REGISTER_EIP) return kRipRegister;
  return is_general(reg) ? offset_of(reg) : kZeroRegister;
}

x86::SegmentName segment_of(ZydisRegister reg) {
  return static_cast<x86::SegmentName>(ZydisRegisterGetId(reg));  // ES CS SS DS FS GS, the encoding's order
}

struct SegmentPrefix {
  ZydisInstructionAttributes attribute;
  x86::SegmentName name;
};
constexpr std::array kSegmentPrefixes = {
    SegmentPrefix{ZYDIS_ATTRIB_HAS_SEGMENT_ES, x86::kEs}, SegmentPrefix{ZYDIS_ATTRIB_HAS_SEGMENT_CS, x86::kCs},
    SegmentPrefix{ZYDIS_ATTRIB_HAS_SEGMENT_SS, x86::kSs}, SegmentPrefix{ZYDIS_ATTRIB_HAS_SEGMENT_DS, x86::kDs},
    SegmentPrefix{ZYDIS_ATTRIB_HAS_SEGMENT_FS, x86::kFs}, SegmentPrefix{ZYDIS_ATTRIB_HAS_SEGMENT_GS, x86::kGs},
};

void fill_memory(const ZydisDecodedOperandMem& memory, Instruction& out) {
  out.has_memory = true;
  out.base = address_register(memory.base);
  out.index = address_register(memory.index);
  out.scale = memory.scale == 0 ? 0 : static_cast<std::uint8_t>(std::countr_zero(memory.scale));
  out.disp = memory.disp.has_displacement ? memory.disp.value : 0;
  out.segment = segment_of(memory.segment);
}

void fill_operands(const ZydisDecodedInstruction& zydis, std::span<const ZydisDecodedOperand> operands,
                   Instruction& out) {
  RegisterOffset registers[2] = {kZeroRegister, kZeroRegister};
  unsigned count = 0;
  bool has_immediate = false;
  for (const ZydisDecodedOperand& operand : operands.first(zydis.operand_count_visible)) {
    switch (operand.type) {
      case ZYDIS_OPERAND_TYPE_REGISTER:
        if (is_general(operand.reg.value) && count < 2) registers[count++] = offset_of(operand.reg.value);
        break;
      case ZYDIS_OPERAND_TYPE_MEMORY: fill_memory(operand.mem, out); break;
      case ZYDIS_OPERAND_TYPE_IMMEDIATE:
        if (has_immediate) out.extra = static_cast<std::uint8_t>(out.imm);
        out.imm = operand.imm.value.u;
        has_immediate = true;
        break;
      case ZYDIS_OPERAND_TYPE_POINTER:
        out.selector = operand.ptr.segment;
        out.imm = operand.ptr.offset;
        break;
      default: break;
    }
  }
  out.rm = out.has_memory ? kZeroRegister : registers[0];
  out.reg = out.has_memory ? registers[0] : registers[1];
}

bool ends_block(const ZydisDecodedInstruction& zydis) {
  switch (zydis.meta.category) {
    case ZYDIS_CATEGORY_CALL:
    case ZYDIS_CATEGORY_COND_BR:
    case ZYDIS_CATEGORY_UNCOND_BR:
    case ZYDIS_CATEGORY_RET:
    case ZYDIS_CATEGORY_INTERRUPT:
    case ZYDIS_CATEGORY_SYSCALL:
    case ZYDIS_CATEGORY_SYSRET: return true;
    default: return false;
  }
}

void fill(const ZydisDecodedInstruction& zydis, std::span<const ZydisDecodedOperand> operands, Instruction& out) {
  out.length = zydis.length;
  out.address_size = static_cast<std::uint8_t>(zydis.address_width / 8U);
  out.operand_size =
      static_cast<std::uint8_t>(zydis.operand_count_visible > 0 ? operands[0].size / 8U : zydis.operand_width / 8U);
  for (const SegmentPrefix& prefix : kSegmentPrefixes)
    if ((zydis.attributes & prefix.attribute) != 0) out.segment = prefix.name;
  out.lock = (zydis.attributes & ZYDIS_ATTRIB_HAS_LOCK) != 0;
  if ((zydis.attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE)) != 0) out.repeat = Repeat::kRep;
  if ((zydis.attributes & ZYDIS_ATTRIB_HAS_REPNE) != 0) out.repeat = Repeat::kRepne;
  out.ends_block = ends_block(zydis);
  out.enters_handler = zydis.meta.category == ZYDIS_CATEGORY_INTERRUPT || zydis.meta.category == ZYDIS_CATEGORY_SYSCALL;
  fill_operands(zydis, operands, out);
  // Zydis 4.0 sees R13D where SIB says that there is a displacement but no base (SDM 2A table 2-3).
  if ((zydis.attributes & ZYDIS_ATTRIB_HAS_SIB) != 0 && zydis.raw.modrm.mod == 0 && zydis.raw.sib.base == 5) {
    out.base = kZeroRegister;
    out.disp = zydis.raw.disp.value;
  }
}

/// A name of a string operation and of an SSE2 instruction at once.
bool is_shared_name(ZydisMnemonic mnemonic) {
  return mnemonic == ZYDIS_MNEMONIC_MOVSD || mnemonic == ZYDIS_MNEMONIC_CMPSD;
}

DecodeStatus faulting(Handler handler, std::size_t length, Instruction& out) {
  out = {};
  out.handler = handler;
  out.length = static_cast<std::uint8_t>(length);
  out.ends_block = true;
  return DecodeStatus::kDone;
}

}  // namespace

Decoder::Decoder(const x86::FeatureSet& features, NativeStubs& stubs)
    : stubs_(stubs), isa_sets_(isa_sets_of(features)), zydis_{} {
  for (std::size_t i = 0; i < zydis_.size(); ++i) {
    ZydisDecoderInit(&zydis_.at(i), kMachineModes.at(i).mode, kMachineModes.at(i).stack);
    // Without the feature these prefixes mean nothing and the older instruction is executed.
    ZydisDecoderEnableMode(&zydis_.at(i), ZYDIS_DECODER_MODE_LZCNT, isa_sets_[ZYDIS_ISA_SET_LZCNT] ? 1 : 0);
    ZydisDecoderEnableMode(&zydis_.at(i), ZYDIS_DECODER_MODE_TZCNT, isa_sets_[ZYDIS_ISA_SET_BMI1] ? 1 : 0);
    ZydisDecoderEnableMode(&zydis_.at(i), ZYDIS_DECODER_MODE_MPX, isa_sets_[ZYDIS_ISA_SET_MPX] ? 1 : 0);
    ZydisDecoderEnableMode(&zydis_.at(i), ZYDIS_DECODER_MODE_CET, isa_sets_[ZYDIS_ISA_SET_CET] ? 1 : 0);
  }
}

DecodeStatus Decoder::decode(std::span<const std::uint8_t> bytes, CodeMode mode, Instruction& instruction) {
  if (templates_.expand(bytes, mode, instruction)) return DecodeStatus::kDone;
  const auto window = bytes.first(std::min<std::size_t>(bytes.size(), kLongestInstruction));
  ZydisDecodedInstruction zydis;
  std::array<ZydisDecodedOperand, ZYDIS_MAX_OPERAND_COUNT> storage;
  ZydisDecoderContext context;
  const ZydisDecoder& decoder = zydis_.at(static_cast<std::size_t>(mode));
  ZyanStatus status = ZydisDecoderDecodeInstruction(&decoder, &context, window.data(), window.size(), &zydis);
  // Our own operations know what is implicit about them; the others' are asked for.
  const bool known = ZYAN_SUCCESS(status) && has_operation(zydis.mnemonic) && !is_shared_name(zydis.mnemonic);
  const std::uint8_t count = known ? zydis.operand_count_visible : zydis.operand_count;
  if (ZYAN_SUCCESS(status)) status = ZydisDecoderDecodeOperands(&decoder, &context, &zydis, storage.data(), count);
  if (status == ZYDIS_STATUS_NO_MORE_DATA)
    return window.size() < kLongestInstruction ? DecodeStatus::kTooShort
                                               : faulting(too_long_instruction, window.size(), instruction);
  if (status == ZYDIS_STATUS_INSTRUCTION_TOO_LONG) return faulting(too_long_instruction, window.size(), instruction);
  if (!ZYAN_SUCCESS(status) || !isa_sets_[zydis.meta.isa_set]) return faulting(undefined_instruction, 1, instruction);
  instruction = {};
  const std::span<const ZydisDecodedOperand> operands(storage.data(), count);
  fill(zydis, operands, instruction);
  instruction.handler = select(zydis, operands, mode, window.data(), instruction);
  if (instruction.handler == nullptr) return faulting(undefined_instruction, zydis.length, instruction);
  if (known) templates_.keep(bytes, mode, zydis, instruction);
  return DecodeStatus::kDone;
}

bool Decoder::accepts(std::span<const std::uint8_t> bytes, CodeMode mode, const Instruction& instruction,
                      ZydisDecodedInstruction& zydis,
                      std::span<ZydisDecodedOperand, ZYDIS_MAX_OPERAND_COUNT> operands) const {
  if (only_faults(instruction)) return false;
  return ZYAN_SUCCESS(ZydisDecoderDecodeFull(&zydis_.at(static_cast<std::size_t>(mode)), bytes.data(), bytes.size(),
                                             &zydis, operands.data()));
}

bool Decoder::only_faults(const Instruction& instruction) {
  return instruction.handler == undefined_instruction || instruction.handler == too_long_instruction;
}

bool Decoder::has_operation(ZydisMnemonic mnemonic) {
  return operations()[mnemonic].front() != nullptr;
}

Handler Decoder::select(const ZydisDecodedInstruction& zydis, std::span<const ZydisDecodedOperand> operands,
                        CodeMode mode, const std::uint8_t* bytes, Instruction& instruction) const {
  const Decoded decoded{.zydis = zydis, .operands = operands, .mode = mode};
  const auto& selectors = operations()[zydis.mnemonic];
  if (selectors.front() == nullptr) return stubs_.select(decoded, bytes, instruction);
  for (const Selector selector : selectors)
    if (const Handler handler = selector != nullptr ? selector(decoded, instruction) : nullptr; handler != nullptr)
      return handler;
  return is_shared_name(zydis.mnemonic) ? stubs_.select(decoded, bytes, instruction) : nullptr;
}

}  // namespace doppel::accel::soft
