// Multiplication, division and decimal adjustment (SDM 1 5.1.2 and 5.1.3). The host multiplies and divides, so that
// undefined flags are its own; what it would refuse to divide is found out before.
#include <array>
#include <bit>
#include <type_traits>

#include "accel/soft/interpreter/alu.h"
#include "accel/soft/interpreter/operation.h"
#include "accel/soft/interpreter/register_offset.h"

namespace doppel::accel::soft {

namespace {

namespace rflags = x86::rflags;

__extension__ using Uint128 = unsigned __int128;

/// Twice as wide as T.
template <class T>
using Wide = std::conditional_t<
    sizeof(T) == 1, std::uint16_t,
    std::conditional_t<sizeof(T) == 2, std::uint32_t, std::conditional_t<sizeof(T) == 4, std::uint64_t, Uint128>>>;

// --- MUL, IMUL, DIV, IDIV with one operand ---

// Each: RAX is LOW and RDX is HIGH, before and after. AX holds the flags (alu.h): MOV leaves them alone.
#define DOPPEL_WIDE_OPERATION(name, mnemonic)                                                                        \
  struct name {                                                                                                      \
    template <class T>                                                                                               \
    static void run(std::uint16_t& ax, std::uint64_t& low, std::uint64_t& high, T operand) {                         \
      asm(DOPPEL_LOAD_FLAGS "movq %[low], %%rax\n\t" mnemonic " %[operand]\n\tmovq %%rax, %[low]" DOPPEL_STORE_FLAGS \
          : "+a"(ax), [low] "+r"(low), "+d"(high)                                                                    \
          : [operand] "q"(operand)                                                                                   \
          : "cc");                                                                                                   \
    }                                                                                                                \
  }
DOPPEL_WIDE_OPERATION(Mul, "mul");
DOPPEL_WIDE_OPERATION(Imul, "imul");
DOPPEL_WIDE_OPERATION(Div, "div");
DOPPEL_WIDE_OPERATION(Idiv, "idiv");
#undef DOPPEL_WIDE_OPERATION

template <class T>
Wide<T> dividend_of(const Cpu& cpu) {
  if constexpr (sizeof(T) == 1)
    return cpu.get<std::uint16_t>(kAccumulator);
  else
    return static_cast<Wide<T>>(static_cast<Wide<T>>(cpu.get<T>(kData)) << 8 * sizeof(T) | cpu.get<T>(kAccumulator));
}

template <class T>
constexpr bool is_negative(T value) {
  return (value >> (8 * sizeof(T) - 1) & 1) != 0;
}
template <class T>
constexpr T magnitude(T value) {
  return is_negative(value) ? static_cast<T>(T{0} - value) : value;
}

template <class T>
bool quotient_fits(Wide<T> dividend, T divisor) {
  return divisor != 0 && static_cast<T>(dividend >> 8 * sizeof(T)) < divisor;
}
/// The quotient is cut towards zero, so it fits if |DIVIDEND| < |DIVISOR| * 2^(n-1), and one more for a negative one.
template <class T>
bool signed_quotient_fits(Wide<T> dividend, T divisor) {
  const Wide<T> size = magnitude(divisor);
  const Wide<T> bound = static_cast<Wide<T>>(size << (8 * sizeof(T) - 1));
  const bool negative = is_negative(dividend) != is_negative(divisor);
  return divisor != 0 && magnitude(dividend) < static_cast<Wide<T>>(bound + (negative ? size : 0));
}

template <class Op, class T>
void run_wide(Cpu& cpu, T operand) {
  if constexpr (std::is_same_v<Op, Div>) {
    if (!quotient_fits<T>(dividend_of<T>(cpu), operand)) raise(x86::kDivideError);
  } else if constexpr (std::is_same_v<Op, Idiv>) {
    if (!signed_quotient_fits<T>(dividend_of<T>(cpu), operand)) raise(x86::kDivideError);
  }
  // Bytes have AX for AH:AL.
  using Half = std::conditional_t<sizeof(T) == 1, std::uint16_t, T>;
  std::uint64_t low = cpu.get<Half>(kAccumulator);
  std::uint64_t high = cpu.get<T>(kData);
  std::uint16_t ax = alu::ax_of(cpu);
  Op::run(ax, low, high, operand);
  cpu.set<Half>(kAccumulator, static_cast<Half>(low));
  if constexpr (sizeof(T) > 1) cpu.set<T>(kData, static_cast<T>(high));
  alu::set_flags(cpu, ax);
}

template <class Op, class T>
void wide_rm(Cpu& cpu, const Instruction& i) {
  run_wide<Op>(cpu, cpu.get<T>(i.rm));
}
template <class Op, class T>
void wide_mem(Cpu& cpu, const Instruction& i) {
  run_wide<Op>(cpu, cpu.load<T>(i.segment, cpu.effective_address(i)));
}

template <class Op>
Handler select_wide(const Decoded& decoded, Instruction&) {
  static constexpr BySize kRegister{wide_rm<Op, std::uint8_t>, wide_rm<Op, std::uint16_t>, wide_rm<Op, std::uint32_t>,
                                    wide_rm<Op, std::uint64_t>};
  static constexpr BySize kMemory{wide_mem<Op, std::uint8_t>, wide_mem<Op, std::uint16_t>, wide_mem<Op, std::uint32_t>,
                                  wide_mem<Op, std::uint64_t>};
  return (decoded.is_memory(0) ? kMemory : kRegister).of(decoded.size(0));
}

// --- IMUL with two and three operands ---

template <class T>
void set_product(Cpu& cpu, RegisterOffset destination, T product, T factor) {
  std::uint16_t ax = alu::ax_of(cpu);
  asm(DOPPEL_LOAD_FLAGS "imul %[factor], %[product]" DOPPEL_STORE_FLAGS
      : "+a"(ax), [product] "+r"(product)
      : [factor] "r"(factor)
      : "cc");
  cpu.set<T>(destination, product);
  alu::set_flags(cpu, ax);
}

/// Two operands in registers: RM is the destination.
template <class T>
void imul_rm_reg(Cpu& cpu, const Instruction& i) {
  set_product<T>(cpu, i.rm, cpu.get<T>(i.rm), cpu.get<T>(i.reg));
}
template <class T>
void imul_reg_mem(Cpu& cpu, const Instruction& i) {
  set_product<T>(cpu, i.reg, cpu.get<T>(i.reg), cpu.load<T>(i.segment, cpu.effective_address(i)));
}
/// Three operands: RM is the destination here, too.
template <class T>
void imul_rm_reg_imm(Cpu& cpu, const Instruction& i) {
  set_product<T>(cpu, i.rm, cpu.get<T>(i.reg), static_cast<T>(i.imm));
}
template <class T>
void imul_reg_mem_imm(Cpu& cpu, const Instruction& i) {
  set_product<T>(cpu, i.reg, cpu.load<T>(i.segment, cpu.effective_address(i)), static_cast<T>(i.imm));
}

template <class T>
Handler select_imul_of(const Decoded& decoded) {
  if (decoded.zydis.operand_count_visible == 3) return decoded.is_memory(1) ? imul_reg_mem_imm<T> : imul_rm_reg_imm<T>;
  return decoded.is_memory(1) ? imul_reg_mem<T> : imul_rm_reg<T>;
}

Handler select_imul(const Decoded& decoded, Instruction& instruction) {
  if (decoded.zydis.operand_count_visible == 1) return select_wide<Imul>(decoded, instruction);
  switch (decoded.size(0)) {
    case 2: return select_imul_of<std::uint16_t>(decoded);
    case 4: return select_imul_of<std::uint32_t>(decoded);
    default: return select_imul_of<std::uint64_t>(decoded);
  }
}

// --- Decimal adjustment (SDM 1 7.3.4): not in 64-bit mode, so the host cannot do it ---

/// ZF, SF and PF of RESULT, CF and AF as told; OF, which is undefined, off.
void set_decimal_flags(Cpu& cpu, std::uint8_t result, bool adjust, bool carry) {
  std::uint64_t flags = 0;
  if (result == 0) flags |= rflags::kZf;
  if (result >= 0x80) flags |= rflags::kSf;
  if (std::popcount(result) % 2 == 0) flags |= rflags::kPf;
  if (adjust) flags |= rflags::kAf;
  if (carry) flags |= rflags::kCf;
  cpu.rflags = (cpu.rflags & ~rflags::kArithmetic) | flags;
}

/// DAA and DAS. kSubtracts: after a subtraction.
template <bool kSubtracts>
void decimal_adjust(Cpu& cpu, const Instruction&) {
  const auto before = cpu.get<std::uint8_t>(kAccumulator);
  const bool carry_before = cpu.flag(rflags::kCf);
  unsigned result = before;
  bool carry = false;
  const bool adjust = (before & 0xfU) > 9 || cpu.flag(rflags::kAf);
  if (adjust) {
    result = kSubtracts ? result - 6 : result + 6;
    carry = carry_before || result > 0xff;
  }
  if (before > 0x99 || carry_before) {
    result = kSubtracts ? result - 0x60 : result + 0x60;
    carry = true;
  } else if (!kSubtracts) {
    carry = false;
  }
  const auto low = static_cast<std::uint8_t>(result);
  cpu.set<std::uint8_t>(kAccumulator, low);
  set_decimal_flags(cpu, low, adjust, carry);
}

/// AAA and AAS.
template <bool kSubtracts>
void ascii_adjust(Cpu& cpu, const Instruction&) {
  unsigned ax = cpu.get<std::uint16_t>(kAccumulator);
  const bool adjust = (ax & 0xfU) > 9 || cpu.flag(rflags::kAf);
  if (adjust) ax = kSubtracts ? ax - 0x106 : ax + 0x106;
  ax &= 0xff0fU;
  cpu.set<std::uint16_t>(kAccumulator, static_cast<std::uint16_t>(ax));
  set_decimal_flags(cpu, static_cast<std::uint8_t>(ax), adjust, adjust);
}

void aam(Cpu& cpu, const Instruction& i) {
  const auto base = static_cast<std::uint8_t>(i.imm);
  if (base == 0) raise(x86::kDivideError);
  const auto al = cpu.get<std::uint8_t>(kAccumulator);
  const auto low = static_cast<std::uint8_t>(al % base);
  cpu.set<std::uint16_t>(kAccumulator, static_cast<std::uint16_t>(al / base << 8U | low));
  set_decimal_flags(cpu, low, false, false);
}

void aad(Cpu& cpu, const Instruction& i) {
  const unsigned al = cpu.get<std::uint8_t>(kAccumulator);
  const unsigned ah = cpu.get<std::uint8_t>(kAccumulatorHigh);
  const auto low = static_cast<std::uint8_t>(al + ah * static_cast<std::uint8_t>(i.imm));
  cpu.set<std::uint16_t>(kAccumulator, low);
  set_decimal_flags(cpu, low, false, false);
}

template <Handler handler>
Handler always(const Decoded&, Instruction&) {
  return handler;
}

constexpr std::array kRows = {
    OperationRow{ZYDIS_MNEMONIC_MUL, select_wide<Mul>},
    OperationRow{ZYDIS_MNEMONIC_IMUL, select_imul},
    OperationRow{ZYDIS_MNEMONIC_DIV, select_wide<Div>},
    OperationRow{ZYDIS_MNEMONIC_IDIV, select_wide<Idiv>},
    OperationRow{ZYDIS_MNEMONIC_DAA, always<decimal_adjust<false>>},
    OperationRow{ZYDIS_MNEMONIC_DAS, always<decimal_adjust<true>>},
    OperationRow{ZYDIS_MNEMONIC_AAA, always<ascii_adjust<false>>},
    OperationRow{ZYDIS_MNEMONIC_AAS, always<ascii_adjust<true>>},
    OperationRow{ZYDIS_MNEMONIC_AAM, always<aam>},
    OperationRow{ZYDIS_MNEMONIC_AAD, always<aad>},
};

}  // namespace

std::span<const OperationRow> multiply_operations() {
  return kRows;
}

}  // namespace doppel::accel::soft
