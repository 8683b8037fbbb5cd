// Shifts and rotates (SDM 1 5.1.5), by the host's own instructions: so masked counts, counts beyond a 16-bit SHLD's
// operand and undefined flags are the host's.
#include <array>

#include "accel/soft/interpreter/alu.h"
#include "accel/soft/interpreter/operation.h"
#include "accel/soft/interpreter/register_offset.h"

namespace doppel::accel::soft {

namespace {

// Each: OPERAND op= COUNT. AX holds the flags before and after (alu.h).
#define DOPPEL_SHIFT(name, mnemonic)                                        \
  struct name {                                                             \
    template <class T>                                                      \
    static void value(std::uint16_t& ax, T& operand, std::uint8_t count) {  \
      asm(DOPPEL_LOAD_FLAGS mnemonic " %%cl, %[operand]" DOPPEL_STORE_FLAGS \
          : [operand] "+q"(operand), "+a"(ax)                               \
          : "c"(count)                                                      \
          : "cc");                                                          \
    }                                                                       \
  }
DOPPEL_SHIFT(Shl, "shl");
DOPPEL_SHIFT(Shr, "shr");
DOPPEL_SHIFT(Sar, "sar");
DOPPEL_SHIFT(Rol, "rol");
DOPPEL_SHIFT(Ror, "ror");
DOPPEL_SHIFT(Rcl, "rcl");
DOPPEL_SHIFT(Rcr, "rcr");
#undef DOPPEL_SHIFT

// Each: OPERAND op= COUNT, filled up from SOURCE.
#define DOPPEL_DOUBLE_SHIFT(name, mnemonic)                                            \
  struct name {                                                                        \
    template <class T>                                                                 \
    static void value(std::uint16_t& ax, T& operand, T source, std::uint8_t count) {   \
      asm(DOPPEL_LOAD_FLAGS mnemonic " %%cl, %[source], %[operand]" DOPPEL_STORE_FLAGS \
          : [operand] "+r"(operand), "+a"(ax)                                          \
          : [source] "r"(source), "c"(count)                                           \
          : "cc");                                                                     \
    }                                                                                  \
  }
DOPPEL_DOUBLE_SHIFT(Shld, "shld");
DOPPEL_DOUBLE_SHIFT(Shrd, "shrd");
#undef DOPPEL_DOUBLE_SHIFT

/// Where the count comes from.
enum class Count : std::uint8_t { kImmediate, kCl };

template <Count kCount>
std::uint8_t count_of(const Cpu& cpu, const Instruction& i) {
  return kCount == Count::kCl ? cpu.get<std::uint8_t>(kCounter) : static_cast<std::uint8_t>(i.imm);
}

template <class Op, Count kCount, class T>
void shift_rm(Cpu& cpu, const Instruction& i) {
  std::uint16_t ax = alu::ax_of(cpu);
  T operand = cpu.get<T>(i.rm);
  Op::value(ax, operand, count_of<kCount>(cpu, i));
  cpu.set<T>(i.rm, operand);
  alu::set_flags(cpu, ax);
}

template <class Op, Count kCount, class T>
void shift_mem(Cpu& cpu, const Instruction& i) {
  const std::uint8_t count = count_of<kCount>(cpu, i);
  std::uint16_t ax = alu::ax_of(cpu);
  cpu.modify<T>(i.segment, cpu.effective_address(i), false, [&ax, count](Place<T>& place) {
    T operand = place.value;
    Op::value(ax, operand, count);
    place.value = operand;
  });
  alu::set_flags(cpu, ax);
}

template <class Op, Count kCount, class T>
void double_rm(Cpu& cpu, const Instruction& i) {
  std::uint16_t ax = alu::ax_of(cpu);
  T operand = cpu.get<T>(i.rm);
  Op::value(ax, operand, cpu.get<T>(i.reg), count_of<kCount>(cpu, i));
  cpu.set<T>(i.rm, operand);
  alu::set_flags(cpu, ax);
}

template <class Op, Count kCount, class T>
void double_mem(Cpu& cpu, const Instruction& i) {
  const std::uint8_t count = count_of<kCount>(cpu, i);
  const T source = cpu.get<T>(i.reg);
  std::uint16_t ax = alu::ax_of(cpu);
  cpu.modify<T>(i.segment, cpu.effective_address(i), false, [&ax, source, count](Place<T>& place) {
    T operand = place.value;
    Op::value(ax, operand, source, count);
    place.value = operand;
  });
  alu::set_flags(cpu, ax);
}

template <class Op, Count kCount>
constexpr BySize kShiftRm{shift_rm<Op, kCount, std::uint8_t>, shift_rm<Op, kCount, std::uint16_t>,
                          shift_rm<Op, kCount, std::uint32_t>, shift_rm<Op, kCount, std::uint64_t>};
template <class Op, Count kCount>
constexpr BySize kShiftMem{shift_mem<Op, kCount, std::uint8_t>, shift_mem<Op, kCount, std::uint16_t>,
                           shift_mem<Op, kCount, std::uint32_t>, shift_mem<Op, kCount, std::uint64_t>};
template <class Op, Count kCount>
constexpr BySize kDoubleRm{nullptr, double_rm<Op, kCount, std::uint16_t>, double_rm<Op, kCount, std::uint32_t>,
                           double_rm<Op, kCount, std::uint64_t>};
template <class Op, Count kCount>
constexpr BySize kDoubleMem{nullptr, double_mem<Op, kCount, std::uint16_t>, double_mem<Op, kCount, std::uint32_t>,
                            double_mem<Op, kCount, std::uint64_t>};

template <class Op>
Handler select(const Decoded& decoded, Instruction& instruction) {
  const unsigned size = decoded.size(0);
  if (decoded.is_register(1))
    return (decoded.is_memory(0) ? kShiftMem<Op, Count::kCl> : kShiftRm<Op, Count::kCl>).of(size);
  instruction.imm = decoded.operand(1).imm.value.u;
  return (decoded.is_memory(0) ? kShiftMem<Op, Count::kImmediate> : kShiftRm<Op, Count::kImmediate>).of(size);
}

template <class Op>
Handler select_double(const Decoded& decoded, Instruction&) {
  const unsigned size = decoded.size(0);
  if (decoded.is_register(2))
    return (decoded.is_memory(0) ? kDoubleMem<Op, Count::kCl> : kDoubleRm<Op, Count::kCl>).of(size);
  return (decoded.is_memory(0) ? kDoubleMem<Op, Count::kImmediate> : kDoubleRm<Op, Count::kImmediate>).of(size);
}

constexpr std::array kRows = {
    OperationRow{ZYDIS_MNEMONIC_SHL, select<Shl>},          OperationRow{ZYDIS_MNEMONIC_SHR, select<Shr>},
    OperationRow{ZYDIS_MNEMONIC_SAR, select<Sar>},          OperationRow{ZYDIS_MNEMONIC_ROL, select<Rol>},
    OperationRow{ZYDIS_MNEMONIC_ROR, select<Ror>},          OperationRow{ZYDIS_MNEMONIC_RCL, select<Rcl>},
    OperationRow{ZYDIS_MNEMONIC_RCR, select<Rcr>},          OperationRow{ZYDIS_MNEMONIC_SHLD, select_double<Shld>},
    OperationRow{ZYDIS_MNEMONIC_SHRD, select_double<Shrd>},
};

}  // namespace

std::span<const OperationRow> shift_operations() {
  return kRows;
}

}  // namespace doppel::accel::soft
