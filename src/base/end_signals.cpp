#include "base/end_signals.h"

#include <pthread.h>

namespace doppel {

void block_end_signals() {
  sigset_t set;
  ::sigemptyset(&set);
  for (const int signal : kEndSignals) ::sigaddset(&set, signal);
  ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
}

}  // namespace doppel
