#include "vm/virtual_machine.h"

#include <unistd.h>

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
    case RunState::kIoError: return "io-error";
  }
  return "unknown";
}

VirtualMachine::VirtualMachine(VmConfig config, event::Loop& loop, LogSink& sink)
    : config_(std::move(config)), loop_(loop), log_(sink, "vm") {}

VirtualMachine::~VirtualMachine() {
  if (running()) halt();               // no vCPU reports to its neighbours while they go
  if (iothreads_) iothreads_->stop();  // and no device interrupts them
  vcpus_.clear();
  if (slots_ && memory_) memory_->remove_listener(*slots_);
  if (port_slots_ && ports_) ports_->remove_listener(*port_slots_);
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
  if (running() || needs_reset() || state_ == RunState::kSuspended) return;
  set_state(RunState::kRunning);
  disks_->retry_requests();
  start(plan);
}

void VirtualMachine::retry_disks() {
  if (state_ == RunState::kIoError) resume();
}

/// The host failed at a disk request that is held until the machine goes on.
void VirtualMachine::disk_stopped(const std::string& why) {
  if (!running()) return;  // it fails again when the machine goes on, or was told of already
  log_.error("{}; the guest is paused: mend it, then let the guest go on by 'kill -CONT {}'", why, ::getpid());
  pause(RunState::kIoError);
}

void VirtualMachine::start(std::span<const CpuRun> plan) {
  if (unsettled_ != nullptr) return settle({plan.begin(), plan.end()});
  if (std::ranges::find(plan, CpuRun::kRun) != plan.end()) loop_.virtual_clock().resume();
  for (std::size_t i = 0; i < plan.size() && i < vcpus_.size(); ++i) {
    if (plan[i] == CpuRun::kRun) vcpus_[i]->resume();
    if (plan[i] == CpuRun::kStep) vcpus_[i]->step();
  }
}

/// Disks may still fill memory for the guest before the restart, or write what it holds: that must not be what the new
/// one puts there. The devices are silent, so nothing is added.
void VirtualMachine::settle(std::vector<CpuRun> plan) {
  if (!disks_->busy()) {
    restart_hardware(std::exchange(unsettled_, nullptr));
    return start(plan);
  }
  event::Clock& clock = loop_.realtime_clock();
  settling_ = clock.create_timer([this, plan = std::move(plan)] {
    if (running()) start(plan);
  });
  settling_->arm(clock.now_ns() + event::kNsPerMillisecond);
}

void VirtualMachine::halt() {
  for (const auto& vcpu : vcpus_) vcpu->request_pause();
  for (const auto& vcpu : vcpus_) vcpu->wait_until_paused();
  loop_.virtual_clock().pause();
}

void VirtualMachine::pause(RunState state) {
  if (running()) halt();
  set_state(state);
}

void VirtualMachine::reset() {
  if (running() || state_ == RunState::kIoError) {
    if (running()) halt();
    restart_hardware(&hw::Machine::reset);
    set_state(RunState::kRunning);
    start(std::vector(vcpus_.size(), CpuRun::kRun));
    return;
  }
  restart_hardware(&hw::Machine::reset);
  if (needs_reset() || state_ == RunState::kSuspended || state_ == RunState::kGuestPanicked)
    set_state(RunState::kPaused);
}

/// Power-on, or the end of a sleep. All vCPUs paused.
void VirtualMachine::restart_hardware(Restart how) {
  ++resets_;
  (machine_.get()->*how)();
  disks_->abandon_requests();  // the devices have forgotten them
  unsettled_ = disks_->busy() ? how : nullptr;
  for (const auto& port : apic_ports_) port->clear();
  if (!irqchip_at_reset_.empty())
    if (const auto loaded = vm_->load_irqchip(irqchip_at_reset_); !loaded)
      log_.error("cannot reset the interrupt controllers: {}", loaded.error().describe());
  reset_vcpus();
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
  if (state_ == RunState::kSuspended)
    wake();
  else
    machine_->power_button();
}

void VirtualMachine::wake() {
  if (state_ != RunState::kSuspended) return;
  restart_hardware(&hw::Machine::wake);
  set_state(RunState::kRunning);
  start(std::vector(vcpus_.size(), CpuRun::kRun));
}

void VirtualMachine::quit(int status) {
  loop_.post([this, alive = std::weak_ptr(alive_), status] {
    if (alive.expired()) return;
    if (!exit_status_) exit_status_ = status;
    loop_.quit();
  });
}

void VirtualMachine::stop_and(Request kind, std::function<void()> act) {
  const std::uint32_t bit = 1U << static_cast<unsigned>(kind);
  const bool is_first = (requested_.fetch_or(bit) & bit) == 0;
  for (const auto& vcpu : vcpus_) vcpu->request_pause();
  if (!is_first) return;
  loop_.post([this, alive = std::weak_ptr(alive_), bit, resets = resets_.load(), act = std::move(act)] {
    if (alive.expired()) return;
    requested_ &= ~bit;
    if (resets != resets_) return;
    if (running()) halt();  // again: somebody may have resumed in between
    act();
  });
}

// ---- What the guest asks for

void VirtualMachine::reset_requested() {
  stop_and(Request::kReset, [this] { reset_or_exit(); });
}

void VirtualMachine::reset_or_exit() {
  log_.trace(LogCategory::kPower, "the guest asked for a reset");
  if (config_.action.reboot == RebootAction::kShutdown)
    power_off();
  else if (!needs_reset())  // another CPU may just have powered the machine off
    reset();
}

void VirtualMachine::power_off_requested() {
  stop_and(Request::kPowerOff, [this] { power_off(); });
}

void VirtualMachine::power_off() {
  log_.trace(LogCategory::kPower, "power-off");
  set_state(RunState::kShutdown);
  if (config_.action.shutdown == ShutdownAction::kPowerOff) quit(EXIT_SUCCESS);
}

void VirtualMachine::suspend_requested() {
  stop_and(Request::kSuspend, [this] {
    if (!needs_reset()) set_state(RunState::kSuspended);
  });
}

void VirtualMachine::exit_requested(int status) {
  stop_and(Request::kExit, [this, status] {
    set_state(RunState::kShutdown);
    quit(status);
  });
}

void VirtualMachine::guest_panicked() {
  if (config_.action.panic == PanicAction::kNone) return;
  stop_and(Request::kPanic, [this] { panicked(); });
}

void VirtualMachine::panicked() {
  set_state(RunState::kGuestPanicked);
  if (config_.action.shutdown == ShutdownAction::kPause) return;
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
  stop_and(Request::kDebug, [this, cpu, exit] {
    if (needs_reset()) return;
    set_state(RunState::kDebug);
    if (debug_listener_) debug_listener_(cpu, exit);
  });
}

void VirtualMachine::vcpu_stuck(unsigned cpu, const std::string& why, const std::string& registers) {
  stop_and(Request::kStuck, [this, cpu, why, registers] {
    log_.error("CPU {} cannot go on: {}\n{}", cpu, why, registers);
    set_state(RunState::kInternalError);
    if (config_.action.shutdown == ShutdownAction::kPowerOff) quit(EXIT_FAILURE);
  });
}

void VirtualMachine::ioapic_eoi(std::uint8_t vector) {
  machine_->end_of_interrupt(vector);
}

}  // namespace doppel::vm
