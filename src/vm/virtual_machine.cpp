#include "vm/virtual_machine.h"

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "vm/accelerator_irqs.h"
#include "vm/apic_port.h"
#include "vm/pic_port.h"

namespace doppel::vm {

std::string_view to_string(RunState state) {
  switch (state) {
    case RunState::kPrelaunch: return "prelaunch";
    case RunState::kRunning: return "running";
    case RunState::kPaused: return "paused";
    case RunState::kDebug: return "debug";
    case RunState::kShutdown: return "shutdown";
    case RunState::kSuspended: return "suspended";
    case RunState::kGuestPanicked: return "guest-panicked";
    case RunState::kInternalError: return "internal-error";
  }
  return "unknown";
}

VirtualMachine::VirtualMachine(VmConfig config, event::Loop& loop, LogSink& sink)
    : config_(std::move(config)), loop_(loop), log_(sink, "vm") {}

VirtualMachine::~VirtualMachine() {
  vcpus_.clear();
  if (slots_ && memory_) memory_->remove_listener(*slots_);
}

int VirtualMachine::run() {
  if (!config_.process.start_paused) resume();
  loop_.run();
  if (running()) pause();
  return exit_status_.value_or(EXIT_SUCCESS);
}

void VirtualMachine::set_state(RunState state) {
  if (std::exchange(state_, state) == state) return;
  log_.trace(LogCategory::kPower, "{}", to_string(state));
  if (state_listener_) state_listener_(state);
}

void VirtualMachine::resume() {
  resume(std::vector(vcpus_.size(), CpuRun::kRun));
}

void VirtualMachine::resume(std::span<const CpuRun> plan) {
  if (running()) return;
  stop_requested_ = false;
  if (std::ranges::find(plan, CpuRun::kRun) != plan.end()) loop_.virtual_clock().resume();
  set_state(RunState::kRunning);
  for (std::size_t i = 0; i < plan.size() && i < vcpus_.size(); ++i) {
    if (plan[i] == CpuRun::kRun) vcpus_[i]->resume();
    if (plan[i] == CpuRun::kStep) vcpus_[i]->step();
  }
}

void VirtualMachine::pause(RunState state) {
  if (running()) {
    for (const auto& vcpu : vcpus_) vcpu->request_pause();
    wait_until_paused();
    loop_.virtual_clock().pause();
  }
  set_state(state);
}

void VirtualMachine::wait_until_paused() {
  for (const auto& vcpu : vcpus_) vcpu->wait_until_paused();
}

void VirtualMachine::reset() {
  const bool was_running = running();
  const RunState before = state_;
  pause();
  machine_->reset();
  for (const auto& port : apic_ports_) port->clear();
  reset_vcpus();
  if (was_running)
    resume();
  else
    set_state(before == RunState::kShutdown || before == RunState::kInternalError ? RunState::kPaused : before);
}

void VirtualMachine::reset_vcpus() {
  const std::optional<x86::CpuState> entry = machine_->boot_entry();
  for (const auto& vcpu : vcpus_) {
    const bool boots = vcpu == vcpus_.front();
    if (const auto done = vcpu->reset(boots && entry ? &*entry : nullptr); !done)
      log_.error("cannot reset CPU {}: {}", vcpu->id(), done.error().describe());
  }
}

void VirtualMachine::power_button() {
  machine_->power_button();
}

void VirtualMachine::quit(int status) {
  loop_.post([this, status] {
    if (!exit_status_) exit_status_ = status;
    loop_.quit();
  });
}

void VirtualMachine::stop_and(std::function<void()> act) {
  if (stop_requested_.exchange(true)) return;
  for (const auto& vcpu : vcpus_) vcpu->request_pause();
  loop_.post([this, act = std::move(act)] {
    if (running()) {
      wait_until_paused();
      loop_.virtual_clock().pause();
      state_ = RunState::kPaused;  // in passing: ACT says what the state really is
    }
    stop_requested_ = false;
    act();
  });
}

// ---- What the guest asks for

void VirtualMachine::reset_requested() {
  stop_and([this] { reset_or_exit(); });
}

void VirtualMachine::reset_or_exit() {
  log_.trace(LogCategory::kPower, "the guest asked for a reset");
  if (config_.action.reboot == RebootAction::kShutdown) {
    power_off();
    return;
  }
  reset();
  resume();
}

void VirtualMachine::power_off_requested() {
  stop_and([this] { power_off(); });
}

void VirtualMachine::power_off() {
  log_.trace(LogCategory::kPower, "power-off");
  set_state(RunState::kShutdown);
  if (config_.action.shutdown == ShutdownAction::kPowerOff) quit(EXIT_SUCCESS);
}

void VirtualMachine::suspend_requested() {
  stop_and([this] { set_state(RunState::kSuspended); });
}

void VirtualMachine::exit_requested(int status) {
  stop_and([this, status] { quit(status); });
}

void VirtualMachine::guest_panicked() {
  if (config_.action.panic == PanicAction::kNone) return;
  stop_and([this] { panicked(); });
}

void VirtualMachine::panicked() {
  set_state(RunState::kGuestPanicked);
  if (config_.action.panic == PanicAction::kShutdown) quit(EXIT_SUCCESS);
  if (config_.action.panic == PanicAction::kExitFailure) quit(EXIT_FAILURE);
}

void VirtualMachine::guest_triple_fault(unsigned cpu) {
  log_.trace(LogCategory::kCpuReset, "CPU {}: triple fault", cpu);
  reset_requested();
}

void VirtualMachine::guest_system_event(unsigned cpu, const accel::SystemEventExit& event) {
  log_.trace(LogCategory::kPower, "CPU {}: system event {}", cpu, event.code);
  switch (event.kind) {
    case accel::SystemEventKind::kShutdown: power_off_requested(); break;
    case accel::SystemEventKind::kCrash: guest_panicked(); break;
    case accel::SystemEventKind::kReset:
    case accel::SystemEventKind::kOther: reset_requested(); break;
  }
}

void VirtualMachine::guest_debug(unsigned cpu, const accel::DebugExit& exit) {
  stop_and([this, cpu, exit] {
    set_state(RunState::kDebug);
    if (debug_listener_) debug_listener_(cpu, exit);
  });
}

void VirtualMachine::vcpu_stuck(unsigned cpu, const std::string& why, const std::string& registers) {
  stop_and([this, cpu, why, registers] {
    log_.error("CPU {} cannot go on: {}\n{}", cpu, why, registers);
    set_state(RunState::kInternalError);
    if (config_.action.shutdown == ShutdownAction::kPowerOff) quit(EXIT_FAILURE);
  });
}

void VirtualMachine::ioapic_eoi(std::uint8_t vector) {
  machine_->end_of_interrupt(vector);
}

void VirtualMachine::before_exit() {
  // Nothing is coalesced yet: no device here takes write-only traffic worth batching.
}

}  // namespace doppel::vm
