#include "accel/soft/interpreter/far_transfers.h"

#include <array>
#include <cstdint>

#include "accel/soft/interpreter/stack.h"
#include "accel/soft/interpreter/stack_frame.h"
#include "accel/soft/interpreter/tasks.h"
#include "x86/page_table.h"

namespace doppel::accel::soft {

using x86::SegmentName;

namespace {

bool is_conforming(const x86::Segment& code) {
  return (code.type & x86::segment_type::kConforming) != 0;
}

/// Present code of a sort that exists: with L, D is reserved.
void check_present(const Cpu& cpu, const Descriptor& code) {
  const std::uint32_t error = selector_error(code.selector);
  if (cpu.long_mode && code.segment.long_mode && code.segment.default_big) raise_gp(error);
  if (!code.segment.present) raise(x86::kSegmentNotPresent, error);
}

/// May JMP and CALL go to CODE directly?
void check_direct_transfer(const Cpu& cpu, const Descriptor& code) {
  const std::uint32_t error = selector_error(code.selector);
  if (!code.is_code()) raise_gp(error);
  const std::uint8_t dpl = code.segment.dpl;
  if (code.is_conforming_code() ? dpl > cpu.cpl : rpl_of(code.selector) > cpu.cpl || dpl != cpu.cpl) raise_gp(error);
  check_present(cpu, code);
}

/// A gate's or TSS's own privilege check.
void check_gate_rights(const Cpu& cpu, const Descriptor& gate) {
  if (gate.segment.dpl < cpu.cpl || gate.segment.dpl < rpl_of(gate.selector)) raise_gp(selector_error(gate.selector));
}
void check_gate_present(const Descriptor& gate) {
  if (!gate.segment.present) raise(x86::kSegmentNotPresent, selector_error(gate.selector));
}

x86::Gate call_gate(const Cpu& cpu, const Descriptor& descriptor) {
  x86::Gate gate = x86::decode_gate(descriptor.low);
  if (cpu.long_mode) {
    gate.offset |= descriptor.high << 32;
    gate.parameters = 0;
  } else if (gate.type == x86::kCallGate16) {
    gate.offset &= 0xffffU;
  }
  return gate;
}

/// The code segment behind a call gate, which is of the same privilege, conforming or inner.
Descriptor fetch_gate_code(Cpu& cpu, const x86::Gate& gate) {
  if (is_null_selector(gate.selector)) raise_gp();
  Descriptor code = fetch_descriptor(cpu, gate.selector);
  const std::uint32_t error = selector_error(gate.selector);
  if (!code.is_code() || code.segment.dpl > cpu.cpl) raise_gp(error);
  if (cpu.long_mode && (!code.segment.long_mode || code.segment.default_big)) raise_gp(error);
  check_present(cpu, code);
  return code;
}

void enter_same_level(Cpu& cpu, Descriptor& code, std::uint64_t offset) {
  set_code(cpu, code.segment, cpu.cpl, offset);
  cpu.update_mode();
}

// --- What a far pointer may name besides code ---

enum class SystemTarget : std::uint8_t { kCallGate, kTaskGate, kTss };

SystemTarget system_target(const Cpu& cpu, const Descriptor& descriptor) {
  const std::uint8_t type = descriptor.segment.type;
  if (type == x86::kCallGate && !descriptor.has_reserved_bits()) return SystemTarget::kCallGate;
  if (!cpu.long_mode) {
    if (type == x86::kCallGate16) return SystemTarget::kCallGate;
    if (type == x86::kTaskGate) return SystemTarget::kTaskGate;
    if (descriptor.is_available_tss(false)) return SystemTarget::kTss;
  }
  raise_gp(selector_error(descriptor.selector));
}

void transfer_to_task(Cpu& cpu, TaskSwitch how, const Descriptor& target, bool is_gate) {
  check_gate_rights(cpu, target);
  if (is_gate) check_gate_present(target);
  const std::uint16_t selector = is_gate ? x86::decode_gate(target.low).selector : target.selector;
  switch_task(cpu, how, fetch_available_tss(cpu, selector), cpu.rflags);
}

void jump_through_gate(Cpu& cpu, const Descriptor& descriptor) {
  check_gate_rights(cpu, descriptor);
  check_gate_present(descriptor);
  const x86::Gate gate = call_gate(cpu, descriptor);
  Descriptor code = fetch_gate_code(cpu, gate);
  if (!code.is_conforming_code() && code.segment.dpl != cpu.cpl) raise_gp(selector_error(gate.selector));
  check_target_offset(cpu, code.segment, gate.offset);
  mark_accessed(cpu, code);
  enter_same_level(cpu, code, gate.offset);
}

unsigned gate_size(const Cpu& cpu, const x86::Gate& gate) {
  return cpu.long_mode ? 8 : gate.type == x86::kCallGate16 ? 2 : 4;
}

void call_gate_same_level(Cpu& cpu, const x86::Gate& gate, Descriptor& code) {
  const unsigned size = gate_size(cpu, gate);
  StackFrame frame = cpu.long_mode ? StackFrame(cpu.gpr[x86::kRsp], cpu.cpl) : StackFrame(cpu);
  frame.push(size, cpu.segment[x86::kCs].selector);
  frame.push(size, cpu.rip);
  check_target_offset(cpu, code.segment, gate.offset);
  mark_accessed(cpu, code);
  frame.write(cpu);
  cpu.gpr[x86::kRsp] = frame.pointer();
  enter_same_level(cpu, code, gate.offset);
}

/// The caller's parameters, the one nearest the top of the stack last.
void push_parameters(Cpu& cpu, StackFrame& frame, unsigned size, unsigned count) {
  for (unsigned n = count; n-- > 0;)
    frame.push(size, size == 2 ? peek<std::uint16_t>(cpu, n * 2U) : peek<std::uint32_t>(cpu, n * 4U));
}

void call_gate_inner_level(Cpu& cpu, const x86::Gate& gate, Descriptor& code) {
  const unsigned size = gate_size(cpu, gate);
  const std::uint8_t level = code.segment.dpl;
  InnerStack stack;
  if (cpu.long_mode)
    stack.pointer = read_level_stack(cpu, level);
  else
    stack = read_inner_stack(cpu, level);
  StackFrame frame = cpu.long_mode ? StackFrame(stack.pointer, level) : StackFrame(stack.segment, stack.pointer, level);
  frame.push(size, cpu.segment[x86::kSs].selector);
  frame.push(size, cpu.gpr[x86::kRsp]);
  push_parameters(cpu, frame, size, gate.parameters);
  frame.push(size, cpu.segment[x86::kCs].selector);
  frame.push(size, cpu.rip);
  check_target_offset(cpu, code.segment, gate.offset);
  mark_accessed(cpu, code);
  frame.write(cpu);
  if (cpu.long_mode)
    load_null_segment(cpu, x86::kSs, level, level);
  else
    cpu.segment[x86::kSs] = stack.segment;
  cpu.gpr[x86::kRsp] = frame.pointer();
  set_code(cpu, code.segment, level, gate.offset);
  cpu.update_mode();
}

void call_through_gate(Cpu& cpu, const Descriptor& descriptor) {
  check_gate_rights(cpu, descriptor);
  check_gate_present(descriptor);
  const x86::Gate gate = call_gate(cpu, descriptor);
  Descriptor code = fetch_gate_code(cpu, gate);
  if (code.is_conforming_code() || code.segment.dpl == cpu.cpl)
    call_gate_same_level(cpu, gate, code);
  else
    call_gate_inner_level(cpu, gate, code);
}

bool is_real_like(const Cpu& cpu) {
  return !cpu.protected_mode || cpu.vm86;
}

void enter_real(Cpu& cpu, std::uint16_t selector, std::uint64_t offset) {
  cpu.rip = offset;
  load_real_segment(cpu, x86::kCs, selector);
}

Descriptor fetch_target(Cpu& cpu, std::uint16_t selector) {
  if (is_null_selector(selector)) raise_gp();
  return fetch_descriptor(cpu, selector);
}

}  // namespace

void check_target_offset(const Cpu& cpu, const x86::Segment& code, std::uint64_t offset) {
  const bool wide = cpu.long_mode && code.long_mode;
  if (wide ? !x86::is_canonical(offset, cpu.linear_bits()) : offset > code.limit) raise_gp();
}

void set_code(Cpu& cpu, const x86::Segment& code, std::uint8_t level, std::uint64_t offset) {
  cpu.segment[x86::kCs] = code;
  cpu.segment[x86::kCs].selector = static_cast<std::uint16_t>((code.selector & 0xfffcU) | level);
  cpu.rip = offset;
}

void far_jump(Cpu& cpu, std::uint16_t selector, std::uint64_t offset, unsigned) {
  cpu.leave_block = true;
  if (is_real_like(cpu)) {
    if (offset > cpu.segment[x86::kCs].limit) raise_gp();
    return enter_real(cpu, selector, offset);
  }
  Descriptor target = fetch_target(cpu, selector);
  if (target.is_system()) {
    switch (system_target(cpu, target)) {
      case SystemTarget::kCallGate: return jump_through_gate(cpu, target);
      case SystemTarget::kTaskGate: return transfer_to_task(cpu, TaskSwitch::kJump, target, true);
      case SystemTarget::kTss: return transfer_to_task(cpu, TaskSwitch::kJump, target, false);
    }
  }
  check_direct_transfer(cpu, target);
  check_target_offset(cpu, target.segment, offset);
  mark_accessed(cpu, target);
  enter_same_level(cpu, target, offset);
}

void far_call(Cpu& cpu, std::uint16_t selector, std::uint64_t offset, unsigned size) {
  cpu.leave_block = true;
  StackFrame frame(cpu);
  frame.push(size, cpu.segment[x86::kCs].selector);
  frame.push(size, cpu.rip);
  if (is_real_like(cpu)) {
    if (offset > cpu.segment[x86::kCs].limit) raise_gp();
    frame.write(cpu);
    cpu.gpr[x86::kRsp] = frame.pointer();
    return enter_real(cpu, selector, offset);
  }
  Descriptor target = fetch_target(cpu, selector);
  if (target.is_system()) {
    switch (system_target(cpu, target)) {
      case SystemTarget::kCallGate: return call_through_gate(cpu, target);
      case SystemTarget::kTaskGate: return transfer_to_task(cpu, TaskSwitch::kCall, target, true);
      case SystemTarget::kTss: return transfer_to_task(cpu, TaskSwitch::kCall, target, false);
    }
  }
  check_direct_transfer(cpu, target);
  check_target_offset(cpu, target.segment, offset);
  mark_accessed(cpu, target);
  frame.write(cpu);
  cpu.gpr[x86::kRsp] = frame.pointer();
  enter_same_level(cpu, target, offset);
}

Descriptor fetch_return_code(Cpu& cpu, std::uint16_t selector) {
  Descriptor code = fetch_target(cpu, selector);
  const std::uint32_t error = selector_error(selector);
  const std::uint8_t rpl = rpl_of(selector);
  if (!code.is_code() || rpl < cpu.cpl) raise_gp(error);
  if (code.is_conforming_code() ? code.segment.dpl > rpl : code.segment.dpl != rpl) raise_gp(error);
  check_present(cpu, code);
  return code;
}

x86::Segment fetch_return_stack(Cpu& cpu, std::uint16_t selector, const Descriptor& code) {
  const std::uint8_t level = rpl_of(code.selector);
  if (is_null_selector(selector)) {
    if (!cpu.long_mode || !code.segment.long_mode || level == 3 || rpl_of(selector) != level) raise_gp();
    return {.limit = 0, .selector = selector, .dpl = level, .present = false, .unusable = true};
  }
  Descriptor stack = fetch_descriptor(cpu, selector);
  check_stack_segment(stack, level, x86::kGeneralProtection);
  mark_accessed(cpu, stack);
  return stack.segment;
}

void set_return_stack(Cpu& cpu, const x86::Segment& stack, const x86::Segment& code, std::uint64_t pointer) {
  cpu.segment[x86::kSs] = stack;
  std::uint64_t& rsp = cpu.gpr[x86::kRsp];
  if (cpu.long_mode && code.long_mode)
    rsp = pointer;
  else if (stack.default_big)
    rsp = pointer & 0xffff'ffffU;
  else
    rsp = (rsp & ~std::uint64_t{0xffff}) | (pointer & 0xffffU);
}

void drop_inner_segments(Cpu& cpu, std::uint8_t level) {
  for (const SegmentName name : {x86::kEs, x86::kDs, x86::kFs, x86::kGs}) {
    x86::Segment& segment = cpu.segment.at(name);
    const bool is_code = (segment.type & x86::segment_type::kCode) != 0;
    if (segment.unusable)
      segment.selector = 0;  // it may have been 1 to 3
    else if (segment.dpl < level && !(is_code && is_conforming(segment)))
      load_null_segment(cpu, name, 0);
  }
}

void far_return(Cpu& cpu, unsigned size, std::uint64_t release) {
  cpu.leave_block = true;
  StackCursor cursor(cpu);
  const std::uint64_t offset = cursor.pop(size);
  const auto selector = static_cast<std::uint16_t>(cursor.pop(size));
  cursor.skip(release);
  if (is_real_like(cpu)) {
    if (offset > cpu.segment[x86::kCs].limit) raise_gp();
    cursor.commit();
    return enter_real(cpu, selector, offset);
  }
  Descriptor code = fetch_return_code(cpu, selector);
  const std::uint8_t level = rpl_of(selector);
  if (level == cpu.cpl) {
    check_target_offset(cpu, code.segment, offset);
    mark_accessed(cpu, code);
    cursor.commit();
    return enter_same_level(cpu, code, offset);
  }
  const std::uint64_t pointer = cursor.pop(size);
  const x86::Segment stack = fetch_return_stack(cpu, static_cast<std::uint16_t>(cursor.pop(size)), code);
  check_target_offset(cpu, code.segment, offset);
  mark_accessed(cpu, code);
  set_return_stack(cpu, stack, code.segment, pointer + release);
  set_code(cpu, code.segment, level, offset);
  drop_inner_segments(cpu, level);
  cpu.update_mode();
}

}  // namespace doppel::accel::soft
