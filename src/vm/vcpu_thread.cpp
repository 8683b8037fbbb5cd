#include "vm/vcpu_thread.h"

#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <utility>
#include <variant>

#include <fmt/format.h>

#include "base/endian.h"
#include "vm/bus_exits.h"
#include "x86/cpu_format.h"
#include "x86/msr.h"
#include "x86/registers.h"

namespace doppel::vm {

using memory::GuestPhysAddr;

namespace {

/// What a vCPU has whose local APIC is ours: waiting for SIPI is this thread's business then.
constexpr x86::StateParts kWithoutOwnApic = x86::StateParts::kRegisters | x86::StateParts::kSystem |
                                            x86::StateParts::kFpu | x86::StateParts::kMsrs | x86::StateParts::kEvents |
                                            x86::StateParts::kDebug;

/// Takes over what a boot protocol defines of the processor's entry state.
void apply_entry(x86::CpuState& state, const x86::CpuState& entry) {
  state.gpr = entry.gpr;
  state.rip = entry.rip;
  state.rflags = entry.rflags;
  state.segment = entry.segment;
  state.tr = entry.tr;
  state.ldt = entry.ldt;
  state.gdt = entry.gdt;
  state.idt = entry.idt;
  state.cr0 = entry.cr0;
  state.cr3 = entry.cr3;
  state.cr4 = entry.cr4;
  state.efer = entry.efer;
}

}  // namespace

VcpuThread::VcpuThread(std::unique_ptr<accel::Vcpu> vcpu, VcpuObserver& observer, VcpuThreadConfig config)
    : id_(vcpu->id()),
      vcpu_(std::move(vcpu)),
      observer_(observer),
      config_(std::move(config)),
      buses_(config_.buses),
      interrupts_(config_.interrupts),
      own_local_apic_(interrupts_ != nullptr && interrupts_->has_local_apic()),
      log_(config_.log),
      thread_([this] { main(); }) {
  wait_until_paused();
}

VcpuThread::~VcpuThread() {
  {
    const std::scoped_lock lock(mutex_);
    exit_requested_ = true;
    attention_ = true;
  }
  changed_.notify_all();
  vcpu_->kick();
  thread_.join();
}

void VcpuThread::resume() {
  begin(false);
}

void VcpuThread::step() {
  begin(true);
}

void VcpuThread::begin(bool step) {
  {
    const std::scoped_lock lock(mutex_);
    pause_requested_ = false;
    paused_ = false;
    step_requested_ = step;
  }
  changed_.notify_all();
}

void VcpuThread::request_pause() {
  {
    const std::scoped_lock lock(mutex_);
    pause_requested_ = true;
    attention_ = true;
  }
  changed_.notify_all();
  vcpu_->kick();
}

void VcpuThread::wait_until_paused() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return paused_; });
}

void VcpuThread::call(const std::function<void(accel::Vcpu&)>& work) {
  std::unique_lock lock(mutex_);
  calls_.push_back(&work);
  attention_ = true;
  changed_.notify_all();
  vcpu_->kick();
  changed_.wait(lock, [&] { return std::ranges::find(calls_, &work) == calls_.end(); });
}

void VcpuThread::wake() {
  if (std::this_thread::get_id() == runner_) return;  // it looks at its interrupts before it enters the guest again
  bool asleep = false;
  {
    const std::scoped_lock lock(mutex_);
    woken_ = true;
    asleep = asleep_;
  }
  if (asleep)
    changed_.notify_all();
  else
    vcpu_->kick();
}

Result<> VcpuThread::get_state(x86::CpuState& state, x86::StateParts parts) {
  Result<> result;
  call([&](accel::Vcpu& cpu) {
    const bool with_activity = own_local_apic_ && contains(parts, x86::StateParts::kMpState);
    if (with_activity) take_signals();
    result = cpu.get_state(state, kept_by_vcpu(parts));
    if (with_activity) state.mp_state = activity();
  });
  return result;
}

Result<> VcpuThread::set_state(const x86::CpuState& state, x86::StateParts parts) {
  Result<> result;
  call([&](accel::Vcpu& cpu) {
    result = cpu.set_state(state, kept_by_vcpu(parts));
    if (result && own_local_apic_ && contains(parts, x86::StateParts::kMpState)) set_activity(state.mp_state);
  });
  return result;
}

