#include "accel/kvm/kick_signal.h"

#include <pthread.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

namespace doppel::accel::kvm {

int kick_signal() {
  return SIGRTMIN;
}

Result<> install_kick_signal() {
  struct sigaction action = {};
  action.sa_handler = [](int) {};
  action.sa_flags = SA_RESTART;  // for whatever else the thread may be in; KVM_RUN is never restarted
  sigemptyset(&action.sa_mask);
  if (::sigaction(kick_signal(), &action, nullptr) != 0)
    return fail_errno("cannot install the signal that stops vCPUs");
  return {};
}

void unblock_kick_signal() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, kick_signal());
  ::pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
}

void send_kick_signal(pid_t thread) {
  const int saved_errno = errno;
  ::tgkill(::getpid(), thread, kick_signal());
  errno = saved_errno;
}

pid_t current_thread() {
  static thread_local pid_t id = 0;
  if (id == 0) id = ::gettid();
  return id;
}

}  // namespace doppel::accel::kvm
