#include "accel/soft/interpreter/tasks.h"

#include <algorithm>
#include <array>

#include "accel/soft/interpreter/control_registers.h"
#include "accel/soft/interpreter/stack_frame.h"

namespace doppel::accel::soft {

namespace rflags = x86::rflags;
using x86::SegmentName;

namespace {

constexpr std::uint16_t kTableIndicator = 4;
constexpr std::uint64_t kTypeByte = 5;  // of a descriptor, where the busy bit is
/// DR7's local enables (L0 to L3, LE) end with the task.
constexpr std::uint64_t kDr7Local = 0x155;
/// What a TSS may bring into the flags.
constexpr std::uint64_t kTaskFlags = rflags::kArithmetic | rflags::kTf | rflags::kIf | rflags::kDf | rflags::kIopl |
                                     rflags::kNt | rflags::kRf | rflags::kVm | rflags::kAc | rflags::kVif |
                                     rflags::kVip | rflags::kId;

bool is_32bit(const x86::Segment& tss) {
  return (tss.type & 8U) != 0;
}

/// Where things are in a TSS (SDM 3A figures 7-2 and 7-10). Registers and segment registers stand there in the order of
/// their encodings.
struct Layout {
  unsigned word;  // bytes of a register
  std::uint32_t size;
  std::uint32_t eip;  // flags and general registers follow
  std::uint32_t first_segment;
  unsigned segment_step;
  unsigned segment_count;
  std::uint32_t ldt;
};
constexpr Layout kLayout16{
    .word = 2, .size = 44, .eip = 14, .first_segment = 34, .segment_step = 2, .segment_count = 4, .ldt = 42};
constexpr Layout kLayout32{
    .word = 4, .size = 104, .eip = 32, .first_segment = 72, .segment_step = 4, .segment_count = 6, .ldt = 96};
constexpr std::uint32_t kTrapWord32 = 100;  // bit 0

const Layout& layout_of(const x86::Segment& tss) {
  return is_32bit(tss) ? kLayout32 : kLayout16;
}

std::uint32_t load_word(Cpu& cpu, std::uint64_t address, unsigned size) {
  return size == 2 ? cpu.load_system<std::uint16_t>(address) : cpu.load_system<std::uint32_t>(address);
}
void store_word(Cpu& cpu, std::uint64_t address, unsigned size, std::uint64_t value) {
  if (size == 2)
    cpu.store_system<std::uint16_t>(address, static_cast<std::uint16_t>(value));
  else
    cpu.store_system<std::uint32_t>(address, static_cast<std::uint32_t>(value));
}

struct TaskState {
  std::uint32_t cr3 = 0;
  std::uint32_t eip = 0;
  std::uint32_t flags = 0;
  std::array<std::uint32_t, 8> gpr{};
  std::array<std::uint16_t, x86::kSegmentCount> selector{};
  std::uint16_t ldt = 0;
  bool trap = false;
};

TaskState load_state(Cpu& cpu, const x86::Segment& tss) {
  const Layout& layout = layout_of(tss);
  // A 286's task knows no upper halves; processors fill them with ones.
  const std::uint32_t upper = layout.word == 2 ? 0xffff'0000U : 0;
  TaskState state;
  std::uint64_t address = tss.base + layout.eip;
  const auto next = [&] {
    const std::uint32_t value = load_word(cpu, address, layout.word);
    address += layout.word;
    return value;
  };
  state.eip = next();
  state.flags = next();
  for (std::uint32_t& reg : state.gpr) reg = upper | next();
  for (unsigned n = 0; n < layout.segment_count; ++n)
    state.selector.at(n) = cpu.load_system<std::uint16_t>(tss.base + layout.first_segment + n * layout.segment_step);
  state.ldt = cpu.load_system<std::uint16_t>(tss.base + layout.ldt);
  if (is_32bit(tss)) {
    state.cr3 = cpu.load_system<std::uint32_t>(tss.base + x86::tss32::kCr3);
    state.trap = (cpu.load_system<std::uint16_t>(tss.base + kTrapWord32) & 1U) != 0;
  }
  return state;
}

void save_state(Cpu& cpu, std::uint64_t flags) {
  const Layout& layout = layout_of(cpu.tr);
  std::uint64_t address = cpu.tr.base + layout.eip;
  const auto next = [&](std::uint64_t value) {
    store_word(cpu, address, layout.word, value);
    address += layout.word;
  };
  next(cpu.rip);
  next(flags);
  for (unsigned n = 0; n < 8; ++n) next(cpu.gpr.at(n));
  for (unsigned n = 0; n < layout.segment_count; ++n)
    cpu.store_system<std::uint16_t>(cpu.tr.base + layout.first_segment + n * layout.segment_step,
                                    cpu.segment.at(n).selector);
}

bool is_nested(TaskSwitch how) {
  return how == TaskSwitch::kCall || how == TaskSwitch::kGate;
}

/// All that can fault while there is still a way back (SDM 3A 7.3).
void check_switch(Cpu& cpu, TaskSwitch how, const Descriptor& tss) {
  const Layout& layout = layout_of(tss.segment);
  const Layout& old_layout = layout_of(cpu.tr);
  if (tss.segment.limit < layout.size - 1) raise(x86::kInvalidTss, selector_error(tss.selector));
  if (cpu.tr.limit < old_layout.size - 1) raise(x86::kInvalidTss, selector_error(cpu.tr.selector));
  cpu.probe_system(tss.segment.base, layout.size, AccessKind::kRead);
  if (is_nested(how)) cpu.probe_system(tss.segment.base, 2, AccessKind::kWrite);
  cpu.probe_system(cpu.tr.base + old_layout.eip, old_layout.ldt - old_layout.eip, AccessKind::kWrite);
  if (how != TaskSwitch::kReturn) cpu.probe_system(tss.address + kTypeByte, 1, AccessKind::kWrite);
  if (!is_nested(how)) cpu.probe_system(gdt_address(cpu, cpu.tr.selector) + kTypeByte, 1, AccessKind::kWrite);
}

/// The registers of STATE; segment registers have their selectors alone, so far.
void enter_state(Cpu& cpu, const TaskState& state, bool nested) {
  cpu.rip = state.eip;
  cpu.instruction_start = state.eip;
  cpu.rflags = (state.flags & kTaskFlags) | rflags::kFixed | (nested ? rflags::kNt : 0);
  std::copy(state.gpr.begin(), state.gpr.end(), cpu.gpr.begin());
  cpu.dr7 &= ~kDr7Local;
  cpu.ldt = {
      .limit = 0, .selector = state.ldt, .type = x86::kLdt, .present = false, .code_or_data = false, .unusable = true};
  for (unsigned n = 0; n < x86::kSegmentCount; ++n)
    cpu.segment.at(n) = {.limit = 0, .selector = state.selector.at(n), .present = false, .unusable = true};
  cpu.segment[x86::kSs].dpl = rpl_of(state.selector[x86::kCs]);
}

void load_task_code(Cpu& cpu, std::uint16_t selector) {
  const std::uint32_t error = selector_error(selector);
  if (is_null_selector(selector)) raise(x86::kInvalidTss, 0);
  Descriptor code = fetch_descriptor(cpu, selector, x86::kInvalidTss);
  const std::uint8_t rpl = rpl_of(selector);
  const bool fits = code.is_conforming_code() ? code.segment.dpl <= rpl : code.segment.dpl == rpl;
  if (!code.is_code() || !fits) raise(x86::kInvalidTss, error);
  if (!code.segment.present) raise(x86::kSegmentNotPresent, error);
  mark_accessed(cpu, code);
  cpu.segment[x86::kCs] = code.segment;
}
void load_task_stack(Cpu& cpu, std::uint16_t selector, std::uint8_t cpl) {
  if (is_null_selector(selector)) raise(x86::kInvalidTss, 0);
  Descriptor stack = fetch_descriptor(cpu, selector, x86::kInvalidTss);
  check_stack_segment(stack, cpl, x86::kInvalidTss);
  mark_accessed(cpu, stack);
  cpu.segment[x86::kSs] = stack.segment;
}
void load_task_data(Cpu& cpu, SegmentName name, std::uint16_t selector, std::uint8_t cpl) {
  if (is_null_selector(selector)) return;
  Descriptor data = fetch_descriptor(cpu, selector, x86::kInvalidTss);
  check_data_segment(data, cpl, x86::kInvalidTss);
  mark_accessed(cpu, data);
  cpu.segment.at(name) = data.segment;
}

/// The hidden parts, with faults of the new task.
void load_task_segments(Cpu& cpu, const TaskState& state) {
  load_ldt(cpu, state.ldt, x86::kInvalidTss);
  if (cpu.flag(rflags::kVm)) {
    for (unsigned n = 0; n < x86::kSegmentCount; ++n) cpu.segment.at(n) = vm86_segment(state.selector.at(n));
    return;
  }
  const std::uint8_t cpl = rpl_of(state.selector[x86::kCs]);
  load_task_code(cpu, state.selector[x86::kCs]);
  load_task_stack(cpu, state.selector[x86::kSs], cpl);
  for (const SegmentName name : {x86::kDs, x86::kEs, x86::kFs, x86::kGs})
    load_task_data(cpu, name, state.selector.at(name), cpl);
}

void push_error_code(Cpu& cpu, unsigned size, std::uint32_t error_code) {
  StackFrame frame(cpu);
  frame.push(size, error_code);
  frame.write(cpu);
  cpu.gpr[x86::kRsp] = frame.pointer();
}

}  // namespace

Descriptor fetch_available_tss(Cpu& cpu, std::uint16_t selector) {
  const std::uint32_t error = selector_error(selector);
  if (is_null_selector(selector) || (selector & kTableIndicator) != 0) raise_gp(error);
  Descriptor tss = fetch_descriptor(cpu, selector);
  if (!tss.is_available_tss(cpu.long_mode)) raise_gp(error);
  if (!tss.segment.present) raise(x86::kSegmentNotPresent, error);
  return tss;
}

void switch_task(Cpu& cpu, TaskSwitch how, const Descriptor& tss, std::uint64_t flags,
                 std::optional<std::uint32_t> error_code) {
  check_switch(cpu, how, tss);
  save_state(cpu, how == TaskSwitch::kReturn ? flags & ~rflags::kNt : flags);
  if (!is_nested(how)) set_busy(cpu, gdt_address(cpu, cpu.tr.selector), false);
  if (is_nested(how)) cpu.store_system<std::uint16_t>(tss.segment.base, cpu.tr.selector);
  const TaskState state = load_state(cpu, tss.segment);
  if (how != TaskSwitch::kReturn) set_busy(cpu, tss.address, true);

  cpu.tr = tss.segment;
  cpu.tr.type |= kTssBusyBit;
  cpu.cr0 |= x86::cr0::kTs;
  cpu.leave_block = true;
  enter_state(cpu, state, is_nested(how));
  try {
    cpu.update_mode();
    if (cpu.paging() && is_32bit(tss.segment)) write_cr3(cpu, state.cr3);
    load_task_segments(cpu, state);
  } catch (const Fault&) {
    cpu.update_mode();
    throw;
  }
  cpu.update_mode();
  if (state.trap) cpu.pending_dr6 |= x86::dr6::kBt;
  if (error_code) push_error_code(cpu, layout_of(tss.segment).word, *error_code);
  if (cpu.rip > cpu.segment[x86::kCs].limit) raise_gp();
}

void return_from_task(Cpu& cpu) {
  const auto selector = cpu.load_system<std::uint16_t>(cpu.tr.base);
  const std::uint32_t error = selector_error(selector);
  if (is_null_selector(selector) || (selector & kTableIndicator) != 0) raise(x86::kInvalidTss, error);
  const Descriptor tss = fetch_descriptor(cpu, selector, x86::kInvalidTss);
  if (!tss.is_system() || (tss.segment.type != x86::kTssBusy && tss.segment.type != x86::kTss16Busy))
    raise(x86::kInvalidTss, error);
  if (!tss.segment.present) raise(x86::kSegmentNotPresent, error);
  switch_task(cpu, TaskSwitch::kReturn, tss, cpu.rflags);
}

InnerStack read_inner_stack(Cpu& cpu, std::uint8_t level) {
  const unsigned word = layout_of(cpu.tr).word;
  const std::uint32_t offset = word + level * 2U * word;
  if (offset + word + 1 > cpu.tr.limit) raise(x86::kInvalidTss, selector_error(cpu.tr.selector));
  const std::uint32_t pointer = load_word(cpu, cpu.tr.base + offset, word);
  const auto selector = cpu.load_system<std::uint16_t>(cpu.tr.base + offset + word);
  if (is_null_selector(selector)) raise(x86::kInvalidTss, 0);
  Descriptor stack = fetch_descriptor(cpu, selector, x86::kInvalidTss);
  check_stack_segment(stack, level, x86::kInvalidTss);
  mark_accessed(cpu, stack);
  return {.segment = stack.segment, .pointer = pointer};
}

std::uint64_t read_level_stack(Cpu& cpu, std::uint8_t level) {
  const std::uint32_t offset = x86::tss64::kRsp0 + level * 8U;
  if (offset + 7 > cpu.tr.limit) raise(x86::kInvalidTss, selector_error(cpu.tr.selector));
  return cpu.load_system<std::uint64_t>(cpu.tr.base + offset);
}

std::uint64_t read_interrupt_stack(Cpu& cpu, std::uint8_t n) {
  const std::uint32_t offset = x86::tss64::kIst1 + (n - 1U) * 8U;
  if (offset + 7 > cpu.tr.limit) raise(x86::kInvalidTss, selector_error(cpu.tr.selector));
  return cpu.load_system<std::uint64_t>(cpu.tr.base + offset);
}

}  // namespace doppel::accel::soft