x86::StateParts VcpuThread::kept_by_vcpu(x86::StateParts parts) const {
  if (!own_local_apic_) return parts;
  return static_cast<x86::StateParts>(static_cast<std::uint32_t>(parts) &
                                      ~static_cast<std::uint32_t>(x86::StateParts::kMpState));
}

x86::MpState VcpuThread::activity() const {
  if (waiting_for_sipi_) return x86::MpState::kInitReceived;
  return halted_ ? x86::MpState::kHalted : x86::MpState::kRunnable;
}

void VcpuThread::set_activity(x86::MpState activity) {
  halted_ = activity == x86::MpState::kHalted;
  waiting_for_sipi_ = activity == x86::MpState::kUninitialized || activity == x86::MpState::kInitReceived;
}

Result<> VcpuThread::reset(const x86::CpuState* entry) {
  Result<> result;
  call([&](accel::Vcpu& cpu) {
    x86::CpuState state = x86::reset_state(config_.reset);
    if (entry != nullptr) apply_entry(state, *entry);
    if (own_local_apic_) {
      state.apic_base = interrupts_->apic_base();
      set_activity(std::exchange(state.mp_state, x86::MpState::kRunnable));
    }
    result = cpu.set_state(state, own_local_apic_ ? kWithoutOwnApic : x86::StateParts::kAll);
  });
  return result;
}

void VcpuThread::main() {
  host_thread_id_ = ::gettid();
  runner_ = std::this_thread::get_id();
  if (config_.name_threads) ::pthread_setname_np(::pthread_self(), fmt::format("CPU {}/vcpu", id_).c_str());
  while (true) {
    if (attention_.load(std::memory_order_acquire) && !serve_requests()) return;
    if (stepping_) {
      if (halted_ || waiting_for_sipi_) {
        finish_step();
        continue;
      }
    } else if (interrupts_ != nullptr && !prepare_entry()) {
      wait_for_event();
      continue;
    }
    Result<accel::VcpuExit> exit = vcpu_->run();
    if (!exit) {
      stuck(exit.error().describe());
      continue;
    }
    carry_out(*exit);
    if (stepping_ && !std::holds_alternative<accel::DebugExit>(*exit)) finish_step();
  }
}

void VcpuThread::begin_step() {
  x86::CpuState state;
  if (const auto got = vcpu_->get_state(state, x86::StateParts::kRegisters); !got) return stuck(got.error().describe());
  vcpu_->request_interrupt_window(false);
  step_from_ = state.rip;
  stepping_ = true;
}

/// After an exit other than a DebugExit: an accelerator that leaves for an access may not report the step as well.
void VcpuThread::finish_step() {
  const auto completed = vcpu_->complete_exit();
  if (!completed && completed.error().kind() == ErrorKind::kBusy) return;  // run() goes on with the instruction
  x86::CpuState state;
  const auto got = vcpu_->get_state(state, x86::StateParts::kRegisters | x86::StateParts::kSystem);
  if (!completed || !got) return stuck((completed ? got : completed).error().describe());
  if (state.rip == step_from_ && !halted_ && !waiting_for_sipi_) return;
  stepping_ = false;
  observer_.guest_debug(id_, {.vector = x86::kDebug,
                              .pc = state.segment[x86::kCs].base + state.rip,
                              .dr6 = x86::dr6::kBs,
                              .dr7 = x86::dr7::kReset});
}

/// Finishes the access that the vCPU came out for; its instruction may need several.
Result<> VcpuThread::complete_access() {
  auto completed = vcpu_->complete_exit();
  while (!completed && completed.error().kind() == ErrorKind::kBusy) {
    DOPPEL_ASSIGN(accel::VcpuExit exit, vcpu_->run());
    carry_out(exit);
    completed = vcpu_->complete_exit();
  }
  return completed;
}

