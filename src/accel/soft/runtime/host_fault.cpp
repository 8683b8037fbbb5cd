#include "accel/soft/runtime/host_fault.h"

#include <signal.h>
#include <ucontext.h>

#include <array>
#include <cstddef>
#include <mutex>
#include <vector>

namespace doppel::accel::soft {

constinit thread_local HostFaultSlot host_fault_slot;

namespace {

constexpr std::array kSignals = {SIGFPE, SIGSEGV, SIGBUS, SIGILL};
constexpr greg_t kPageFaultTrap = 14;  // memory that is not there is no exception of the instruction's own

/// What handled the signals before, in kSignals' order. Signal handlers have no context to keep it in.
constinit std::array<struct sigaction, kSignals.size()> previous_actions{};

const struct sigaction& previous_action(int signal) {
  std::size_t i = 0;
  while (kSignals.at(i) != signal) ++i;
  return previous_actions.at(i);
}

bool take(const ucontext_t& context, HostFaultSlot& slot) {
  const greg_t trap = context.uc_mcontext.gregs[REG_TRAPNO];
  const auto rip = static_cast<std::uintptr_t>(context.uc_mcontext.gregs[REG_RIP]);
  if (slot.guarded == nullptr || rip != slot.guarded->instruction || trap == kPageFaultTrap) return false;
  slot.trap = static_cast<int>(trap);
  return true;
}

/// The stack pointer is none of the host's there: nothing of it may be used.
bool take_generated(const ucontext_t& context, const siginfo_t& info, HostFaultSlot& slot) {
  const auto rip = static_cast<std::uintptr_t>(context.uc_mcontext.gregs[REG_RIP]);
  if (slot.generated == nullptr || rip < slot.generated->begin || rip >= slot.generated->end) return false;
  if (context.uc_mcontext.gregs[REG_TRAPNO] == kPageFaultTrap && info.si_addr != nullptr) return false;
  slot.fault_at = rip;
  return true;
}

void pass_on(int signal, siginfo_t* info, void* context) {
  const struct sigaction& previous = previous_action(signal);
  if ((previous.sa_flags & SA_SIGINFO) != 0) return previous.sa_sigaction(signal, info, context);
  if (previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN) return previous.sa_handler(signal);
  // The instruction is executed again and faults again, with nobody in the way; a signal sent by somebody is gone.
  struct sigaction fallback{};
  fallback.sa_handler = SIG_DFL;
  ::sigaction(signal, &fallback, nullptr);
  if (info->si_code <= 0) ::raise(signal);
}

void handle(int signal, siginfo_t* info, void* context) {
  auto* const machine = static_cast<ucontext_t*>(context);
  if (info->si_code > 0 && take(*machine, host_fault_slot)) {
    machine->uc_mcontext.gregs[REG_RIP] = static_cast<greg_t>(host_fault_slot.guarded->resume);
    return;
  }
  if (info->si_code > 0 && take_generated(*machine, *info, host_fault_slot)) {
    machine->uc_mcontext.gregs[REG_RIP] = static_cast<greg_t>(host_fault_slot.generated->resume);
    return;
  }
  pass_on(signal, info, context);
}

/// Guarded code may run with alignment checks on; handlers must not, from their first instruction on: what a compiler
/// puts there may be misaligned.
[[gnu::naked]] void enter_handler(int, siginfo_t*, void*) {
  asm("pushfq\n\t"
      "andl $~0x40000, (%%rsp)\n\t"
      "popfq\n\t"
      "jmp %P0" ::"i"(handle));
}

/// A blocked signal that the thread itself causes ends the process.
void unblock_signals() {
  sigset_t set;
  ::sigemptyset(&set);
  for (const int signal : kSignals) ::sigaddset(&set, signal);
  ::pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
}

/// A thread's stack for signal handlers, unless it has one.
class SignalStack {
 public:
  SignalStack() {
    unblock_signals();
    stack_t present{};
    if (::sigaltstack(nullptr, &present) != 0 || (present.ss_flags & SS_DISABLE) == 0) return;
    const stack_t fresh{.ss_sp = memory_.data(), .ss_flags = 0, .ss_size = memory_.size()};
    installed_ = ::sigaltstack(&fresh, nullptr) == 0;
  }
  ~SignalStack() {
    const stack_t none{.ss_sp = nullptr, .ss_flags = SS_DISABLE, .ss_size = 0};
    if (installed_) ::sigaltstack(&none, nullptr);
  }
  SignalStack(const SignalStack&) = delete;
  SignalStack& operator=(const SignalStack&) = delete;

 private:
  static constexpr std::size_t kSize = std::size_t{64} << 10U;  // bytes; AVX-512 state takes 3 KiB of them
  std::vector<std::byte> memory_ = std::vector<std::byte>(kSize);
  bool installed_ = false;
};

}  // namespace

void accept_host_faults() {
  thread_local const SignalStack stack;
}

void refuse_other_signals() {
  thread_local const bool done = [] {
    sigset_t others;
    ::sigfillset(&others);
    for (const int signal : kSignals) ::sigdelset(&others, signal);
    return ::pthread_sigmask(SIG_BLOCK, &others, nullptr) == 0;
  }();
  (void)done;
}

void install_host_fault_handlers() {
  static std::once_flag once;
  std::call_once(once, [] {
    for (std::size_t i = 0; i < kSignals.size(); ++i) {
      struct sigaction action{};
      action.sa_sigaction = enter_handler;
      action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
      ::sigemptyset(&action.sa_mask);
      ::sigaction(kSignals.at(i), &action, &previous_actions.at(i));
    }
  });
}

}  // namespace doppel::accel::soft
