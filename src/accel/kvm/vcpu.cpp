#include "accel/kvm/vcpu.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "accel/kvm/exit_decoder.h"
#include "accel/kvm/ioctl.h"
#include "accel/kvm/kick_signal.h"
#include "accel/kvm/state_conversion.h"

namespace doppel::accel::kvm {

namespace {

/// Instructions one run() may hand to the fallback before the run loop has its say again.
constexpr unsigned kFallbackBudget = 4096;

}  // namespace

Result<std::unique_ptr<KvmVcpu>> KvmVcpu::create(VmShared& vm, unsigned id, UniqueFd fd) {
  DOPPEL_ASSIGN(MappedPages pages, MappedPages::map(fd.get(), vm.info.run_size, 0));
  return std::unique_ptr<KvmVcpu>(new KvmVcpu(vm, id, std::move(fd), std::move(pages)));
}

KvmVcpu::KvmVcpu(VmShared& vm, unsigned id, UniqueFd fd, MappedPages pages)
    : vm_(vm),
      id_(id),
      fd_(std::move(fd)),
      pages_(std::move(pages)),
      run_(pages_.as<kvm_run>()),
      sync_(vm.info.sync_registers) {}

KvmVcpu::~KvmVcpu() {
  if (fallbacks_ != 0)
    vm_.info.log.trace(LogCategory::kAccel, "vCPU {}: {} instructions carried out by the interpreter", id_, fallbacks_);
}

// Kicks. kick() first notes itself in kicked_, then sets immediate_exit, so that an entry yet to come returns at once,
// then signals the thread that may be inside already. A thread makes itself known in runner_ before it enters; with all
// of these sequentially consistent, either kick() sees the thread or the kernel sees immediate_exit.

void KvmVcpu::kick() {
  kicked_.store(true);
  std::atomic_ref(run_->immediate_exit).store(1);
  const pid_t runner = runner_.load();
  if (runner != 0 && runner != current_thread()) send_kick_signal(runner);
}

InterruptedExit KvmVcpu::take_kick() {
  std::atomic_ref(run_->immediate_exit).store(0);
  kicked_.exchange(false);  // reads what a kick() stored: whatever its caller wrote before is visible from here on
  return {};
}

void KvmVcpu::adopt_thread() {
  unblock_kick_signal();
  runner_.store(current_thread());
}

/// One KVM_RUN; 0 or an errno value.
int KvmVcpu::enter() {
  run_->kvm_valid_regs = sync_.for_next_run();
  const int error = ::ioctl(fd_.get(), KVM_RUN, 0) == 0 ? 0 : errno;
  fresh_ = run_->kvm_valid_regs;
  ran_ = error == 0;
  return error;
}

bool KvmVcpu::halted_here() const {
  return user_mp_state_ == x86::MpState::kHalted && !lapic_in_kernel();
}

Result<VcpuExit> KvmVcpu::run() {
  if (runner_.load(std::memory_order_relaxed) != current_thread()) [[unlikely]]
    adopt_thread();
  if (user_mp_state_ != x86::MpState::kRunnable && halted_here()) [[unlikely]] {
    if (kicked_.load()) return take_kick();
    return HaltExit{};
  }
  for (unsigned budget = kFallbackBudget; budget != 0; --budget) {
    if (!std::exchange(exit_waiting_, false)) [[likely]] {
      int error;
      do {
        error = enter();
      } while (error == EAGAIN);  // an application processor that was just started
      if (error != 0) {
        incomplete_ = false;
        return host_error(error);
      }
    }
    incomplete_ = needs_completion(run_->exit_reason);
    if (run_->exit_reason != KVM_EXIT_INTERNAL_ERROR) [[likely]]
      return decode_exit(*run_);
    DOPPEL_ASSIGN(const bool done, try_fallback());
    if (!done) return decode_exit(*run_);
  }
  return InterruptedExit{};
}

Result<VcpuExit> KvmVcpu::host_error(int error) {
  if (error == EINTR) return take_kick();
  run_->kvm_dirty_regs = 0;
  forget();
  if (error == EFAULT) {
    abi::MemoryFault fault{};
    if (run_->exit_reason == abi::kExitMemoryFault) std::memcpy(&fault, &run_->padding, sizeof fault);
    return fail(ErrorKind::kInternal, "vCPU {}: guest memory{} is not accessible on the host", id_,
                fault.size != 0 ? fmt::format(" at {:#x}", fault.address) : "");
  }
  return std::unexpected(Error::from_errno(error, fmt::format("vCPU {}: KVM_RUN", id_)));
}

Result<> KvmVcpu::complete_exit() {
  if (!incomplete_) return {};
  if (!exit_waiting_) {
    std::atomic_ref immediate_exit(run_->immediate_exit);
    immediate_exit.store(1);
    const int error = enter();
    immediate_exit.store(0);
    if (kicked_.load()) immediate_exit.store(1);  // one that came meanwhile
    if (error != 0 && error != EINTR) return std::unexpected(host_error(error).error());
    exit_waiting_ = error == 0;
    ran_ = true;
  }
  if (exit_waiting_)
    return fail(ErrorKind::kBusy, "vCPU {}: the instruction needs another access, which run() will hand out", id_);
  incomplete_ = false;
  return {};
}

/// Lets the fallback carry out the instruction that the kernel could not. False: nobody can.
Result<bool> KvmVcpu::try_fallback() {
  InstructionFallback* fallback = vm_.fallback.load(std::memory_order_acquire);
  if (fallback == nullptr || run_->internal.suberror != KVM_INTERNAL_ERROR_EMULATION) return false;
  const InternalErrorExit error = decode_internal_error(*run_);
  if (error.instruction_length == 0) return false;

  using enum x86::StateParts;
  DOPPEL_TRY(get_state(fallback_state_, kRegisters | kSystem | kEvents));
  // A kernel without emulation-failure exits queues #UD beside the exit.
  if (!vm_.info.emulation_failure_exits) fallback_state_.events.exception = {};
  const x86::PendingEvents events_before = fallback_state_.events;
  const auto bytes = std::span(error.instruction).first(error.instruction_length);
  if (const auto done = fallback->execute(*this, bytes, fallback_state_); !done) {
    if (done.error().kind() != ErrorKind::kUnsupported) return std::unexpected(done.error());
    return false;
  }
  DOPPEL_TRY(write_back(fallback_state_, events_before));
  ++fallbacks_;
  return true;
}

/// Through the shared page, so that it costs no ioctl.
Result<> KvmVcpu::write_back(const x86::CpuState& state, const x86::PendingEvents& events_before) {
  auto& shared = run_->s.regs;
  const std::uint64_t supported = vm_.info.sync_registers;
  if (supported != KVM_SYNC_X86_VALID_FIELDS) {
    using enum x86::StateParts;
    return set_state(state, kRegisters | kSystem | kEvents);
  }
  to_kvm(state, shared.regs);
  run_->kvm_dirty_regs |= KVM_SYNC_X86_REGS;
  kvm_sregs sregs;
  to_kvm(state, sregs);
  kvm_sregs before = shared.sregs;
  std::memset(before.interrupt_bitmap, 0, sizeof before.interrupt_bitmap);
  if ((fresh_ & KVM_SYNC_X86_SREGS) == 0 || std::memcmp(&sregs, &before, sizeof sregs) != 0) {
    shared.sregs = sregs;
    run_->kvm_dirty_regs |= KVM_SYNC_X86_SREGS;
    run_->cr8 = state.cr8;
  }
  if (state.events != events_before || !vm_.info.emulation_failure_exits) {
    to_kvm(state.events, event_flags(), shared.events);
    run_->kvm_dirty_regs |= KVM_SYNC_X86_EVENTS;
  }
  fresh_ |= run_->kvm_dirty_regs;
  return update_readiness();
}

bool KvmVcpu::ready_for_interrupt() const {
  return run_->ready_for_interrupt_injection != 0;
}

Result<> KvmVcpu::inject(const Injection& injection) {
  DOPPEL_TRY(flush_dirty());
  user_mp_state_ = x86::MpState::kRunnable;
  switch (injection.kind) {
    case Injection::Kind::kInterrupt: {
      // Injecting regardless makes the entry fail with VMX, and breaks the guest elsewhere.
      if (!ready_for_interrupt())
        return fail(ErrorKind::kInternal, "vCPU {}: interrupt {:#x} injected into a guest that is not ready for it",
                    id_, injection.vector);
      const kvm_interrupt interrupt{.irq = injection.vector};
      DOPPEL_TRY(command(fd_.get(), KVM_INTERRUPT, &interrupt, "KVM_INTERRUPT"));
      run_->ready_for_interrupt_injection = 0;
      break;
    }
    case Injection::Kind::kNmi: DOPPEL_TRY(command(fd_.get(), KVM_NMI, 0, "KVM_NMI")); break;
    case Injection::Kind::kException: DOPPEL_TRY(inject_exception(injection)); break;
  }
  forget();
  return {};
}

Result<> KvmVcpu::inject_exception(const Injection& injection) {
  DOPPEL_TRY(fetch(KVM_SYNC_X86_EVENTS));
  x86::PendingEvents events;
  from_kvm(run_->s.regs.events, events);
  if (events.exception.injected)
    return fail(ErrorKind::kBusy, "vCPU {}: exception {} is being delivered already", id_, events.exception.vector);
  events.exception = {.injected = true,
                      .pending = false,
                      .vector = injection.vector,
                      .has_error_code = injection.error_code.has_value(),
                      .error_code = injection.error_code.value_or(0),
                      .has_payload = false,
                      .payload = 0};
  return set_events(events);
}

Result<> KvmVcpu::set_debug(const DebugRequest& request) {
  DOPPEL_TRY(flush_dirty());
  kvm_guest_debug debug{};
  const bool has_hardware = (request.dr7 & 0xff) != 0;
  if (request.single_step)
    debug.control |= KVM_GUESTDBG_SINGLESTEP | static_cast<std::uint32_t>(vm_.info.debug_flags & KVM_GUESTDBG_BLOCKIRQ);
  if (request.software_breakpoints) debug.control |= KVM_GUESTDBG_USE_SW_BP;
  if (has_hardware) {
    debug.control |= KVM_GUESTDBG_USE_HW_BP;
    for (std::size_t i = 0; i < request.address.size(); ++i) debug.arch.debugreg[i] = request.address[i];
    debug.arch.debugreg[7] = request.dr7;
  }
  if (debug.control != 0) debug.control |= KVM_GUESTDBG_ENABLE;
  DOPPEL_TRY(command(fd_.get(), KVM_SET_GUEST_DEBUG, &debug, "KVM_SET_GUEST_DEBUG"));
  forget();  // the trap flag shows in the registers
  return {};
}

Result<memory::GuestPhysAddr> KvmVcpu::translate(std::uint64_t linear) {
  DOPPEL_TRY(flush_dirty());
  kvm_translation translation{};
  translation.linear_address = linear;
  DOPPEL_TRY(command(fd_.get(), KVM_TRANSLATE, &translation, "KVM_TRANSLATE"));
  if (translation.valid == 0) return fail(ErrorKind::kNotFound, "linear address {:#x} is not mapped", linear);
  return memory::GuestPhysAddr{translation.physical_address};
}

}  // namespace doppel::accel::kvm
