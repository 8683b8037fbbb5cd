// The signal that brings a thread out of KVM_RUN.
#pragma once

#include <sys/types.h>

#include "base/error.h"

namespace doppel::accel::kvm {

/// Makes the signal harmless for the whole process: its handler does nothing, but KVM_RUN returns with EINTR.
Result<> install_kick_signal();

/// Lets the signal through to the calling thread.
void unblock_kick_signal();

/// Interrupts THREAD of this process; nothing happens if it is gone. Async-signal-safe, keeps errno.
void send_kick_signal(pid_t thread);

/// The signal's number, for timers that are to interrupt a guest.
int kick_signal();

/// The calling thread's id, cached per thread. Async-signal-safe.
pid_t current_thread();

}  // namespace doppel::accel::kvm