/// Carries out calls and pauses; false ends the thread. A finished device read is completed first, so that whoever
/// looks at the state sees whole instructions.
bool VcpuThread::serve_requests() {
  if (const auto completed = complete_access(); !completed) stuck(completed.error().describe());
  std::unique_lock lock(mutex_);
  while (true) {
    while (!calls_.empty()) {
      const auto* work = calls_.front();
      lock.unlock();
      (*work)(*vcpu_);
      lock.lock();
      calls_.pop_front();
      changed_.notify_all();
    }
    if (exit_requested_) return false;
    if (!pause_requested_) break;
    stepping_ = false;
    if (!std::exchange(paused_, true)) changed_.notify_all();
    // Not paused any more, but a pause requested: resumed and stopped again before this thread had its turn.
    changed_.wait(lock, [this] { return !calls_.empty() || exit_requested_ || !pause_requested_ || !paused_; });
  }
  attention_ = false;
  const bool step = std::exchange(step_requested_, false);
  lock.unlock();
  if (step) begin_step();
  return true;
}

void VcpuThread::wait_for_event() {
  std::unique_lock lock(mutex_);
  asleep_ = true;
  changed_.wait(lock, [this] { return woken_ || attention_; });
  asleep_ = false;
  woken_ = false;
}

bool VcpuThread::prepare_entry() {
  if (interrupts_->has_work()) take_signals();
  if (waiting_for_sipi_) return false;
  const bool wanted = interrupts_->has_interrupt();
  if (halted_ && !wanted) return false;
  if (!wanted) {
    vcpu_->request_interrupt_window(false);
  } else if (!vcpu_->ready_for_interrupt()) {
    vcpu_->request_interrupt_window(true);
  } else if (const auto vector = interrupts_->acknowledge()) {
    halted_ = false;
    inject(accel::Injection::Kind::kInterrupt, *vector);
    vcpu_->request_interrupt_window(interrupts_->has_interrupt());
  }
  if (halted_) return false;
  if (own_local_apic_) vcpu_->set_tpr(interrupts_->tpr());
  return true;
}

void VcpuThread::take_signals() {
  while (const auto event = interrupts_->take_signal()) take_signal(*event);
}

void VcpuThread::take_signal(CpuSignalEvent event) {
  switch (event.signal) {
    case CpuSignal::kNmi:
      halted_ = false;  // an NMI that comes before the SIPI waits inside the vCPU; an INIT voids it with all else there
      inject(accel::Injection::Kind::kNmi, 2);
      break;
    case CpuSignal::kSmi:
      log_.trace(LogCategory::kUnimplemented, "SMI ignored: there is no system management mode");
      break;
    case CpuSignal::kInit: enter_init(); break;
    case CpuSignal::kStartup:
      if (std::exchange(waiting_for_sipi_, false)) start_up(event.vector);
      break;
  }
}

void VcpuThread::inject(accel::Injection::Kind kind, std::uint8_t vector) {
  const auto injected = vcpu_->inject({.kind = kind, .vector = vector, .error_code = {}});
  if (!injected) stuck(injected.error().describe());
}

/// INIT (SDM 3A 9.4.4): the bootstrap processor begins at the reset vector, others wait for a start-up message.
void VcpuThread::enter_init() {
  constexpr std::uint64_t kBootstrap = 1U << 8U;  // of IA32_APIC_BASE
  // An access of the instruction that INIT cut off would be finished on top of the new state.
  if (const auto completed = complete_access(); !completed) return stuck(completed.error().describe());
  x86::CpuState before;
  if (const auto got = vcpu_->get_state(before, kWithoutOwnApic); !got) return stuck(got.error().describe());
  const x86::CpuState state = x86::init_state(before, config_.reset);
  if (const auto set = vcpu_->set_state(state, kWithoutOwnApic); !set) return stuck(set.error().describe());
  halted_ = false;
  waiting_for_sipi_ = (interrupts_->apic_base() & kBootstrap) == 0;
}

/// SIPI (SDM 3A 9.4.4): begins in real mode at page PAGE.
void VcpuThread::start_up(std::uint8_t page) {
  x86::CpuState state;
  if (const auto got = vcpu_->get_state(state, x86::StateParts::kRegisters | x86::StateParts::kSystem); !got)
    return stuck(got.error().describe());
  state.segment[x86::kCs].selector = static_cast<std::uint16_t>(page << 8U);
  state.segment[x86::kCs].base = std::uint64_t{page} << 12U;
  state.rip = 0;
  if (const auto set = vcpu_->set_state(state, x86::StateParts::kRegisters | x86::StateParts::kSystem); !set)
    stuck(set.error().describe());
}

