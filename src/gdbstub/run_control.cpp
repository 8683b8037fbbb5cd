#include "gdbstub/run_control.h"

#include <fmt/format.h>

#include <algorithm>
#include <tuple>
#include <utility>

#include "gdbstub/registers.h"
#include "x86/registers.h"

namespace doppel::gdbstub {

using vm::CpuRun;
using vm::RunState;

namespace {

struct StateStop {
  RunState state;
  Signal signal;
  std::string_view message;
};

/// The states that end a run, as the client is told of them. A suspended guest wakes by itself.
constexpr StateStop kStateStops[] = {
    {RunState::kPaused, Signal::kInterrupt, ""},
    {RunState::kShutdown, Signal::kQuit, "the machine was powered off\n"},
    {RunState::kGuestPanicked, Signal::kAbort, "the guest panicked\n"},
    {RunState::kInternalError, Signal::kAbort, "a CPU cannot go on\n"},
    {RunState::kIoError, Signal::kInterrupt, "the host failed at a disk request; 'continue' tries it again\n"},
};

bool is_user_mode(const x86::CpuState& state) {
  if ((state.cr0 & x86::cr0::kPe) == 0) return false;
  return state.segment[x86::kSs].dpl == 3 || (state.rflags & x86::rflags::kVm) != 0;
}

}  // namespace

RunControl::RunControl(DebugTarget& target, std::function<void(const Stop&)> report)
    : target_(target), report_(std::move(report)), breakpoints_(target) {
  target_.set_listener({
      .debug_exit = [this](unsigned cpu, const accel::DebugExit& exit) { debug_exit(cpu, exit); },
      .state_changed = [this](RunState state) { state_changed(state); },
  });
}

RunControl::~RunControl() {
  target_.set_listener({});
  detach(false);
}

void RunControl::attach() {
  attached_ = true;
  phase_ = Phase::kStopped;
  stop_ = {};
  stop_pc_.reset();
  if (target_.state() == RunState::kRunning) target_.pause();
}

void RunControl::detach(bool run_on) {
  if (!std::exchange(attached_, false)) return;
  phase_ = Phase::kStopped;
  breakpoints_.clear();
  const std::vector still(target_.cpu_count(), CpuRun::kStay);
  std::ignore = apply_debug(still);
  const std::vector all(target_.cpu_count(), CpuRun::kRun);
  if (run_on && target_.state() != RunState::kRunning && check_can_go(all)) target_.run(all);
}

Result<> RunControl::go(const std::vector<CpuRun>& plan) {
  if (is_going()) return fail(ErrorKind::kBusy, "the machine runs already");
  DOPPEL_TRY(check_can_go(plan));
  plan_ = plan;
  const auto cpu = cpu_to_step_off(plan);
  if (!cpu) return start(plan, Phase::kGoing);
  return step_off(*cpu);
}

Result<> RunControl::check_can_go(const std::vector<CpuRun>& plan) {
  const RunState state = target_.state();
  if (state == RunState::kShutdown || state == RunState::kInternalError)
    return fail(ErrorKind::kUnsupported, "the machine must be reset first (monitor system_reset)");
  if (target_.traits().user_mode_debug) return {};
  for (unsigned cpu = 0; cpu < plan.size(); ++cpu) {
    if (plan[cpu] != CpuRun::kStep) continue;
    using enum x86::StateParts;
    DOPPEL_ASSIGN(const x86::CpuState registers, target_.read_state(cpu, kRegisters | kSystem));
    if (is_user_mode(registers))
      return fail(ErrorKind::kUnsupported, "this host's accelerator cannot step user-mode code");
  }
  return {};
}

std::optional<unsigned> RunControl::cpu_to_step_off(const std::vector<CpuRun>& plan) {
  const unsigned cpu = stop_.cpu;
  if (!stop_pc_ || cpu >= plan.size() || plan[cpu] == CpuRun::kStay) return std::nullopt;
  const auto pc = pc_of(cpu);
  if (pc != stop_pc_ || !breakpoints_.stops_at(*pc)) return std::nullopt;
  return cpu;
}

Result<> RunControl::step_off(unsigned cpu) {
  std::vector plan(plan_.size(), CpuRun::kStay);
  plan[cpu] = CpuRun::kStep;
  DOPPEL_TRY(check_can_go(plan));
  const bool is_all_that_was_asked = plan_[cpu] == CpuRun::kStep;
  breakpoints_.lift(*stop_pc_);
  return start(plan, is_all_that_was_asked ? Phase::kGoing : Phase::kSteppingOff);
}

Result<> RunControl::start(const std::vector<CpuRun>& plan, Phase phase) {
  DOPPEL_TRY(apply_debug(plan));
  phase_ = phase;
  target_.run(plan);
  return {};
}

Result<> RunControl::apply_debug(const std::vector<CpuRun>& plan) {
  accel::DebugRequest request = breakpoints_.request();
  for (unsigned cpu = 0; cpu < plan.size(); ++cpu) {
    request.single_step = plan[cpu] == CpuRun::kStep;
    DOPPEL_TRY(target_.set_debug(cpu, request));
  }
  return {};
}

void RunControl::interrupt() {
  if (is_going()) target_.pause();
}

void RunControl::debug_exit(unsigned cpu, const accel::DebugExit& exit) {
  if (!attached_ || !is_going()) return;
  const auto hit = breakpoints_.find_hit(exit);
  Result<> gone;
  if (exit.vector == x86::kBreakpoint && !hit) {
    breakpoints_.plant();
    gone = target_.inject_breakpoint(cpu);
    if (gone) gone = start(plan_, Phase::kGoing);
  } else if (phase_ == Phase::kSteppingOff && !hit) {
    breakpoints_.plant();
    gone = start(plan_, Phase::kGoing);
  } else {
    stop_at(cpu, hit);
    return;
  }
  if (!gone) stop({.cpu = cpu, .signal = Signal::kAbort, .hit = {}, .message = gone.error().describe() + "\n"});
}

/// gdb compares a breakpoint's address with RIP alone. Where CS has a base it would take the hit for one of a
/// breakpoint it has removed, and run on; a plain trap it shows.
void RunControl::stop_at(unsigned cpu, std::optional<Breakpoints::Hit> hit) {
  Stop stop{.cpu = cpu, .signal = Signal::kTrap, .hit = hit, .message = {}};
  const bool in_code = hit && (hit->kind == BreakKind::kSoftware || hit->kind == BreakKind::kHardware);
  using enum x86::StateParts;
  const auto state = in_code ? target_.read_state(cpu, kRegisters | kSystem) : Result<x86::CpuState>();
  if (in_code && state && state->rip != hit->address) {
    stop.hit.reset();
    stop.message = fmt::format("breakpoint at linear address {:#x}, {:04x}:{:04x}\n", hit->address,
                               state->segment[x86::kCs].selector, state->rip);
  }
  this->stop(std::move(stop));
}

void RunControl::state_changed(RunState state) {
  const auto* row = std::ranges::find(kStateStops, state, &StateStop::state);
  if (!attached_ || !is_going() || row == std::end(kStateStops)) return;
  stop({.cpu = stop_.cpu, .signal = row->signal, .hit = {}, .message = std::string(row->message)});
}

void RunControl::stop(Stop stop) {
  phase_ = Phase::kStopped;
  breakpoints_.plant();
  stop_ = std::move(stop);
  stop_pc_ = pc_of(stop_.cpu);
  report_(stop_);
}

std::optional<std::uint64_t> RunControl::pc_of(unsigned cpu) {
  using enum x86::StateParts;
  const auto state = target_.read_state(cpu, kRegisters | kSystem);
  if (!state) return std::nullopt;
  return linear_pc(*state);
}

}  // namespace doppel::gdbstub
