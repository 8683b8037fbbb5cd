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
  } else {
    std::uint16_t ax = 0;
    if (i.lock)
      cpu.modify<T>(i.segment, offset, true,
                    [&](Place<T>& place) { ax = Op::template memory<true>(cpu, place, source); });
    else
      cpu.modify<T>(i.segment, offset, false,
                    [&](Place<T>& place) { ax = Op::template memory<false>(cpu, place, source); });
    alu::set_flags(cpu, ax);
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

template <class Op, class T>
void unary_rm(Cpu& cpu, const Instruction& i) {
  cpu.set<T>(i.rm, Op::value(cpu, cpu.get<T>(i.rm)));
}
template <class Op, class T>
void unary_mem(Cpu& cpu, const Instruction& i) {
  const std::uint64_t offset = cpu.effective_address(i);
  std::uint16_t ax = 0;
  if (i.lock)
    cpu.modify<T>(i.segment, offset, true, [&](Place<T>& place) { ax = Op::template memory<true>(cpu, place); });
  else
    cpu.modify<T>(i.segment, offset, false, [&](Place<T>& place) { ax = Op::template memory<false>(cpu, place); });
  alu::set_flags(cpu, ax);
}

template <class Op>
Handler select_unary(const Decoded& decoded, Instruction&) {
  static constexpr BySize kRegister{unary_rm<Op, std::uint8_t>, unary_rm<Op, std::uint16_t>,
                                    unary_rm<Op, std::uint32_t>, unary_rm<Op, std::uint64_t>};
  static constexpr BySize kMemory{unary_mem<Op, std::uint8_t>, unary_mem<Op, std::uint16_t>,
                                  unary_mem<Op, std::uint32_t>, unary_mem<Op, std::uint64_t>};
  return (decoded.is_memory(0) ? kMemory : kRegister).of(decoded.size(0));
}

template <class T>
void not_rm(Cpu& cpu, const Instruction& i) {
  cpu.set<T>(i.rm, static_cast<T>(~cpu.get<T>(i.rm)));
}
template <class T>
void not_mem(Cpu& cpu, const Instruction& i) {
  cpu.modify<T>(i.segment, cpu.effective_address(i), i.lock, [&i](Place<T>& place) {
    if (i.lock)
      asm volatile(DOPPEL_SIZED("lock not", "%[operand]")
                   : [operand] "+m"(place.value)
                   : [size] "i"(sizeof(T))
                   : "memory");
    else
      place.value = static_cast<T>(~place.value);
  });
}

Handler select_not(const Decoded& decoded, Instruction&) {
  static constexpr BySize kRegister{not_rm<std::uint8_t>, not_rm<std::uint16_t>, not_rm<std::uint32_t>,
                                    not_rm<std::uint64_t>};
  static constexpr BySize kMemory{not_mem<std::uint8_t>, not_mem<std::uint16_t>, not_mem<std::uint32_t>,
                                  not_mem<std::uint64_t>};
  return (decoded.is_memory(0) ? kMemory : kRegister).of(decoded.size(0));
}

constexpr std::array kRows = {
    OperationRow{ZYDIS_MNEMONIC_ADD, select<alu::Add>},
    OperationRow{ZYDIS_MNEMONIC_OR, select<alu::Or>},
    OperationRow{ZYDIS_MNEMONIC_ADC, select<alu::Adc>},
    OperationRow{ZYDIS_MNEMONIC_SBB, select<alu::Sbb>},
    OperationRow{ZYDIS_MNEMONIC_AND, select<alu::And>},
    OperationRow{ZYDIS_MNEMONIC_SUB, select<alu::Sub>},
    OperationRow{ZYDIS_MNEMONIC_XOR, select<alu::Xor>},
    OperationRow{ZYDIS_MNEMONIC_CMP, select<alu::Cmp>},
    OperationRow{ZYDIS_MNEMONIC_TEST, select<alu::Test>},
    OperationRow{ZYDIS_MNEMONIC_INC, select_unary<alu::Inc>},
    OperationRow{ZYDIS_MNEMONIC_DEC, select_unary<alu::Dec>},
    OperationRow{ZYDIS_MNEMONIC_NEG, select_unary<alu::Neg>},
    OperationRow{ZYDIS_MNEMONIC_NOT, select_not},
};

}  // namespace

std::span<const OperationRow> arithmetic_operations() {
  return kRows;
}

}  // namespace doppel::accel::soft
