// Bit tests, bit scans and SETcc (SDM 1 5.1.6).
#include <array>

#include "accel/soft/interpreter/alu.h"
#include "accel/soft/interpreter/bit_string.h"
#include "accel/soft/interpreter/condition.h"
#include "accel/soft/interpreter/operation.h"

namespace doppel::accel::soft {

namespace {

namespace rflags = x86::rflags;

// --- BT, BTS, BTR, BTC: the bit goes to CF, the other flags stay (ZF must, the rest are undefined) ---

void set_carry(Cpu& cpu, bool carry) {
  cpu.rflags = (cpu.rflags & ~rflags::kCf) | (carry ? rflags::kCf : 0);
}

// Each: what becomes of bit BIT (below T's width) of OPERAND; the return value is the bit before.
#define DOPPEL_BIT_OPERATION(name, mnemonic, writes)                                                   \
  struct name {                                                                                        \
    static constexpr bool kWrites = writes;                                                            \
    template <class T>                                                                                 \
    static bool value(T& operand, T bit) {                                                             \
      bool before = false;                                                                             \
      asm(mnemonic " %[bit], %[operand]" : [operand] "+r"(operand), "=@ccc"(before) : [bit] "r"(bit)); \
      return before;                                                                                   \
    }                                                                                                  \
    template <class T>                                                                                 \
    static bool locked(Place<T>& operand, T bit) {                                                     \
      bool before = false;                                                                             \
      asm volatile("lock " mnemonic " %[bit], %[operand]"                                              \
                   : [operand] "+m"(operand.value), "=@ccc"(before)                                    \
                   : [bit] "r"(bit)                                                                    \
                   : "memory");                                                                        \
      return before;                                                                                   \
    }                                                                                                  \
  }
DOPPEL_BIT_OPERATION(Bt, "bt", false);
DOPPEL_BIT_OPERATION(Bts, "bts", true);
DOPPEL_BIT_OPERATION(Btr, "btr", true);
DOPPEL_BIT_OPERATION(Btc, "btc", true);
#undef DOPPEL_BIT_OPERATION

enum class Index : std::uint8_t { kRegister, kImmediate };

template <Index kIndex, class T>
T index_of(const Cpu& cpu, const Instruction& i) {
  return kIndex == Index::kRegister ? cpu.get<T>(i.reg) : static_cast<T>(i.imm);
}

template <class Op, Index kIndex, class T>
void bit_rm(Cpu& cpu, const Instruction& i) {
  T operand = cpu.get<T>(i.rm);
  const bool before = Op::value(operand, index_of<kIndex, T>(cpu, i));
  if constexpr (Op::kWrites) cpu.set<T>(i.rm, operand);
  set_carry(cpu, before);
}

template <class Op, Index kIndex, class T>
void bit_mem(Cpu& cpu, const Instruction& i) {
  constexpr unsigned kBits = 8 * sizeof(T);
  const T index = index_of<kIndex, T>(cpu, i);
  const T bit = index & (kBits - 1);
  const std::uint64_t offset = kIndex == Index::kRegister ? bit_string_offset(cpu, i) : cpu.effective_address(i);
  bool before = false;
  if constexpr (!Op::kWrites) {
    T operand = cpu.load<T>(i.segment, offset);
    before = Op::value(operand, bit);
  } else if (i.lock) {
    cpu.modify<T>(i.segment, offset, true, [&before, bit](Place<T>& place) { before = Op::locked(place, bit); });
  } else {
    cpu.modify<T>(i.segment, offset, false, [&before, bit](Place<T>& place) {
      T operand = place.value;
      before = Op::value(operand, bit);
      place.value = operand;
    });
  }
  set_carry(cpu, before);
}

template <class Op, Index kIndex>
Handler select_bit_by_index(const Decoded& decoded) {
  static constexpr BySize kRegister{nullptr, bit_rm<Op, kIndex, std::uint16_t>, bit_rm<Op, kIndex, std::uint32_t>,
                                    bit_rm<Op, kIndex, std::uint64_t>};
  static constexpr BySize kMemory{nullptr, bit_mem<Op, kIndex, std::uint16_t>, bit_mem<Op, kIndex, std::uint32_t>,
                                  bit_mem<Op, kIndex, std::uint64_t>};
  return (decoded.is_memory(0) ? kMemory : kRegister).of(decoded.size(0));
}
template <class Op>
Handler select_bit(const Decoded& decoded, Instruction&) {
  return decoded.is_immediate(1) ? select_bit_by_index<Op, Index::kImmediate>(decoded)
                                 : select_bit_by_index<Op, Index::kRegister>(decoded);
}

// --- BSF, BSR ---

// A zero source leaves the destination to the host's taste: it gets the whole register.
#define DOPPEL_BIT_SCAN(name, mnemonic)                                                  \
  struct name {                                                                          \
    template <class T>                                                                   \
    static void run(std::uint16_t& ax, std::uint64_t& destination, T source) {           \
      if constexpr (sizeof(T) == 2)                                                      \
        asm(DOPPEL_LOAD_FLAGS mnemonic " %w[source], %w[destination]" DOPPEL_STORE_FLAGS \
            : "+a"(ax), [destination] "+r"(destination)                                  \
            : [source] "r"(source)                                                       \
            : "cc");                                                                     \
      else if constexpr (sizeof(T) == 4)                                                 \
        asm(DOPPEL_LOAD_FLAGS mnemonic " %k[source], %k[destination]" DOPPEL_STORE_FLAGS \
            : "+a"(ax), [destination] "+r"(destination)                                  \
            : [source] "r"(source)                                                       \
            : "cc");                                                                     \
      else                                                                               \
        asm(DOPPEL_LOAD_FLAGS mnemonic " %q[source], %q[destination]" DOPPEL_STORE_FLAGS \
            : "+a"(ax), [destination] "+r"(destination)                                  \
            : [source] "r"(source)                                                       \
            : "cc");                                                                     \
    }                                                                                    \
  }
DOPPEL_BIT_SCAN(Bsf, "bsf");
DOPPEL_BIT_SCAN(Bsr, "bsr");
#undef DOPPEL_BIT_SCAN

template <class Op, class T>
void scan(Cpu& cpu, RegisterOffset destination, T source) {
  std::uint16_t ax = alu::ax_of(cpu);
  auto value = cpu.get<std::uint64_t>(destination);
  Op::run(ax, value, source);
  cpu.set<std::uint64_t>(destination, value);
  alu::set_flags(cpu, ax);
}
template <class Op, class T>
void scan_rm_reg(Cpu& cpu, const Instruction& i) {
  scan<Op>(cpu, i.rm, cpu.get<T>(i.reg));
}
template <class Op, class T>
void scan_reg_mem(Cpu& cpu, const Instruction& i) {
  scan<Op>(cpu, i.reg, cpu.load<T>(i.segment, cpu.effective_address(i)));
}
template <class Op>
Handler select_scan(const Decoded& decoded, Instruction&) {
  static constexpr BySize kRegister{nullptr, scan_rm_reg<Op, std::uint16_t>, scan_rm_reg<Op, std::uint32_t>,
                                    scan_rm_reg<Op, std::uint64_t>};
  static constexpr BySize kMemory{nullptr, scan_reg_mem<Op, std::uint16_t>, scan_reg_mem<Op, std::uint32_t>,
                                  scan_reg_mem<Op, std::uint64_t>};
  return (decoded.is_memory(1) ? kMemory : kRegister).of(decoded.size(0));
}

// --- SETcc ---

template <unsigned kCode>
void setcc_rm(Cpu& cpu, const Instruction& i) {
  cpu.set<std::uint8_t>(i.rm, holds<kCode>(cpu.rflags) ? 1 : 0);
}
template <unsigned kCode>
void setcc_mem(Cpu& cpu, const Instruction& i) {
  cpu.store<std::uint8_t>(i.segment, cpu.effective_address(i), holds<kCode>(cpu.rflags) ? 1 : 0);
}
Handler select_setcc(const Decoded& decoded, Instruction&) {
  static constexpr auto kRegister = handlers_by_condition([]<unsigned kCode>() { return setcc_rm<kCode>; });
  static constexpr auto kMemory = handlers_by_condition([]<unsigned kCode>() { return setcc_mem<kCode>; });
  return (decoded.is_memory(0) ? kMemory : kRegister).at(decoded.zydis.opcode & 0xfU);
}

constexpr std::array kRows = {
    OperationRow{ZYDIS_MNEMONIC_BT, select_bit<Bt>},    OperationRow{ZYDIS_MNEMONIC_BTS, select_bit<Bts>},
    OperationRow{ZYDIS_MNEMONIC_BTR, select_bit<Btr>},  OperationRow{ZYDIS_MNEMONIC_BTC, select_bit<Btc>},
    OperationRow{ZYDIS_MNEMONIC_BSF, select_scan<Bsf>}, OperationRow{ZYDIS_MNEMONIC_BSR, select_scan<Bsr>},
    OperationRow{ZYDIS_MNEMONIC_SETO, select_setcc},    OperationRow{ZYDIS_MNEMONIC_SETNO, select_setcc},
    OperationRow{ZYDIS_MNEMONIC_SETB, select_setcc},    OperationRow{ZYDIS_MNEMONIC_SETNB, select_setcc},
    OperationRow{ZYDIS_MNEMONIC_SETZ, select_setcc},    OperationRow{ZYDIS_MNEMONIC_SETNZ, select_setcc},
    OperationRow{ZYDIS_MNEMONIC_SETBE, select_setcc},   OperationRow{ZYDIS_MNEMONIC_SETNBE, select_setcc},
    OperationRow{ZYDIS_MNEMONIC_SETS, select_setcc},    OperationRow{ZYDIS_MNEMONIC_SETNS, select_setcc},
    OperationRow{ZYDIS_MNEMONIC_SETP, select_setcc},    OperationRow{ZYDIS_MNEMONIC_SETNP, select_setcc},
    OperationRow{ZYDIS_MNEMONIC_SETL, select_setcc},    OperationRow{ZYDIS_MNEMONIC_SETNL, select_setcc},
    OperationRow{ZYDIS_MNEMONIC_SETLE, select_setcc},   OperationRow{ZYDIS_MNEMONIC_SETNLE, select_setcc},
};

}  // namespace

std::span<const OperationRow> bit_operations() {
  return kRows;
}

}  // namespace doppel::accel::soft
