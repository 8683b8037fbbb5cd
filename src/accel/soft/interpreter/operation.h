// The operation tables: which function carries out which mnemonic with which operands.
//
// Each chapter's file offers its rows; the decoder puts them together. What no row claims goes to the native stubs
// (native_stub.h) if it needs no privilege, else it is #UD.
#pragma once

#include <Zydis/Zydis.h>

#include <cstdint>
#include <span>

#include "accel/soft/interpreter/instruction.h"

namespace doppel::accel::soft {

/// An instruction as Zydis sees it, for selectors.
struct Decoded {
  const ZydisDecodedInstruction& zydis;
  std::span<const ZydisDecodedOperand> operands;  // all; the first zydis.operand_count_visible are explicit
  CodeMode mode;

  [[nodiscard]] const ZydisDecodedOperand& operand(unsigned n) const { return operands[n]; }
  [[nodiscard]] bool is_register(unsigned n) const { return operands[n].type == ZYDIS_OPERAND_TYPE_REGISTER; }
  [[nodiscard]] bool is_memory(unsigned n) const { return operands[n].type == ZYDIS_OPERAND_TYPE_MEMORY; }
  [[nodiscard]] bool is_immediate(unsigned n) const { return operands[n].type == ZYDIS_OPERAND_TYPE_IMMEDIATE; }
  /// Bytes.
  [[nodiscard]] unsigned size(unsigned n) const { return operands[n].size / 8U; }
};

/// Chooses the function for DECODED. INSTRUCTION comes with its fields filled in by the rules below; a selector may
/// change them. Null: #UD.
///
/// Where several tables have rows for a mnemonic (MOV means registers, segment registers and control registers), the
/// later table's is asked first and leaves what is not its own to the earlier one by returning null.
///
/// Register operands: without a memory operand RM is the first explicit general register and REG the second; with one,
/// REG is the first general register. IMM is the (last) immediate, sign-extended, EXTRA the one before it.
/// OPERAND_SIZE is the first explicit operand's, ADDRESS_SIZE the effective one.
using Selector = Handler (*)(const Decoded& decoded, Instruction& instruction);

struct OperationRow {
  ZydisMnemonic mnemonic = ZYDIS_MNEMONIC_INVALID;
  Selector select = nullptr;
};

/// Picks the instance of TABLE (1, 2, 4, 8 bytes) for SIZE bytes; null entries are sizes that do not exist.
struct BySize {
  Handler size1 = nullptr;
  Handler size2 = nullptr;
  Handler size4 = nullptr;
  Handler size8 = nullptr;
  [[nodiscard]] Handler of(unsigned size) const {
    return size == 1 ? size1 : size == 2 ? size2 : size == 4 ? size4 : size == 8 ? size8 : nullptr;
  }
};

// One table per chapter (SDM 1 chapter 5's grouping).
std::span<const OperationRow> arithmetic_operations();  // ADD ... CMP, INC, NEG, NOT, AND, OR, XOR, TEST
std::span<const OperationRow> multiply_operations();    // MUL, IMUL, DIV, IDIV, decimal adjust
std::span<const OperationRow> shift_operations();       // SHL ... RCR, SHLD, SHRD
std::span<const OperationRow> bit_operations();         // BT, BTS, BTR, BTC, BSF, BSR, SETcc
std::span<const OperationRow> move_operations();        // MOV, MOVZX, CMOVcc, BSWAP, CBW, LEA, XLAT, NOP
std::span<const OperationRow> exchange_operations();    // XCHG, XADD, CMPXCHG, CMPXCHG16B
std::span<const OperationRow> stack_operations();       // PUSH, POP, PUSHA, ENTER, LEAVE, PUSHF
std::span<const OperationRow> string_operations();      // MOVS, STOS, LODS, CMPS, SCAS
std::span<const OperationRow> branch_operations();      // JMP, Jcc, CALL, RET near, LOOP, JCXZ
std::span<const OperationRow> flag_operations();        // CLC, CMC, CLI, STI, CLD, LAHF, SAHF
std::span<const OperationRow> io_operations();          // IN, OUT, INS, OUTS
std::span<const OperationRow>
segment_operations();                            // MOV and POP Sreg, LDS, LGDT, LLDT, LTR, LAR, LSL, VERR, ARPL, SWAPGS
std::span<const OperationRow> far_operations();  // JMP, CALL, RET far, IRET, INT, INTO, INT3, BOUND, SYSCALL, SYSENTER
std::span<const OperationRow> system_operations();  // MOV CR and DR, CLTS, HLT, CPUID, RDTSC, RDMSR, INVLPG, MONITOR
std::span<const OperationRow>
extended_state_operations();  // FXSAVE, XSAVE family, XSETBV, LDMXCSR, FLDENV family, WAIT

}  // namespace doppel::accel::soft
