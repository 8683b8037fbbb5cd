// Near branches (SDM 1 5.1.7 and 7.3.8). A target outside of CS or not canonical is #GP before anything changes.
#include <array>

#include "accel/soft/interpreter/condition.h"
#include "accel/soft/interpreter/operation.h"
#include "accel/soft/interpreter/stack.h"

namespace doppel::accel::soft {

namespace {

namespace rflags = x86::rflags;

// T, below, is the branch's operand size: the width that a new RIP is cut to. 8 bytes means 64-bit mode.

template <class T>
void check_target(const Cpu& cpu, T target) {
  if constexpr (sizeof(T) == 8) {
    const unsigned shift = 64 - cpu.linear_bits();
    if (static_cast<std::uint64_t>(static_cast<std::int64_t>(target << shift) >> shift) != target) [[unlikely]]
      raise_gp();
  } else {
    // In 64-bit mode, with an operand-size prefix on AMD's side, any such target is canonical.
    if (target > cpu.segment[x86::kCs].limit && cpu.code_mode != CodeMode::kLong64) [[unlikely]]
      raise_gp();
  }
}

template <class T>
T relative_target(const Cpu& cpu, const Instruction& i) {
  return static_cast<T>(cpu.rip + i.imm);
}
template <class T>
void jump(Cpu& cpu, T target) {
  check_target(cpu, target);
  cpu.rip = target;
}

// --- JMP, Jcc ---

template <class T>
void jmp_relative(Cpu& cpu, const Instruction& i) {
  jump<T>(cpu, relative_target<T>(cpu, i));
}
template <class T>
void jmp_rm(Cpu& cpu, const Instruction& i) {
  jump<T>(cpu, cpu.get<T>(i.rm));
}
template <class T>
void jmp_mem(Cpu& cpu, const Instruction& i) {
  jump<T>(cpu, cpu.load<T>(i.segment, cpu.effective_address(i)));
}
template <unsigned kCode, class T>
void jcc(Cpu& cpu, const Instruction& i) {
  if (holds<kCode>(cpu.rflags)) jump<T>(cpu, relative_target<T>(cpu, i));
}

// --- CALL, RET ---

template <class T>
void call(Cpu& cpu, T target) {
  check_target(cpu, target);
  push<T>(cpu, static_cast<T>(cpu.rip));
  cpu.rip = target;
}
template <class T>
void call_relative(Cpu& cpu, const Instruction& i) {
  call<T>(cpu, relative_target<T>(cpu, i));
}
template <class T>
void call_rm(Cpu& cpu, const Instruction& i) {
  call<T>(cpu, cpu.get<T>(i.rm));
}
template <class T>
void call_mem(Cpu& cpu, const Instruction& i) {
  call<T>(cpu, cpu.load<T>(i.segment, cpu.effective_address(i)));
}

/// IMM more bytes are dropped: zero for the form without.
template <class T>
void ret(Cpu& cpu, const Instruction& i) {
  const T target = peek<T>(cpu);
  check_target(cpu, target);
  drop(cpu, sizeof(T) + i.imm);
  cpu.rip = target;
}

// --- LOOP, JCXZ: the counter is as wide as addresses ---

enum class LoopWhile : std::uint8_t { kAlways, kZero, kNotZero };

template <LoopWhile kWhile, class T, class Counter>
void loop(Cpu& cpu, const Instruction& i) {
  const auto count = static_cast<Counter>(cpu.get<Counter>(kCounter) - 1);
  const bool again =
      count != 0 && (kWhile == LoopWhile::kAlways || cpu.flag(rflags::kZf) == (kWhile == LoopWhile::kZero));
  if (again) jump<T>(cpu, relative_target<T>(cpu, i));
  cpu.set<Counter>(kCounter, count);
}
template <class T, class Counter>
void jump_if_counter_is_zero(Cpu& cpu, const Instruction& i) {
  if (cpu.get<Counter>(kCounter) == 0) jump<T>(cpu, relative_target<T>(cpu, i));
}

// --- Selection ---

BySize by_size(Handler size2, Handler size4, Handler size8) {
  return {.size1 = nullptr, .size2 = size2, .size4 = size4, .size8 = size8};
}
unsigned target_size(const Decoded& decoded) {
  return decoded.zydis.operand_width / 8U;
}
bool is_far(const Decoded& decoded) {
  return decoded.zydis.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR;
}

Handler select_jmp(const Decoded& decoded, Instruction&) {
  if (is_far(decoded)) return nullptr;
  const unsigned size = target_size(decoded);
  if (decoded.is_immediate(0))
    return by_size(jmp_relative<std::uint16_t>, jmp_relative<std::uint32_t>, jmp_relative<std::uint64_t>).of(size);
  if (decoded.is_memory(0))
    return by_size(jmp_mem<std::uint16_t>, jmp_mem<std::uint32_t>, jmp_mem<std::uint64_t>).of(size);
  return by_size(jmp_rm<std::uint16_t>, jmp_rm<std::uint32_t>, jmp_rm<std::uint64_t>).of(size);
}
Handler select_call(const Decoded& decoded, Instruction&) {
  if (is_far(decoded)) return nullptr;
  const unsigned size = target_size(decoded);
  if (decoded.is_immediate(0))
    return by_size(call_relative<std::uint16_t>, call_relative<std::uint32_t>, call_relative<std::uint64_t>).of(size);
  if (decoded.is_memory(0))
    return by_size(call_mem<std::uint16_t>, call_mem<std::uint32_t>, call_mem<std::uint64_t>).of(size);
  return by_size(call_rm<std::uint16_t>, call_rm<std::uint32_t>, call_rm<std::uint64_t>).of(size);
}
Handler select_ret(const Decoded& decoded, Instruction& instruction) {
  if (is_far(decoded)) return nullptr;
  instruction.imm &= 0xffffU;
  return by_size(ret<std::uint16_t>, ret<std::uint32_t>, ret<std::uint64_t>).of(target_size(decoded));
}

Handler select_jcc(const Decoded& decoded, Instruction&) {
  static constexpr auto k16 = handlers_by_condition([]<unsigned kCode>() { return jcc<kCode, std::uint16_t>; });
  static constexpr auto k32 = handlers_by_condition([]<unsigned kCode>() { return jcc<kCode, std::uint32_t>; });
  static constexpr auto k64 = handlers_by_condition([]<unsigned kCode>() { return jcc<kCode, std::uint64_t>; });
  const unsigned size = target_size(decoded);
  return (size == 2 ? k16 : size == 4 ? k32 : k64).at(decoded.zydis.opcode & 0xfU);
}

template <LoopWhile kWhile, class T>
BySize loops() {
  return by_size(loop<kWhile, T, std::uint16_t>, loop<kWhile, T, std::uint32_t>, loop<kWhile, T, std::uint64_t>);
}
template <LoopWhile kWhile>
Handler select_loop(const Decoded& decoded, Instruction& instruction) {
  const unsigned size = target_size(decoded);
  const BySize by_counter = size == 2   ? loops<kWhile, std::uint16_t>()
                            : size == 4 ? loops<kWhile, std::uint32_t>()
                                        : loops<kWhile, std::uint64_t>();
  return by_counter.of(instruction.address_size);
}
template <class T>
BySize counter_jumps() {
  return by_size(jump_if_counter_is_zero<T, std::uint16_t>, jump_if_counter_is_zero<T, std::uint32_t>,
                 jump_if_counter_is_zero<T, std::uint64_t>);
}
Handler select_jcxz(const Decoded& decoded, Instruction& instruction) {
  const unsigned size = target_size(decoded);
  const BySize by_counter = size == 2   ? counter_jumps<std::uint16_t>()
                            : size == 4 ? counter_jumps<std::uint32_t>()
                                        : counter_jumps<std::uint64_t>();
  return by_counter.of(instruction.address_size);
}

constexpr std::array kRows = {
    OperationRow{ZYDIS_MNEMONIC_JMP, select_jmp},
    OperationRow{ZYDIS_MNEMONIC_CALL, select_call},
    OperationRow{ZYDIS_MNEMONIC_RET, select_ret},
    OperationRow{ZYDIS_MNEMONIC_JO, select_jcc},
    OperationRow{ZYDIS_MNEMONIC_JNO, select_jcc},
    OperationRow{ZYDIS_MNEMONIC_JB, select_jcc},
    OperationRow{ZYDIS_MNEMONIC_JNB, select_jcc},
    OperationRow{ZYDIS_MNEMONIC_JZ, select_jcc},
    OperationRow{ZYDIS_MNEMONIC_JNZ, select_jcc},
    OperationRow{ZYDIS_MNEMONIC_JBE, select_jcc},
    OperationRow{ZYDIS_MNEMONIC_JNBE, select_jcc},
    OperationRow{ZYDIS_MNEMONIC_JS, select_jcc},
    OperationRow{ZYDIS_MNEMONIC_JNS, select_jcc},
    OperationRow{ZYDIS_MNEMONIC_JP, select_jcc},
    OperationRow{ZYDIS_MNEMONIC_JNP, select_jcc},
    OperationRow{ZYDIS_MNEMONIC_JL, select_jcc},
    OperationRow{ZYDIS_MNEMONIC_JNL, select_jcc},
    OperationRow{ZYDIS_MNEMONIC_JLE, select_jcc},
    OperationRow{ZYDIS_MNEMONIC_JNLE, select_jcc},
    OperationRow{ZYDIS_MNEMONIC_LOOP, select_loop<LoopWhile::kAlways>},
    OperationRow{ZYDIS_MNEMONIC_LOOPE, select_loop<LoopWhile::kZero>},
    OperationRow{ZYDIS_MNEMONIC_LOOPNE, select_loop<LoopWhile::kNotZero>},
    OperationRow{ZYDIS_MNEMONIC_JCXZ, select_jcxz},
    OperationRow{ZYDIS_MNEMONIC_JECXZ, select_jcxz},
    OperationRow{ZYDIS_MNEMONIC_JRCXZ, select_jcxz},
};

}  // namespace

std::span<const OperationRow> branch_operations() {
  return kRows;
}

}  // namespace doppel::accel::soft
