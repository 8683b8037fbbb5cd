#include "accel/soft/runtime/host_fault.h"

#include <signal.h>
#include <ucontext.h>

#include <array>
#include <mutex>

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

}  // namespace

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
