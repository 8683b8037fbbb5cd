// Stack operations (SDM 1 6.2 and 6.5): PUSH, POP, PUSHA, POPA, PUSHF, POPF, ENTER, LEAVE.
#include "accel/soft/interpreter/stack.h"

#include <array>

#include "accel/soft/interpreter/operation.h"

namespace doppel::accel::soft {

namespace {

namespace rflags = x86::rflags;

/// Pushes and pops go by the operation's size, not by their operand's.
unsigned operation_size(const Decoded& decoded) {
  return decoded.zydis.operand_width / 8U;
}

template <Handler handler>
Handler always(const Decoded&, Instruction&) {
  return handler;
}

// --- PUSH, POP, but for segment registers ---

bool is_segment(const Decoded& decoded) {
  return ZydisRegisterGetClass(decoded.operand(0).reg.value) == ZYDIS_REGCLASS_SEGMENT;
}

template <class T>
void push_rm(Cpu& cpu, const Instruction& i) {
  push<T>(cpu, cpu.get<T>(i.rm));
}
template <class T>
void push_imm(Cpu& cpu, const Instruction& i) {
  push<T>(cpu, static_cast<T>(i.imm));
}
template <class T>
void push_mem(Cpu& cpu, const Instruction& i) {
  push<T>(cpu, cpu.load<T>(i.segment, cpu.effective_address(i)));
}

Handler select_push(const Decoded& decoded, Instruction&) {
  static constexpr BySize kRegister{nullptr, push_rm<std::uint16_t>, push_rm<std::uint32_t>, push_rm<std::uint64_t>};
  static constexpr BySize kImmediate{nullptr, push_imm<std::uint16_t>, push_imm<std::uint32_t>,
                                     push_imm<std::uint64_t>};
  static constexpr BySize kMemory{nullptr, push_mem<std::uint16_t>, push_mem<std::uint32_t>, push_mem<std::uint64_t>};
  const unsigned size = operation_size(decoded);
  if (decoded.is_memory(0)) return kMemory.of(size);
  if (decoded.is_immediate(0)) return kImmediate.of(size);
  return is_segment(decoded) ? nullptr : kRegister.of(size);
}

/// The stack pointer moves first: POP SP keeps what was popped.
template <class T>
void pop_rm(Cpu& cpu, const Instruction& i) {
  const T value = pop<T>(cpu);
  cpu.set<T>(i.rm, value);
}
/// An address based on RSP is that of after the pop (SDM 2B, POP).
template <class T>
void pop_mem(Cpu& cpu, const Instruction& i) {
  const T value = peek<T>(cpu);
  std::uint64_t offset = cpu.effective_address(i);
  if (i.base == kStackPointer) {
    const std::uint64_t mask = stack_mask(cpu);
    const std::uint64_t before = cpu.gpr[x86::kRsp];
    const std::uint64_t after = (before & ~mask) | ((before + sizeof(T)) & mask);
    offset = (offset + (after - before)) & low_mask(i.address_size * 8U);
  }
  cpu.store<T>(i.segment, offset, value);
  drop(cpu, sizeof(T));
}
Handler select_pop(const Decoded& decoded, Instruction&) {
  static constexpr BySize kRegister{nullptr, pop_rm<std::uint16_t>, pop_rm<std::uint32_t>, pop_rm<std::uint64_t>};
  static constexpr BySize kMemory{nullptr, pop_mem<std::uint16_t>, pop_mem<std::uint32_t>, pop_mem<std::uint64_t>};
  if (decoded.is_memory(0)) return kMemory.of(operation_size(decoded));
  return is_segment(decoded) ? nullptr : kRegister.of(operation_size(decoded));
}

// --- PUSHA, POPA: all registers in the order of their numbers, SP as it was ---

constexpr unsigned kRegistersPushed = 8;

template <class T>
void pusha(Cpu& cpu, const Instruction&) {
  StackCursor cursor(cpu);
  cursor.probe_pushes(sizeof(T), kRegistersPushed);
  for (unsigned name = 0; name < kRegistersPushed; ++name) cursor.push(sizeof(T), cpu.gpr.at(name));
  cursor.commit();
}
template <class T>
void popa(Cpu& cpu, const Instruction&) {
  StackCursor cursor(cpu);
  std::array<T, kRegistersPushed> values{};
  for (unsigned name = kRegistersPushed; name-- > 0;) values.at(name) = static_cast<T>(cursor.pop(sizeof(T)));
  for (unsigned name = 0; name < kRegistersPushed; ++name)
    if (name != x86::kRsp) cpu.set<T>(register_offset(static_cast<x86::Gpr>(name)), values.at(name));
  cursor.commit();
}

// --- PUSHF, POPF ---

/// Virtual-8086 mode's IOPL-sensitive form with virtual interrupts (SDM 3B 20.3.3); #GP without.
template <class T>
void require_virtual_interrupts(const Cpu& cpu) {
  if (sizeof(T) != 2 || (cpu.cr4 & x86::cr4::kVme) == 0) raise_gp();
}

template <class T>
void pushf(Cpu& cpu, const Instruction&) {
  std::uint64_t image = cpu.rflags & ~(rflags::kVm | rflags::kRf);
  if (cpu.vm86 && cpu.iopl() < 3) {
    require_virtual_interrupts<T>(cpu);
    image |= rflags::kIopl;
    image = cpu.flag(rflags::kVif) ? image | rflags::kIf : image & ~rflags::kIf;
  }
  push<T>(cpu, static_cast<T>(image));
}

/// The flags that POPF of T may change here. The rest stays, but for RF, which goes.
template <class T>
std::uint64_t changeable_flags(const Cpu& cpu) {
  std::uint64_t mask = rflags::kArithmetic | rflags::kTf | rflags::kDf | rflags::kNt;
  if constexpr (sizeof(T) > 2) mask |= rflags::kAc | rflags::kId;
  if (cpu.cpl == 0) mask |= rflags::kIopl;
  if (cpu.cpl <= cpu.iopl()) mask |= rflags::kIf;
  return mask;
}

void set_masked_flags(Cpu& cpu, std::uint64_t value, std::uint64_t mask) {
  const std::uint64_t before = cpu.rflags;
  cpu.rflags = (before & ~mask & ~rflags::kRf) | (value & mask);
  const std::uint64_t changed = before ^ cpu.rflags;
  if ((changed & rflags::kAc) != 0) cpu.update_mode();
  if ((changed & (rflags::kAc | rflags::kIf | rflags::kTf)) != 0) cpu.leave_block = true;
}

/// POPF in virtual-8086 mode with IOPL below 3: IF is VIF.
template <class T>
void popf_virtual(Cpu& cpu) {
  require_virtual_interrupts<T>(cpu);
  const std::uint64_t image = peek<T>(cpu);
  const bool enable = (image & rflags::kIf) != 0;
  if ((image & rflags::kTf) != 0 || (enable && cpu.flag(rflags::kVip))) raise_gp();
  drop(cpu, sizeof(T));
  set_masked_flags(cpu, image | (enable ? rflags::kVif : 0), changeable_flags<T>(cpu) | rflags::kVif);
}

template <class T>
void popf(Cpu& cpu, const Instruction&) {
  if (cpu.vm86 && cpu.iopl() < 3) return popf_virtual<T>(cpu);
  const std::uint64_t image = pop<T>(cpu);
  set_masked_flags(cpu, image, changeable_flags<T>(cpu));
}

// --- ENTER, LEAVE ---

/// IMM is the size of the frame, EXTRA the nesting level, at most 31.
template <class T>
void enter(Cpu& cpu, const Instruction& i) {
  const std::uint64_t mask = stack_mask(cpu);
  const unsigned level = i.extra;
  StackCursor cursor(cpu);
  cursor.probe_pushes(sizeof(T), 1 + level);
  cursor.push(sizeof(T), cpu.gpr[x86::kRbp]);
  const std::uint64_t frame = (cpu.gpr[x86::kRsp] & ~mask) | cursor.pointer();
  std::uint64_t display = cpu.gpr[x86::kRbp];
  for (unsigned n = 1; n < level; ++n) {
    display = (display - sizeof(T)) & mask;
    cursor.push(sizeof(T), cpu.load<T>(x86::kSs, display));
  }
  if (level > 0) cursor.push(sizeof(T), frame);
  cursor.move_to(cursor.pointer() - i.imm);
  // "ENTER causes a page fault whenever a write using the final value of the stack pointer would do so" (SDM 2A).
  cpu.probe(cpu.linear<AccessKind::kWrite>(x86::kSs, cursor.pointer(), 1), 1, AccessKind::kWrite);
  cpu.set<T>(kFramePointer, static_cast<T>(frame));
  cursor.commit();
}
Handler select_enter(const Decoded& decoded, Instruction& instruction) {
  instruction.imm = decoded.operand(0).imm.value.u & 0xffffU;
  instruction.extra = decoded.operand(1).imm.value.u & 31U;
  return BySize{nullptr, enter<std::uint16_t>, enter<std::uint32_t>, enter<std::uint64_t>}.of(operation_size(decoded));
}

template <class T>
void leave(Cpu& cpu, const Instruction&) {
  const std::uint64_t frame = cpu.gpr[x86::kRbp];
  const T value = cpu.load<T>(x86::kSs, frame & stack_mask(cpu));
  set_stack_pointer(cpu, frame + sizeof(T));
  cpu.set<T>(kFramePointer, value);
}
Handler select_leave(const Decoded& decoded, Instruction&) {
  return BySize{nullptr, leave<std::uint16_t>, leave<std::uint32_t>, leave<std::uint64_t>}.of(operation_size(decoded));
}

constexpr std::array kRows = {
    OperationRow{ZYDIS_MNEMONIC_PUSH, select_push},
    OperationRow{ZYDIS_MNEMONIC_POP, select_pop},
    OperationRow{ZYDIS_MNEMONIC_PUSHA, always<pusha<std::uint16_t>>},
    OperationRow{ZYDIS_MNEMONIC_PUSHAD, always<pusha<std::uint32_t>>},
    OperationRow{ZYDIS_MNEMONIC_POPA, always<popa<std::uint16_t>>},
    OperationRow{ZYDIS_MNEMONIC_POPAD, always<popa<std::uint32_t>>},
    OperationRow{ZYDIS_MNEMONIC_PUSHF, always<pushf<std::uint16_t>>},
    OperationRow{ZYDIS_MNEMONIC_PUSHFD, always<pushf<std::uint32_t>>},
    OperationRow{ZYDIS_MNEMONIC_PUSHFQ, always<pushf<std::uint64_t>>},
    OperationRow{ZYDIS_MNEMONIC_POPF, always<popf<std::uint16_t>>},
    OperationRow{ZYDIS_MNEMONIC_POPFD, always<popf<std::uint32_t>>},
    OperationRow{ZYDIS_MNEMONIC_POPFQ, always<popf<std::uint64_t>>},
    OperationRow{ZYDIS_MNEMONIC_ENTER, select_enter},
    OperationRow{ZYDIS_MNEMONIC_LEAVE, select_leave},
};

}  // namespace

std::span<const OperationRow> stack_operations() {
  return kRows;
}

}  // namespace doppel::accel::soft
