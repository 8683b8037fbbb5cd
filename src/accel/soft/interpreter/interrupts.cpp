#include "accel/soft/interpreter/interrupts.h"

#include <array>
#include <optional>

#include "accel/soft/interpreter/cpu_trace.h"
#include "accel/soft/interpreter/far_transfers.h"
#include "accel/soft/interpreter/segments.h"
#include "accel/soft/interpreter/stack_frame.h"
#include "accel/soft/interpreter/tasks.h"
#include "base/bits.h"

namespace doppel::accel::soft {

namespace rflags = x86::rflags;
using x86::SegmentName;

namespace {

constexpr std::uint32_t kExternal = 1;  // error code: EXT
constexpr std::uint32_t kIdtError = 2;  // and the index is one into the IDT
constexpr std::uint64_t kClearedByGate = rflags::kTf | rflags::kNt | rflags::kRf | rflags::kVm;
/// The order in which they are pushed.
constexpr std::array kVm86Segments = {x86::kGs, x86::kFs, x86::kDs, x86::kEs};

bool is_software(EventKind kind) {
  return kind == EventKind::kSoftwareInterrupt || kind == EventKind::kSoftwareException;
}

/// Faults are told from traps and aborts by RF: their instruction will be executed again, without its breakpoint (SDM
/// 3B 17.3.1.1).
bool is_fault_class(const Event& event) {
  if (event.kind != EventKind::kException) return false;
  switch (event.vector) {
    case x86::kDebug:
    case x86::kNmi:
    case x86::kBreakpoint:
    case x86::kOverflow:
    case x86::kDoubleFault:
    case x86::kMachineCheck: return false;
    default: return true;
  }
}

std::uint64_t flags_to_save(const Cpu& cpu, const Event& event) {
  return cpu.rflags | (is_fault_class(event) ? rflags::kRf : 0);
}
std::optional<std::uint32_t> error_code_of(const Event& event) {
  return event.has_error_code ? std::optional(event.error_code) : std::nullopt;
}

/// The IDT's entry, with its own checks.
x86::Gate fetch_gate(Cpu& cpu, const Event& event) {
  const std::uint32_t error = event.vector * 8U | kIdtError;
  const std::uint32_t size = cpu.long_mode ? 16 : 8;
  const std::uint32_t offset = event.vector * size;
  if (offset + size - 1 > cpu.idt.limit) raise_gp(error);
  const auto low = cpu.load_system<std::uint64_t>(cpu.idt.base + offset);
  const std::uint64_t high = cpu.long_mode ? cpu.load_system<std::uint64_t>(cpu.idt.base + offset + 8) : 0;
  const x86::Gate gate = cpu.long_mode ? x86::decode_gate64({low, high}) : x86::decode_gate(low);
  constexpr std::uint32_t kLongTypes = 1U << x86::kInterruptGate | 1U << x86::kTrapGate;
  constexpr std::uint32_t kLegacyTypes =
      kLongTypes | 1U << x86::kInterruptGate16 | 1U << x86::kTrapGate16 | 1U << x86::kTaskGate;
  constexpr unsigned kCodeOrDataBit = 44;
  if (test_bit(low, kCodeOrDataBit) || !test_bit(cpu.long_mode ? kLongTypes : kLegacyTypes, gate.type)) raise_gp(error);
  if (is_software(event.kind) && gate.dpl < cpu.cpl) raise_gp(error);
  if (!gate.present) raise(x86::kSegmentNotPresent, error);
  return gate;
}

Descriptor fetch_handler_code(Cpu& cpu, const x86::Gate& gate) {
  if (is_null_selector(gate.selector)) raise_gp();
  Descriptor code = fetch_descriptor(cpu, gate.selector);
  const std::uint32_t error = selector_error(gate.selector);
  if (!code.is_code() || code.segment.dpl > cpu.cpl) raise_gp(error);
  if (cpu.long_mode && (!code.segment.long_mode || code.segment.default_big)) raise_gp(error);
  if (!code.segment.present) raise(x86::kSegmentNotPresent, error);
  if (cpu.vm86 && (code.is_conforming_code() || code.segment.dpl != 0)) raise_gp(error);
  return code;
}

/// Code, flags and mode, when the frame has been written.
void enter(Cpu& cpu, const x86::Gate& gate, const Descriptor& code, std::uint8_t level, std::uint64_t offset) {
  const bool disable = gate.type == x86::kInterruptGate || gate.type == x86::kInterruptGate16;
  cpu.rflags &= ~(kClearedByGate | (disable ? rflags::kIf : 0));
  set_code(cpu, code.segment, level, offset);
  cpu.update_mode();
}

void push_return_address(Cpu& cpu, StackFrame& frame, unsigned size, const Event& event) {
  frame.push(size, flags_to_save(cpu, event));
  frame.push(size, cpu.segment[x86::kCs].selector);
  frame.push(size, cpu.rip);
  if (event.has_error_code) frame.push(size, event.error_code);
}

/// IA-32e mode (SDM 3A 6.14).
void enter_long_gate(Cpu& cpu, const x86::Gate& gate, const Event& event) {
  constexpr std::uint64_t kAlignment = 16;
  Descriptor code = fetch_handler_code(cpu, gate);
  const std::uint8_t level = code.is_conforming_code() ? cpu.cpl : code.segment.dpl;
  std::uint64_t pointer = cpu.gpr[x86::kRsp];
  if (gate.ist != 0)
    pointer = read_interrupt_stack(cpu, gate.ist);
  else if (level < cpu.cpl)
    pointer = read_level_stack(cpu, level);
  StackFrame frame(align_down(pointer, kAlignment), level);
  frame.push(8, cpu.segment[x86::kSs].selector);
  frame.push(8, cpu.gpr[x86::kRsp]);
  push_return_address(cpu, frame, 8, event);
  check_target_offset(cpu, code.segment, gate.offset);
  mark_accessed(cpu, code);
  frame.write(cpu);
  if (level < cpu.cpl) load_null_segment(cpu, x86::kSs, level, level);
  cpu.gpr[x86::kRsp] = frame.pointer();
  enter(cpu, gate, code, level, gate.offset);
}

/// Protected mode and VM86 (SDM 3A 6.12, 20.2.1).
void enter_gate(Cpu& cpu, const x86::Gate& gate, const Event& event) {
  Descriptor code = fetch_handler_code(cpu, gate);
  const std::uint8_t level = code.is_conforming_code() ? cpu.cpl : code.segment.dpl;
  const unsigned size = gate.type == x86::kInterruptGate || gate.type == x86::kTrapGate ? 4 : 2;
  const std::uint64_t offset = size == 2 ? gate.offset & 0xffffU : gate.offset;
  const bool inner = level < cpu.cpl;
  const bool from_vm86 = cpu.vm86;
  const InnerStack stack = inner ? read_inner_stack(cpu, level) : InnerStack{};
  StackFrame frame = inner ? StackFrame(stack.segment, stack.pointer, level) : StackFrame(cpu);
  if (from_vm86)
    for (const SegmentName name : kVm86Segments) frame.push(size, cpu.segment.at(name).selector);
  if (inner) {
    frame.push(size, cpu.segment[x86::kSs].selector);
    frame.push(size, cpu.gpr[x86::kRsp]);
  }
  push_return_address(cpu, frame, size, event);
  check_target_offset(cpu, code.segment, offset);
  mark_accessed(cpu, code);
  frame.write(cpu);
  if (from_vm86)
    for (const SegmentName name : kVm86Segments) load_null_segment(cpu, name, 0);
  if (inner) cpu.segment[x86::kSs] = stack.segment;
  cpu.gpr[x86::kRsp] = frame.pointer();
  enter(cpu, gate, code, level, offset);
}

void deliver_protected(Cpu& cpu, const Event& event) {
  const x86::Gate gate = fetch_gate(cpu, event);
  if (gate.type == x86::kTaskGate)
    return switch_task(cpu, TaskSwitch::kGate, fetch_available_tss(cpu, gate.selector), flags_to_save(cpu, event),
                       error_code_of(event));
  if (cpu.long_mode)
    enter_long_gate(cpu, gate, event);
  else
    enter_gate(cpu, gate, event);
}

bool is_contributory(std::uint8_t vector) {
  constexpr std::uint32_t kVectors = 1U << x86::kDivideError | 1U << x86::kInvalidTss | 1U << x86::kSegmentNotPresent |
                                     1U << x86::kStackFault | 1U << x86::kGeneralProtection |
                                     1U << x86::kControlProtection;
  return vector < 32 && test_bit(kVectors, vector);
}
bool is_page_fault(std::uint8_t vector) {
  return vector == x86::kPageFault || vector == x86::kVirtualization;
}

/// What comes of SECOND while FIRST is delivered (SDM 3A table 6-5). Empty: shutdown.
std::optional<Fault> combine(const Fault& first, const Fault& second) {
  const bool second_adds = is_contributory(second.vector) || is_page_fault(second.vector);
  if (first.vector == x86::kDoubleFault) return second_adds ? std::nullopt : std::optional(second);
  const bool is_double =
      is_page_fault(first.vector) ? second_adds : is_contributory(first.vector) && is_contributory(second.vector);
  return is_double ? Fault{x86::kDoubleFault, true, 0} : second;
}

}  // namespace

void enter_real_handler(Cpu& cpu, std::uint64_t table, std::uint8_t vector, std::uint64_t flags,
                        std::uint64_t cleared) {
  const auto handler = cpu.load_system<std::uint32_t>(table + vector * 4U);
  StackFrame frame(cpu);
  frame.push(2, flags);
  frame.push(2, cpu.segment[x86::kCs].selector);
  frame.push(2, cpu.rip);
  frame.write(cpu);
  cpu.gpr[x86::kRsp] = frame.pointer();
  cpu.rflags &= ~cleared;
  cpu.rip = handler & 0xffffU;
  load_real_segment(cpu, x86::kCs, static_cast<std::uint16_t>(handler >> 16));
}

namespace {

void deliver_unseen(Cpu& cpu, const Event& event) {
  cpu.leave_block = true;
  if (!cpu.protected_mode) {
    if (event.vector * 4U + 3 > cpu.idt.limit) raise_gp(event.vector * 8U | kIdtError);
    return enter_real_handler(cpu, cpu.idt.base, event.vector, cpu.rflags,
                              rflags::kIf | rflags::kTf | rflags::kAc | rflags::kRf);
  }
  try {
    deliver_protected(cpu, event);
  } catch (Fault& fault) {
    const bool names_selector = fault.has_error_code && fault.vector != x86::kPageFault;
    if (names_selector && !is_software(event.kind)) fault.error_code |= kExternal;
    throw;
  }
}

}  // namespace

void deliver(Cpu& cpu, const Event& event) {
  if (cpu.trace != nullptr)
    cpu.trace->deliver(event, deliver_unseen);
  else
    deliver_unseen(cpu, event);
}

bool deliver_fault(Cpu& cpu, const Fault& fault) {
  Fault current = fault;
  while (true) {
    try {
      deliver(cpu, {.kind = EventKind::kException,
                    .vector = current.vector,
                    .has_error_code = current.has_error_code,
                    .error_code = current.error_code});
      return true;
    } catch (const Fault& second) {
      const std::optional<Fault> next = combine(current, second);
      if (!next) return false;
      current = *next;
    }
  }
}

}  // namespace doppel::accel::soft
