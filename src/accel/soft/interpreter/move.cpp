// Data transfer (SDM 1 5.1.1), LEA, XLAT and instructions that do nothing (5.1.12).
#include <array>
#include <bit>
#include <type_traits>

#include "accel/soft/interpreter/condition.h"
#include "accel/soft/interpreter/cpu.h"
#include "accel/soft/interpreter/operation.h"
#include "accel/soft/interpreter/register_offset.h"

namespace doppel::accel::soft {

namespace {

// --- MOV, MOVNTI, MOVBE ---

template <class T>
void mov_rm_reg(Cpu& cpu, const Instruction& i) {
  cpu.set<T>(i.rm, cpu.get<T>(i.reg));
}
template <class T>
void mov_rm_imm(Cpu& cpu, const Instruction& i) {
  cpu.set<T>(i.rm, static_cast<T>(i.imm));
}
template <class T>
void mov_reg_mem(Cpu& cpu, const Instruction& i) {
  cpu.set<T>(i.reg, cpu.load<T>(i.segment, cpu.effective_address(i)));
}
template <class T>
void mov_mem_reg(Cpu& cpu, const Instruction& i) {
  cpu.store<T>(i.segment, cpu.effective_address(i), cpu.get<T>(i.reg));
}
template <class T>
void mov_mem_imm(Cpu& cpu, const Instruction& i) {
  cpu.store<T>(i.segment, cpu.effective_address(i), static_cast<T>(i.imm));
}

template <class T>
Handler select_mov_of(const Decoded& decoded) {
  if (decoded.is_memory(0)) return decoded.is_immediate(1) ? mov_mem_imm<T> : mov_mem_reg<T>;
  if (decoded.is_memory(1)) return mov_reg_mem<T>;
  return decoded.is_immediate(1) ? mov_rm_imm<T> : mov_rm_reg<T>;
}

bool is_general(const Decoded& decoded, unsigned n) {
  if (!decoded.is_register(n)) return true;
  switch (ZydisRegisterGetClass(decoded.operand(n).reg.value)) {
    case ZYDIS_REGCLASS_GPR8:
    case ZYDIS_REGCLASS_GPR16:
    case ZYDIS_REGCLASS_GPR32:
    case ZYDIS_REGCLASS_GPR64: return true;
    default: return false;
  }
}

Handler select_mov(const Decoded& decoded, Instruction&) {
  if (!is_general(decoded, 0) || !is_general(decoded, 1)) return nullptr;  // segment, control, debug registers
  switch (decoded.size(0)) {
    case 1: return select_mov_of<std::uint8_t>(decoded);
    case 2: return select_mov_of<std::uint16_t>(decoded);
    case 4: return select_mov_of<std::uint32_t>(decoded);
    default: return select_mov_of<std::uint64_t>(decoded);
  }
}

template <class T>
T swapped(T value) {
  return std::byteswap(value);
}
template <class T>
void movbe_reg_mem(Cpu& cpu, const Instruction& i) {
  cpu.set<T>(i.reg, swapped(cpu.load<T>(i.segment, cpu.effective_address(i))));
}
template <class T>
void movbe_mem_reg(Cpu& cpu, const Instruction& i) {
  cpu.store<T>(i.segment, cpu.effective_address(i), swapped(cpu.get<T>(i.reg)));
}
Handler select_movbe(const Decoded& decoded, Instruction&) {
  static constexpr BySize kLoad{nullptr, movbe_reg_mem<std::uint16_t>, movbe_reg_mem<std::uint32_t>,
                                movbe_reg_mem<std::uint64_t>};
  static constexpr BySize kStore{nullptr, movbe_mem_reg<std::uint16_t>, movbe_mem_reg<std::uint32_t>,
                                 movbe_mem_reg<std::uint64_t>};
  return (decoded.is_memory(0) ? kStore : kLoad).of(decoded.size(0));
}

// --- MOVZX, MOVSX, MOVSXD ---

template <class To, class From>
void extend_rm_reg(Cpu& cpu, const Instruction& i) {
  using Source = std::conditional_t<std::is_signed_v<To>, std::make_signed_t<From>, From>;
  const auto source = static_cast<Source>(cpu.get<From>(i.reg));
  cpu.set(i.rm, static_cast<std::make_unsigned_t<To>>(source));
}
template <class To, class From>
void extend_reg_mem(Cpu& cpu, const Instruction& i) {
  using Source = std::conditional_t<std::is_signed_v<To>, std::make_signed_t<From>, From>;
  const auto source = static_cast<Source>(cpu.load<From>(i.segment, cpu.effective_address(i)));
  cpu.set(i.reg, static_cast<std::make_unsigned_t<To>>(source));
}

template <class To>
Handler select_extend_to(const Decoded& decoded) {
  static constexpr BySize kRegister{extend_rm_reg<To, std::uint8_t>, extend_rm_reg<To, std::uint16_t>,
                                    extend_rm_reg<To, std::uint32_t>, nullptr};
  static constexpr BySize kMemory{extend_reg_mem<To, std::uint8_t>, extend_reg_mem<To, std::uint16_t>,
                                  extend_reg_mem<To, std::uint32_t>, nullptr};
  return (decoded.is_memory(1) ? kMemory : kRegister).of(decoded.size(1));
}
Handler select_zero_extend(const Decoded& decoded, Instruction&) {
  switch (decoded.size(0)) {
    case 2: return select_extend_to<std::uint16_t>(decoded);
    case 4: return select_extend_to<std::uint32_t>(decoded);
    default: return select_extend_to<std::uint64_t>(decoded);
  }
}
Handler select_sign_extend(const Decoded& decoded, Instruction&) {
  switch (decoded.size(0)) {
    case 2: return select_extend_to<std::int16_t>(decoded);
    case 4: return select_extend_to<std::int32_t>(decoded);
    default: return select_extend_to<std::int64_t>(decoded);
  }
}

/// CBW, CWDE, CDQE: the accumulator's low half to all of it.
template <class To, class From>
void extend_accumulator(Cpu& cpu, const Instruction&) {
  const To wide = static_cast<From>(cpu.get<std::make_unsigned_t<From>>(kAccumulator));  // NOLINT: extends the sign
  cpu.set(kAccumulator, static_cast<std::make_unsigned_t<To>>(wide));
}
/// CWD, CDQ, CQO: the accumulator's sign to all of (R/E)DX.
template <class T>
void spread_sign(Cpu& cpu, const Instruction&) {
  const bool negative = static_cast<std::make_signed_t<T>>(cpu.get<T>(kAccumulator)) < 0;
  cpu.set<T>(kData, static_cast<T>(negative ? ~T{0} : T{0}));
}

// --- CMOVcc: memory is read and a 32-bit destination's upper half cleared whatever the condition ---

template <unsigned kCode, class T>
void cmov_rm_reg(Cpu& cpu, const Instruction& i) {
  cpu.set<T>(i.rm, cpu.get<T>(holds<kCode>(cpu.rflags) ? i.reg : i.rm));
}
template <unsigned kCode, class T>
void cmov_reg_mem(Cpu& cpu, const Instruction& i) {
  const T source = cpu.load<T>(i.segment, cpu.effective_address(i));
  cpu.set<T>(i.reg, holds<kCode>(cpu.rflags) ? source : cpu.get<T>(i.reg));
}
template <class T>
Handler select_cmov_of(const Decoded& decoded) {
  static constexpr auto kRegister = handlers_by_condition([]<unsigned kCode>() { return cmov_rm_reg<kCode, T>; });
  static constexpr auto kMemory = handlers_by_condition([]<unsigned kCode>() { return cmov_reg_mem<kCode, T>; });
  return (decoded.is_memory(1) ? kMemory : kRegister).at(decoded.zydis.opcode & 0xfU);
}
Handler select_cmov(const Decoded& decoded, Instruction&) {
  switch (decoded.size(0)) {
    case 2: return select_cmov_of<std::uint16_t>(decoded);
    case 4: return select_cmov_of<std::uint32_t>(decoded);
    default: return select_cmov_of<std::uint64_t>(decoded);
  }
}

// --- BSWAP ---

/// Of 16 bits the manual says nothing; the host does what it does.
void bswap16(Cpu& cpu, const Instruction& i) {
  auto value = cpu.get<std::uint64_t>(i.rm);
  asm(".byte 0x66, 0x0f, 0xc8" : "+a"(value));  // bswap ax
  cpu.set<std::uint64_t>(i.rm, value);
}
template <class T>
void bswap(Cpu& cpu, const Instruction& i) {
  cpu.set<T>(i.rm, swapped(cpu.get<T>(i.rm)));
}
Handler select_bswap(const Decoded& decoded, Instruction&) {
  return BySize{nullptr, bswap16, bswap<std::uint32_t>, bswap<std::uint64_t>}.of(decoded.size(0));
}

// --- LEA, XLAT ---

template <class T>
void lea(Cpu& cpu, const Instruction& i) {
  cpu.set<T>(i.reg, static_cast<T>(cpu.effective_address(i)));
}
Handler select_lea(const Decoded& decoded, Instruction&) {
  return BySize{nullptr, lea<std::uint16_t>, lea<std::uint32_t>, lea<std::uint64_t>}.of(decoded.size(0));
}

void xlat(Cpu& cpu, const Instruction& i) {
  const std::uint64_t offset = cpu.gpr[x86::kRbx] + cpu.get<std::uint8_t>(kAccumulator);
  cpu.set(kAccumulator, cpu.load<std::uint8_t>(i.segment, offset & low_mask(i.address_size * 8U)));
}

// --- Instructions without effect ---

void nop(Cpu&, const Instruction&) {}

template <Handler handler>
Handler always(const Decoded&, Instruction&) {
  return handler;
}

constexpr std::array kRows = {
    OperationRow{ZYDIS_MNEMONIC_MOV, select_mov},
    OperationRow{ZYDIS_MNEMONIC_MOVNTI, select_mov},
    OperationRow{ZYDIS_MNEMONIC_MOVBE, select_movbe},
    OperationRow{ZYDIS_MNEMONIC_MOVZX, select_zero_extend},
    OperationRow{ZYDIS_MNEMONIC_MOVSX, select_sign_extend},
    OperationRow{ZYDIS_MNEMONIC_MOVSXD, select_sign_extend},
    OperationRow{ZYDIS_MNEMONIC_CBW, always<extend_accumulator<std::int16_t, std::int8_t>>},
    OperationRow{ZYDIS_MNEMONIC_CWDE, always<extend_accumulator<std::int32_t, std::int16_t>>},
    OperationRow{ZYDIS_MNEMONIC_CDQE, always<extend_accumulator<std::int64_t, std::int32_t>>},
    OperationRow{ZYDIS_MNEMONIC_CWD, always<spread_sign<std::uint16_t>>},
    OperationRow{ZYDIS_MNEMONIC_CDQ, always<spread_sign<std::uint32_t>>},
    OperationRow{ZYDIS_MNEMONIC_CQO, always<spread_sign<std::uint64_t>>},
    OperationRow{ZYDIS_MNEMONIC_CMOVO, select_cmov},
    OperationRow{ZYDIS_MNEMONIC_CMOVNO, select_cmov},
    OperationRow{ZYDIS_MNEMONIC_CMOVB, select_cmov},
    OperationRow{ZYDIS_MNEMONIC_CMOVNB, select_cmov},
    OperationRow{ZYDIS_MNEMONIC_CMOVZ, select_cmov},
    OperationRow{ZYDIS_MNEMONIC_CMOVNZ, select_cmov},
    OperationRow{ZYDIS_MNEMONIC_CMOVBE, select_cmov},
    OperationRow{ZYDIS_MNEMONIC_CMOVNBE, select_cmov},
    OperationRow{ZYDIS_MNEMONIC_CMOVS, select_cmov},
    OperationRow{ZYDIS_MNEMONIC_CMOVNS, select_cmov},
    OperationRow{ZYDIS_MNEMONIC_CMOVP, select_cmov},
    OperationRow{ZYDIS_MNEMONIC_CMOVNP, select_cmov},
    OperationRow{ZYDIS_MNEMONIC_CMOVL, select_cmov},
    OperationRow{ZYDIS_MNEMONIC_CMOVNL, select_cmov},
    OperationRow{ZYDIS_MNEMONIC_CMOVLE, select_cmov},
    OperationRow{ZYDIS_MNEMONIC_CMOVNLE, select_cmov},
    OperationRow{ZYDIS_MNEMONIC_BSWAP, select_bswap},
    OperationRow{ZYDIS_MNEMONIC_LEA, select_lea},
    OperationRow{ZYDIS_MNEMONIC_XLAT, always<xlat>},
    OperationRow{ZYDIS_MNEMONIC_NOP, always<nop>},
    OperationRow{ZYDIS_MNEMONIC_PAUSE, always<nop>},
    OperationRow{ZYDIS_MNEMONIC_ENDBR32, always<nop>},
    OperationRow{ZYDIS_MNEMONIC_ENDBR64, always<nop>},
    OperationRow{ZYDIS_MNEMONIC_PREFETCH, always<nop>},
    OperationRow{ZYDIS_MNEMONIC_PREFETCHNTA, always<nop>},
    OperationRow{ZYDIS_MNEMONIC_PREFETCHT0, always<nop>},
    OperationRow{ZYDIS_MNEMONIC_PREFETCHT1, always<nop>},
    OperationRow{ZYDIS_MNEMONIC_PREFETCHT2, always<nop>},
    OperationRow{ZYDIS_MNEMONIC_PREFETCHW, always<nop>},
    OperationRow{ZYDIS_MNEMONIC_PREFETCHWT1, always<nop>},
};

}  // namespace

std::span<const OperationRow> move_operations() {
  return kRows;
}

}  // namespace doppel::accel::soft