/// One overload per exit reason; the variant's closed list makes a forgotten one a compile error.
struct VcpuThread::ExitHandler {
  VcpuThread& self;

  void operator()(accel::IoExit& exit) const { vm::carry_out(self.buses_.ports, exit); }
  void operator()(accel::MmioExit& exit) const {
    if (self.interrupts_ != nullptr)
      if (auto* apic = self.interrupts_->page_at(exit.address)) return access_apic(*apic, exit);
    vm::carry_out(self.buses_.memory, exit);
  }
  static void access_apic(memory::IoHandler& apic, accel::MmioExit& exit) {
    const std::uint64_t offset = exit.address.value % memory::kPageSize;
    const auto size = static_cast<unsigned>(exit.data.size());
    if (exit.direction == accel::IoDirection::kOut)
      apic.write(offset, size, load_le_sized(exit.data.data(), size));
    else
      store_le_sized(exit.data.data(), size, apic.read(offset, size));
  }
  void operator()(accel::HaltExit&) const { self.halted_ = self.own_local_apic_; }
  void operator()(accel::IrqWindowExit&) const {}
  void operator()(accel::InterruptedExit&) const {}
  void operator()(accel::SetTprExit&) const {}
  void operator()(accel::ShutdownExit&) const { self.observer_.guest_triple_fault(self.id_); }
  void operator()(accel::DebugExit& exit) const { self.observer_.guest_debug(self.id_, exit); }
  void operator()(accel::SystemEventExit& exit) const { self.observer_.guest_system_event(self.id_, exit); }
  void operator()(accel::IoapicEoiExit& exit) const { self.observer_.ioapic_eoi(exit.vector); }
  void operator()(accel::MsrExit& exit) const {
    const bool reading = exit.direction == accel::IoDirection::kIn;
    // Our local APIC counts by the host's TSC; 0 is no deadline in either.
    const bool shifts = exit.index == x86::msr::kTscDeadline;
    if (!reading && shifts && *exit.value != 0) *exit.value -= self.vcpu_->tsc_offset();
    const bool handled =
        self.interrupts_ != nullptr && (reading ? self.interrupts_->read_msr(exit.index, *exit.value)
                                                : self.interrupts_->write_msr(exit.index, *exit.value));
    if (reading && shifts && *exit.value != 0) *exit.value += self.vcpu_->tsc_offset();
    if (handled) return;
    *exit.fault = 1;
    self.log_.guest_error("{} of unknown MSR {:#x}", exit.direction == accel::IoDirection::kIn ? "RDMSR" : "WRMSR",
                          exit.index);
  }
  void operator()(accel::InternalErrorExit& exit) const {
    self.stuck(exit.instruction_length == 0
                   ? exit.why
                   : fmt::format("{} (instruction bytes {:02x})", exit.why,
                                 fmt::join(std::span(exit.instruction).first(exit.instruction_length), " ")));
  }
  void operator()(accel::FailEntryExit& exit) const {
    self.stuck(fmt::format("the processor refused to enter the guest, hardware reason {:#x}", exit.hardware_reason));
  }
  void operator()(accel::UnknownExit& exit) const {
    self.stuck(fmt::format("the accelerator stopped for an unknown reason, code {}", exit.code));
  }
};

void VcpuThread::carry_out(accel::VcpuExit& exit) {
  if (own_local_apic_) interrupts_->set_tpr(vcpu_->tpr());
  std::visit(ExitHandler{*this}, exit);
  if (own_local_apic_) vcpu_->set_tpr(interrupts_->tpr());  // the access may have been to the TPR
}

void VcpuThread::stuck(const std::string& why) {
  x86::CpuState state;
  const auto got = vcpu_->get_state(state, x86::StateParts::kRegisters | x86::StateParts::kSystem);
  observer_.vcpu_stuck(id_, why, got ? x86::format_registers(state) : got.error().describe());
  request_pause();
}

}  // namespace doppel::vm
