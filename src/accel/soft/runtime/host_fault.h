// Exceptions that the host's processor raises for a guest's instruction in generated code, caught as signals.
//
// Generated code says which of its instructions may fault and where it goes on then. A signal from anywhere else goes
// the way that it went before.
#pragma once

#include <cstdint>

namespace doppel::accel::soft {

/// INSTRUCTION may raise an exception of its own (not #PF); then execution goes on at RESUME, with all registers, MXCSR
/// and x87 state as they were left.
struct GuardedInstruction {
  std::uintptr_t instruction = 0;
  std::uintptr_t resume = 0;
};

inline constexpr int kNoTrap = -1;

/// Code of which any instruction may raise an exception (#PF only at address 0, which is how it polls); then execution
/// goes on at RESUME.
struct GeneratedCode {
  std::uintptr_t begin = 0;
  std::uintptr_t end = 0;
  std::uintptr_t resume = 0;
};

/// What the signal handlers find out from. One for each thread; a handler can use nothing else.
struct HostFaultSlot {
  const GuardedInstruction* guarded = nullptr;  // the one that this thread may be about to execute
  const GeneratedCode* generated = nullptr;     // that this thread is in
  std::uintptr_t fault_at = 0;                  // the instruction there that raised an exception
  int trap = kNoTrap;                           // the host's vector, set by the handler (SDM 3A table 6-1)
};
extern constinit thread_local HostFaultSlot host_fault_slot;

/// Installs handlers for SIGFPE, SIGSEGV, SIGBUS and SIGILL in front of those there are. Once per process; again is
/// harmless.
void install_host_fault_handlers();
/// Readies this thread for generated code: those signals are let through, to handlers that run on a stack of their own.
/// Once per thread; again is cheap and harmless.
void accept_host_faults();
/// Keeps all other signals away from this thread. For generated code whose stack pointer is the guest's: a handler that
/// does not ask for a stack of its own would run there. Once per thread; again is cheap and harmless.
void refuse_other_signals();

}  // namespace doppel::accel::soft
