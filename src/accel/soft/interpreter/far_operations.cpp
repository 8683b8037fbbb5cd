// Far JMP, CALL and RET, IRET, software interrupts and system calls as instructions (SDM 1 5.1.7, 5.1.11, 5.20).
#include <array>

#include "accel/soft/interpreter/far_transfers.h"
#include "accel/soft/interpreter/interrupts.h"
#include "accel/soft/interpreter/operation.h"
#include "accel/soft/interpreter/system_calls.h"

namespace doppel::accel::soft {

namespace rflags = x86::rflags;

namespace {

using FarTransfer = void (*)(Cpu& cpu, std::uint16_t selector, std::uint64_t offset, unsigned size);

template <FarTransfer transfer, class T>
void to_pointer(Cpu& cpu, const Instruction& i) {
  transfer(cpu, i.selector, static_cast<T>(i.imm), sizeof(T));
}
template <FarTransfer transfer, class T>
void to_memory_pointer(Cpu& cpu, const Instruction& i) {
  if constexpr (sizeof(T) == 8)
    if (is_amd(cpu)) return to_memory_pointer<transfer, std::uint32_t>(cpu, i);  // theirs know no REX.W here
  const std::uint64_t address = cpu.effective_address(i);
  const T offset = cpu.load<T>(i.segment, address);
  transfer(cpu, cpu.load<std::uint16_t>(i.segment, address + sizeof(T)), offset, sizeof(T));
}

bool is_far(const Decoded& decoded) {
  return decoded.zydis.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR;
}
unsigned width_of(const Decoded& decoded) {
  return decoded.zydis.operand_width / 8U;
}

template <FarTransfer transfer>
Handler select_far(const Decoded& decoded, Instruction&) {
  if (!is_far(decoded)) return nullptr;
  constexpr BySize kPointer{nullptr, to_pointer<transfer, std::uint16_t>, to_pointer<transfer, std::uint32_t>, nullptr};
  constexpr BySize kMemory{nullptr, to_memory_pointer<transfer, std::uint16_t>,
                           to_memory_pointer<transfer, std::uint32_t>, to_memory_pointer<transfer, std::uint64_t>};
  return (decoded.is_memory(0) ? kMemory : kPointer).of(width_of(decoded));
}

template <unsigned size>
void ret_far(Cpu& cpu, const Instruction& i) {
  far_return(cpu, size, i.imm & 0xffffU);
}
Handler select_ret_far(const Decoded& decoded, Instruction&) {
  constexpr BySize kTable{nullptr, ret_far<2>, ret_far<4>, ret_far<8>};
  return is_far(decoded) ? kTable.of(width_of(decoded)) : nullptr;
}

template <unsigned size>
void iret(Cpu& cpu, const Instruction&) {
  interrupt_return(cpu, size);
}
Handler select_iret(const Decoded& decoded, Instruction&) {
  constexpr BySize kTable{nullptr, iret<2>, iret<4>, iret<8>};
  return kTable.of(width_of(decoded));
}

void deliver_software(Cpu& cpu, EventKind kind, std::uint8_t vector) {
  deliver(cpu, {.kind = kind, .vector = vector, .has_error_code = false, .error_code = 0});
}

/// CR4.VME: does the TSS leave VECTOR to the VM86 program's own handler (SDM 3A 20.3.3.4)?
bool is_redirected(Cpu& cpu, std::uint8_t vector) {
  constexpr std::uint32_t kBitmapSize = 32;  // bytes, just below the I/O bitmap
  if (cpu.tr.limit < x86::tss32::kSize - 1) raise_gp();
  const std::uint32_t io_map = cpu.load_system<std::uint16_t>(cpu.tr.base + x86::tss32::kIoMapBase);
  const std::uint32_t at = io_map - kBitmapSize + vector / 8U;
  if (at > cpu.tr.limit) raise_gp();
  return (cpu.load_system<std::uint8_t>(cpu.tr.base + at) >> (vector % 8U) & 1U) == 0;
}

void int_in_vm86(Cpu& cpu, std::uint8_t vector) {
  const bool owns_interrupts = cpu.iopl() == 3;
  if ((cpu.cr4 & x86::cr4::kVme) != 0 && is_redirected(cpu, vector)) {
    cpu.leave_block = true;
    if (owns_interrupts) return enter_real_handler(cpu, 0, vector, cpu.rflags, rflags::kIf | rflags::kTf);
    const std::uint64_t interrupt_flag = cpu.flag(rflags::kVif) ? rflags::kIf : 0;
    const std::uint64_t flags = (cpu.rflags & ~rflags::kIf) | rflags::kIopl | interrupt_flag;
    return enter_real_handler(cpu, 0, vector, flags, rflags::kVif | rflags::kTf);
  }
  if (!owns_interrupts) raise_gp();
  deliver_software(cpu, EventKind::kSoftwareInterrupt, vector);
}

void int_n(Cpu& cpu, const Instruction& i) {
  const auto vector = static_cast<std::uint8_t>(i.imm);
  if (cpu.vm86) return int_in_vm86(cpu, vector);
  deliver_software(cpu, EventKind::kSoftwareInterrupt, vector);
}
void int3(Cpu& cpu, const Instruction&) {
  if (cpu.host_breakpoints) raise(x86::kBreakpoint);  // the run loop hands it to the debugger
  deliver_software(cpu, EventKind::kSoftwareException, x86::kBreakpoint);
}
void into(Cpu& cpu, const Instruction&) {
  if (cpu.flag(rflags::kOf)) deliver_software(cpu, EventKind::kSoftwareException, x86::kOverflow);
}
void int1(Cpu& cpu, const Instruction&) {
  deliver_software(cpu, EventKind::kPrivilegedSoftware, x86::kDebug);
  cpu.dr7 &= ~x86::dr7::kGd;
}
template <Handler handler>
Handler select_only(const Decoded&, Instruction&) {
  return handler;
}

template <class T>
void bound(Cpu& cpu, const Instruction& i) {
  const std::uint64_t address = cpu.effective_address(i);
  const auto lower = static_cast<std::make_signed_t<T>>(cpu.load<T>(i.segment, address));
  const auto upper = static_cast<std::make_signed_t<T>>(cpu.load<T>(i.segment, address + sizeof(T)));
  const auto index = static_cast<std::make_signed_t<T>>(cpu.get<T>(i.reg));
  if (index < lower || index > upper) raise(x86::kBoundRange);
}
Handler select_bound(const Decoded&, Instruction& instruction) {
  constexpr BySize kTable{nullptr, bound<std::uint16_t>, bound<std::uint32_t>, nullptr};
  return kTable.of(instruction.operand_size);
}

constexpr std::array kRows = {
    OperationRow{ZYDIS_MNEMONIC_JMP, select_far<far_jump>}, OperationRow{ZYDIS_MNEMONIC_CALL, select_far<far_call>},
    OperationRow{ZYDIS_MNEMONIC_RET, select_ret_far},       OperationRow{ZYDIS_MNEMONIC_IRET, select_iret},
    OperationRow{ZYDIS_MNEMONIC_IRETD, select_iret},        OperationRow{ZYDIS_MNEMONIC_IRETQ, select_iret},
    OperationRow{ZYDIS_MNEMONIC_INT, select_only<int_n>},   OperationRow{ZYDIS_MNEMONIC_INT1, select_only<int1>},
    OperationRow{ZYDIS_MNEMONIC_INT3, select_only<int3>},   OperationRow{ZYDIS_MNEMONIC_INTO, select_only<into>},
    OperationRow{ZYDIS_MNEMONIC_BOUND, select_bound},       OperationRow{ZYDIS_MNEMONIC_SYSCALL, select_syscall},
    OperationRow{ZYDIS_MNEMONIC_SYSRET, select_sysret},     OperationRow{ZYDIS_MNEMONIC_SYSENTER, select_sysenter},
    OperationRow{ZYDIS_MNEMONIC_SYSEXIT, select_sysexit},
};

}  // namespace

std::span<const OperationRow> far_operations() {
  return kRows;
}

}  // namespace doppel::accel::soft
