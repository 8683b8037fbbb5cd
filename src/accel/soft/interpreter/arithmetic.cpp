// Addition, subtraction, logic and comparison (SDM 1 5.1.2 and 5.1.4).
#include <array>

#include "accel/soft/interpreter/alu.h"
#include "accel/soft/interpreter/operation.h"

namespace doppel::accel::soft {

namespace {

/// CMP and TEST write flags alone.
template <class Op>
constexpr bool kWrites = !std::is_same_v<Op, alu::Cmp> && !std::is_same_v<Op, alu::Test>;

template <class Op, class T>
void rm_reg(Cpu& cpu, const Instruction& i) {
  const T result = Op::value(cpu, cpu.get<T>(i.rm), cpu.get<T>(i.reg));
  if constexpr (kWrites<Op>) cpu.set<T>(i.rm, result);
}
template <class Op, class T>
void rm_imm(Cpu& cpu, const Instruction& i) {
  const T result = Op::value(cpu, cpu.get<T>(i.rm), static_cast<T>(i.imm));
  if constexpr (kWrites<Op>) cpu.set<T>(i.rm, result);
}
template <class Op, class T>
void reg_mem(Cpu& cpu, const Instruction& i) {
  const T source = cpu.load<T>(i.segment, cpu.effective_address(i));
  const T result = Op::value(cpu, cpu.get<T>(i.reg), source);
  if constexpr (kWrites<Op>) cpu.set<T>(i.reg, result);
}
template <class Op, class T>
void mem_source(Cpu& cpu, const Instruction& i, T source) {
  const std::uint64_t offset = cpu.effective_address(i);
  if constexpr (!kWrites<Op>) {
    (void)Op::value(cpu, cpu.load<T>(i.segment, offset), source);
  } else if (i.lock) {
    cpu.modify<T>(i.segment, offset, true, [&](Place<T>& place) { Op::template memory<true>(cpu, place, source); });
  } else {
    cpu.modify<T>(i.segment, offset, false, [&](Place<T>& place) { Op::template memory<false>(cpu, place, source); });
  }
}
template <class Op, class T>
void mem_reg(Cpu& cpu, const Instruction& i) {
  mem_source<Op>(cpu, i, cpu.get<T>(i.reg));
}
template <class Op, class T>
void mem_imm(Cpu& cpu, const Instruction& i) {
  mem_source<Op>(cpu, i, static_cast<T>(i.imm));
}

template <class Op, class T>
Handler select_form(const Decoded& decoded) {
  if (decoded.is_memory(0)) return decoded.is_immediate(1) ? mem_imm<Op, T> : mem_reg<Op, T>;
  if (decoded.is_memory(1)) return reg_mem<Op, T>;
  return decoded.is_immediate(1) ? rm_imm<Op, T> : rm_reg<Op, T>;
}

template <class Op>
Handler select(const Decoded& decoded, Instruction&) {
  switch (decoded.size(0)) {
    case 1: return select_form<Op, std::uint8_t>(decoded);
    case 2: return select_form<Op, std::uint16_t>(decoded);
    case 4: return select_form<Op, std::uint32_t>(decoded);
    default: return select_form<Op, std::uint64_t>(decoded);
  }
}

constexpr std::array kRows = {
    OperationRow{ZYDIS_MNEMONIC_ADD, select<alu::Add>}, OperationRow{ZYDIS_MNEMONIC_OR, select<alu::Or>},
    OperationRow{ZYDIS_MNEMONIC_ADC, select<alu::Adc>}, OperationRow{ZYDIS_MNEMONIC_SBB, select<alu::Sbb>},
    OperationRow{ZYDIS_MNEMONIC_AND, select<alu::And>}, OperationRow{ZYDIS_MNEMONIC_SUB, select<alu::Sub>},
    OperationRow{ZYDIS_MNEMONIC_XOR, select<alu::Xor>}, OperationRow{ZYDIS_MNEMONIC_CMP, select<alu::Cmp>},
    OperationRow{ZYDIS_MNEMONIC_TEST, select<alu::Test>},
};

}  // namespace

std::span<const OperationRow> arithmetic_operations() {
  return kRows;
}

}  // namespace doppel::accel::soft
