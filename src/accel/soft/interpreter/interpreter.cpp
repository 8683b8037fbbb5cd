#include "accel/soft/interpreter/interpreter.h"

#include <utility>

#include "accel/soft/interpreter/cpu_trace.h"
#include "accel/soft/interpreter/debug.h"
#include "accel/soft/interpreter/interrupts.h"
#include "accel/soft/runtime/host_fault.h"

namespace doppel::accel::soft {

namespace rflags = x86::rflags;

namespace {

Event exception(std::uint8_t vector) {
  return {.kind = EventKind::kException, .vector = vector, .has_error_code = false, .error_code = 0};
}

constexpr std::uint64_t kEndless = ~std::uint64_t{0};

bool runs_past_segment(const Cpu& cpu, std::uint64_t bytes) {
  return cpu.rip + bytes - 1 > cpu.segment[x86::kCs].limit;
}

}  // namespace

StopReason Interpreter::run(std::uint64_t budget) {
  remaining_ = budget == 0 ? kEndless : budget;
  accept_host_faults();
  if (!cpu_.machine.ram.host_writes_are_marked()) cache_.reset();
  forget_stale_code();
  while (true) {
    try {
      if (cpu_.attention.requested()) {
        if (const StopReason reason = serve_attention(); reason != StopReason::kNone) return reason;
        continue;  // it may have finished an instruction for the sake of which a kick waits
      }
      if (remaining_ == 0) return StopReason::kBudget;
      if (!cpu_.bus.empty()) {
        if (const StopReason reason = step(); reason != StopReason::kNone) return reason;
        continue;
      }
      if (const StopReason reason = deliver_events(); reason != StopReason::kNone) return reason;
      const StopReason reason = must_step() ? step() : run_blocks();
      if (reason != StopReason::kNone) return reason;
    } catch (const BusWait&) {
      cpu_.rip = cpu_.instruction_start;
      return StopReason::kBus;
    }
  }
}

StopReason Interpreter::finish_instruction() {
  if (cpu_.bus.empty()) return StopReason::kNone;
  try {
    const StopReason reason = step();
    if (reason == StopReason::kBus) return reason;
    // What else the instruction led to is found again: nothing of it is lost by going on.
    if (reason != StopReason::kNone) cpu_.stop = reason;
  } catch (const BusWait&) {
    cpu_.rip = cpu_.instruction_start;
    return StopReason::kBus;
  }
  return StopReason::kNone;
}

StopReason Interpreter::serve_attention() {
  (void)cpu_.attention.take();
  cpu_.machine.rendezvous.safepoint();
  forget_stale_code();
  // An instruction whose access was answered is finished first: the answer cannot be asked for twice.
  if (!cpu_.bus.empty()) {
    if (cpu_.kicked.load(std::memory_order_acquire)) cpu_.attention.request();
    return step();
  }
  return cpu_.kicked.exchange(false, std::memory_order_acq_rel) ? StopReason::kKick : StopReason::kNone;
}

/// Blocks refer to memory slots, which come and go while no CPU is inside.
void Interpreter::forget_stale_code() {
  const std::uint64_t layout = cpu_.machine.ram.layout();
  if (std::exchange(memory_layout_, layout) != layout) cache_.reset();
  if (translated_ != nullptr) translated_->look_for_host_writes();
}

bool Interpreter::accepts_interrupt() const {
  const x86::PendingEvents& events = cpu_.events;
  return cpu_.flag(rflags::kIf) && !events.sti_shadow && !events.mov_ss_shadow && !events.interrupt.injected &&
         !events.exception.injected && !events.nmi.injected && cpu_.bus.empty();
}

/// What comes before the next instruction, by priority (SDM 3A table 6-2).
StopReason Interpreter::deliver_events() {
  if (cpu_.stop != StopReason::kNone) return take_stop();
  x86::PendingEvents& events = cpu_.events;
  cpu_.instruction_start = cpu_.rip;
  try {
    if (events.exception.injected || events.exception.pending) {
      const auto raised = std::exchange(events.exception, {});
      return take_fault({raised.vector, raised.has_error_code, raised.error_code});
    }
    if (events.nmi.injected || (events.nmi.pending && !events.nmi.masked && !events.mov_ss_shadow)) {
      deliver(cpu_, {.kind = EventKind::kNmi, .vector = x86::kNmi, .has_error_code = false, .error_code = 0});
      if (!std::exchange(events.nmi.injected, false)) events.nmi.pending = false;
      events.nmi.masked = true;
      ++statistics_.interrupts;
    } else if (events.interrupt.injected) {
      deliver(cpu_, {.kind = events.interrupt.soft ? EventKind::kSoftwareInterrupt : EventKind::kExternalInterrupt,
                     .vector = events.interrupt.vector,
                     .has_error_code = false,
                     .error_code = 0});
      events.interrupt = {};
      ++statistics_.interrupts;
    }
  } catch (const Fault& fault) {
    events.interrupt = {};
    events.nmi.injected = false;
    return take_fault(fault);
  }
  return cpu_.irq_window_wanted && accepts_interrupt() ? StopReason::kIrqWindow : StopReason::kNone;
}

bool Interpreter::must_step() const {
  const x86::PendingEvents& events = cpu_.events;
  return cpu_.flag(rflags::kTf | rflags::kRf) || events.sti_shadow || events.mov_ss_shadow || cpu_.host_single_step ||
         code_breakpoints_enabled(cpu_) || cpu_.pending_dr6 != 0;
}

/// Blocks, one after the other, for as long as nothing can have come up in between: what may sets leave_block or
/// attention. RIP is kept in a register; operations that read it find it in the CPU, those that write it end the block.
StopReason Interpreter::run_blocks() {
  Cpu& cpu = cpu_;
  const std::uint64_t rip_mask = cpu.rip_mask;
  const CodeCache::Context context = cache_.context();
  std::uint64_t executed = 0;
  // Translated instructions are not counted.
  TranslatedCode* const translated = remaining_ >= kEndless / 2 ? translated_ : nullptr;
  if (translated != nullptr) translated->begin();
  cpu.leave_block = false;
  try {
    do {
      std::uint64_t rip = cpu.rip;
      cpu.instruction_start = rip;
      const Block& block = cache_.at_rip(context);
      if (translated != nullptr && translated->run(block)) continue;
      if (block.size > remaining_ - executed ||
          (context.mode != CodeMode::kLong64 && runs_past_segment(cpu, block.bytes))) {
        count(executed);
        return step();
      }
      const Instruction* const first = cache_.instructions_of(block).data();
      const Instruction* const end = first + block.size;
      const Instruction* current = first;
      do {
        cpu.instruction_start = rip;
        rip = (rip + current->length) & rip_mask;
        cpu.rip = rip;
        current->handler(cpu, *current);
        ++current;
      } while (current != end && !cpu.leave_block);
      executed += static_cast<std::uint64_t>(current - first);
    } while (!cpu.leave_block && executed < remaining_ && !cpu.attention.requested());
  } catch (const Fault& fault) {
    count(executed);
    cpu.rip = cpu.instruction_start;
    return take_fault(fault);
  }
  count(executed);
  return cpu.leave_block ? after_instruction(false) : StopReason::kNone;
}

void Interpreter::count(std::uint64_t executed) {
  statistics_.instructions += executed;
  remaining_ -= executed;
}

/// One instruction, with everything that run_blocks() need not look at.
StopReason Interpreter::step() {
  cpu_.instruction_start = cpu_.rip;
  if (!cpu_.flag(rflags::kRf) && cpu_.bus.empty() && check_code_breakpoints())
    return cpu_.host_owns_dr ? StopReason::kDebug : StopReason::kNone;
  const bool resume = cpu_.flag(rflags::kRf);
  const bool trap = cpu_.flag(rflags::kTf);
  bool enters_handler = false;
  const bool sti_shadow = std::exchange(cpu_.events.sti_shadow, false);
  const bool mov_ss_shadow = std::exchange(cpu_.events.mov_ss_shadow, false);
  try {
    const Block& block = cache_.at_rip(cache_.context());
    if (cpu_.trace != nullptr) cpu_.trace->enter(block);
    const Instruction instruction = cache_.instructions_of(block).front();
    if (cpu_.code_mode != CodeMode::kLong64 && runs_past_segment(cpu_, instruction.length)) raise_gp();
    enters_handler = instruction.enters_handler;
    cpu_.rflags &= ~rflags::kRf;
    cpu_.leave_block = false;
    cpu_.rip = (cpu_.rip + instruction.length) & cpu_.rip_mask;
    instruction.handler(cpu_, instruction);
    count(1);
  } catch (const Fault& fault) {
    cpu_.rip = cpu_.instruction_start;
    return take_fault(fault);
  } catch (const BusWait&) {
    cpu_.events.sti_shadow = sti_shadow;
    cpu_.events.mov_ss_shadow = mov_ss_shadow;
    if (resume) cpu_.rflags |= rflags::kRf;
    throw;
  }
  if (cpu_.stop == StopReason::kBus) {
    cpu_.events.sti_shadow = sti_shadow;
    cpu_.events.mov_ss_shadow = mov_ss_shadow;
  }
  return after_instruction(trap && !(enters_handler && !cpu_.flag(rflags::kTf)));
}

/// True: a breakpoint on the instruction at RIP, and #DB was delivered or reported.
bool Interpreter::check_code_breakpoints() {
  const std::uint64_t hit = code_breakpoint_hits(cpu_);
  if (hit == 0) return false;
  if (cpu_.host_owns_dr) {
    report_debug(x86::kDebug, hit);
    return true;
  }
  record_debug_exception(cpu_, hit);
  cpu_.rflags |= rflags::kRf;  // returning executes the instruction (SDM 3B 18.3.1.1)
  take_fault({x86::kDebug, false, 0});
  return true;
}

/// An instruction is done: its traps, and what it asked for. TRAP: it began with TF set.
StopReason Interpreter::after_instruction(bool trap) {
  if (cpu_.stop == StopReason::kBus) return take_stop();
  cpu_.bus.clear();
  if (cpu_.host_single_step && cpu_.stop == StopReason::kNone) {
    cpu_.pending_dr6 = 0;
    return report_debug(x86::kDebug, x86::dr6::kBs);
  }
  // A trap behind a load of SS waits for the next instruction (SDM 3A 6.8.3).
  std::uint64_t hits = trap ? x86::dr6::kBs : 0;
  if (!cpu_.events.mov_ss_shadow) hits |= std::exchange(cpu_.pending_dr6, 0);
  if (hits != 0 && cpu_.host_owns_dr && hits != x86::dr6::kBs) return report_debug(x86::kDebug, hits);
  if (hits != 0) {
    record_debug_exception(cpu_, hits);
    try {
      cpu_.instruction_start = cpu_.rip;
      deliver(cpu_, exception(x86::kDebug));
    } catch (const Fault& fault) {
      return take_fault(fault);
    }
  }
  return take_stop();
}

StopReason Interpreter::take_stop() {
  return std::exchange(cpu_.stop, StopReason::kNone);
}

StopReason Interpreter::take_fault(const Fault& fault) {
  ++statistics_.faults;
  // A handler that itself begins with a fault shall not run for ever either.
  if (std::exchange(instructions_at_fault_, statistics_.instructions) == statistics_.instructions && remaining_ != 0)
    --remaining_;
  if (cpu_.host_breakpoints && fault.vector == x86::kBreakpoint) return report_debug(x86::kBreakpoint, 0);
  const bool delivered = deliver_fault(cpu_, fault);
  cpu_.bus.clear();
  cpu_.pending_dr6 = 0;
  if (!delivered) return StopReason::kShutdown;
  return cpu_.host_single_step ? report_debug(x86::kDebug, x86::dr6::kBs) : StopReason::kNone;
}

StopReason Interpreter::report_debug(std::uint8_t vector, std::uint64_t dr6) {
  cpu_.bus.clear();
  const std::uint64_t base = cpu_.code_mode == CodeMode::kLong64 ? 0 : cpu_.segment[x86::kCs].base;
  debug_exit_ = {.vector = vector,
                 .pc = base + cpu_.rip,
                 .dr6 = x86::dr6::kReset | dr6,
                 .dr7 = cpu_.host_owns_dr ? cpu_.host_dr7 : cpu_.dr7};
  return StopReason::kDebug;
}

}  // namespace doppel::accel::soft
