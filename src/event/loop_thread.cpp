#include "event/loop_thread.h"

#include <pthread.h>

#include <csignal>

namespace doppel::event {

LoopThread::~LoopThread() {
  stop();
  {
    const std::scoped_lock lock(mutex_);
    phase_ = Phase::kEnding;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

bool LoopThread::running() const {
  const std::scoped_lock lock(mutex_);
  return phase_ == Phase::kRunning;
}

void LoopThread::start() {
  {
    const std::scoped_lock lock(mutex_);
    phase_ = Phase::kRunning;
  }
  changed_.notify_all();
  if (thread_.joinable()) return;
  // Signals are the main thread's.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  thread_ = std::thread([this] { serve(); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  constexpr std::size_t kLongestName = 15;
  if (!name_.empty()) pthread_setname_np(thread_.native_handle(), name_.substr(0, kLongestName).c_str());
}

void LoopThread::serve() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return phase_ != Phase::kWaiting; });
    if (phase_ == Phase::kEnding) return;
    lock.unlock();
    loop_.run();
    lock.lock();
    phase_ = Phase::kWaiting;
    changed_.notify_all();
  }
}

void LoopThread::stop() {
  std::unique_lock lock(mutex_);
  if (phase_ != Phase::kRunning) return;
  loop_.quit();
  changed_.wait(lock, [this] { return phase_ == Phase::kWaiting; });
}

}  // namespace doppel::event
