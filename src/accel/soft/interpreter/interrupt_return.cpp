// IRET, IRETD, IRETQ (SDM 2A; 3A 6.12.1, 6.14.3, 20.2.2, 20.3.3).
#include <array>

#include "accel/soft/interpreter/far_transfers.h"
#include "accel/soft/interpreter/stack.h"
#include "accel/soft/interpreter/tasks.h"

namespace doppel::accel::soft {

namespace rflags = x86::rflags;

namespace {

constexpr std::uint64_t kFlagsAlways = rflags::kArithmetic | rflags::kTf | rflags::kDf | rflags::kNt;
constexpr std::uint64_t kFlagsOf32Bits = rflags::kRf | rflags::kAc | rflags::kId;
constexpr std::uint64_t kVirtualInterrupt = rflags::kVif | rflags::kVip;

struct Popped {
  std::uint64_t rip = 0;
  std::uint16_t cs = 0;
  std::uint64_t flags = 0;
};
Popped pop_frame(StackCursor& cursor, unsigned size) {
  Popped popped;
  popped.rip = cursor.pop(size);
  popped.cs = static_cast<std::uint16_t>(cursor.pop(size));
  popped.flags = cursor.pop(size);
  return popped;
}

void replace_flags(Cpu& cpu, std::uint64_t mask, std::uint64_t value) {
  cpu.rflags = (cpu.rflags & ~mask) | (value & mask) | rflags::kFixed;
}

/// What the program that executes IRET may change.
std::uint64_t changeable_flags(const Cpu& cpu, unsigned size) {
  std::uint64_t mask = kFlagsAlways;
  if (size > 2) mask |= kFlagsOf32Bits;
  if (cpu.cpl <= cpu.iopl()) mask |= rflags::kIf;
  if (cpu.cpl == 0) mask |= rflags::kIopl;
  if (cpu.cpl == 0 && cpu.protected_mode && size > 2) mask |= kVirtualInterrupt;
  return mask;
}

/// To where real mode or VM86 was.
void return_in_real(Cpu& cpu, unsigned size) {
  StackCursor cursor(cpu);
  const Popped popped = pop_frame(cursor, size);
  if (popped.rip > cpu.segment[x86::kCs].limit) raise_gp();
  cursor.commit();
  replace_flags(cpu, changeable_flags(cpu, size), popped.flags);
  cpu.rip = popped.rip;
  load_real_segment(cpu, x86::kCs, popped.cs);
}

/// IOPL below 3: with CR4.VME the interrupt flag is the virtual one.
void return_in_vm86_extended(Cpu& cpu, unsigned size) {
  if ((cpu.cr4 & x86::cr4::kVme) == 0 || size != 2) raise_gp();
  StackCursor cursor(cpu);
  const Popped popped = pop_frame(cursor, size);
  const bool enable = (popped.flags & rflags::kIf) != 0;
  if ((popped.flags & rflags::kTf) != 0 || (enable && cpu.flag(rflags::kVip))) raise_gp();
  if (popped.rip > cpu.segment[x86::kCs].limit) raise_gp();
  cursor.commit();
  replace_flags(cpu, kFlagsAlways | rflags::kVif, (popped.flags & kFlagsAlways) | (enable ? rflags::kVif : 0));
  cpu.rip = popped.rip;
  load_real_segment(cpu, x86::kCs, popped.cs);
}

void return_to_vm86(Cpu& cpu, StackCursor& cursor, const Popped& popped) {
  constexpr std::array kOrder = {x86::kEs, x86::kDs, x86::kFs, x86::kGs};
  constexpr std::uint64_t kAllFlags =
      kFlagsAlways | kFlagsOf32Bits | kVirtualInterrupt | rflags::kIf | rflags::kIopl | rflags::kVm;
  const std::uint64_t rsp = cursor.pop(4);
  const auto ss = static_cast<std::uint16_t>(cursor.pop(4));
  std::array<std::uint16_t, kOrder.size()> data{};
  for (std::uint16_t& selector : data) selector = static_cast<std::uint16_t>(cursor.pop(4));
  if (popped.rip > 0xffff) raise_gp();
  cpu.gpr[x86::kRsp] = rsp;
  cpu.segment[x86::kCs] = vm86_segment(popped.cs);
  cpu.segment[x86::kSs] = vm86_segment(ss);
  for (std::size_t n = 0; n < kOrder.size(); ++n) cpu.segment.at(kOrder.at(n)) = vm86_segment(data.at(n));
  cpu.rip = popped.rip;
  replace_flags(cpu, kAllFlags, popped.flags);
  cpu.update_mode();
}

void return_in_protected(Cpu& cpu, unsigned size) {
  StackCursor cursor(cpu);
  const Popped popped = pop_frame(cursor, size);
  if ((popped.flags & rflags::kVm) != 0 && size == 4 && cpu.cpl == 0 && !cpu.long_mode)
    return return_to_vm86(cpu, cursor, popped);
  Descriptor code = fetch_return_code(cpu, popped.cs);
  const std::uint8_t level = rpl_of(popped.cs);
  const std::uint64_t mask = changeable_flags(cpu, size);
  const bool outer = level != cpu.cpl;
  if (outer || cpu.code_mode == CodeMode::kLong64) {
    const std::uint64_t pointer = cursor.pop(size);
    const x86::Segment stack = fetch_return_stack(cpu, static_cast<std::uint16_t>(cursor.pop(size)), code);
    check_target_offset(cpu, code.segment, popped.rip);
    mark_accessed(cpu, code);
    set_return_stack(cpu, stack, code.segment, pointer);
  } else {
    check_target_offset(cpu, code.segment, popped.rip);
    mark_accessed(cpu, code);
    cursor.commit();
  }
  set_code(cpu, code.segment, level, popped.rip);
  replace_flags(cpu, mask, popped.flags);
  if (outer) drop_inner_segments(cpu, level);
  cpu.update_mode();
}

}  // namespace

void interrupt_return(Cpu& cpu, unsigned size) {
  cpu.leave_block = true;
  cpu.events.nmi.masked = false;  // even if what follows faults (SDM 3A 6.7.1)
  if (!cpu.protected_mode) return return_in_real(cpu, size);
  if (cpu.vm86) return cpu.iopl() == 3 ? return_in_real(cpu, size) : return_in_vm86_extended(cpu, size);
  if (!cpu.flag(rflags::kNt)) return return_in_protected(cpu, size);
  if (cpu.long_mode) raise_gp();
  return_from_task(cpu);
}

}  // namespace doppel::accel::soft
