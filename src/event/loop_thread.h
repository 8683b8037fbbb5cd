// A loop with a thread of its own.
#pragma once

#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>

#include "event/loop.h"

namespace doppel::event {

/// What lives on the loop is made and destroyed while the thread does not run it: before start() or after stop(), by
/// the thread that calls these. In between it is the loop's thread's.
///
/// The thread itself begins with the first start() and lasts as long as this object: the kernel may give up what a
/// thread has asked an io_uring for when the thread ends.
class LoopThread {
 public:
  /// NAME is the thread's, for ps and debuggers; empty: it has the program's.
  explicit LoopThread(std::string name) : name_(std::move(name)) {}
  /// Stops it.
  ~LoopThread();
  LoopThread(const LoopThread&) = delete;
  LoopThread& operator=(const LoopThread&) = delete;

  [[nodiscard]] Loop& loop() { return loop_; }
  [[nodiscard]] bool running() const;
  /// Nothing if it runs already.
  void start();
  /// Waits for the callback in progress. What else is ready waits for the next start(), or for whoever runs the loop.
  void stop();

 private:
  void serve();

  const std::string name_;
  Loop loop_;
  mutable std::mutex mutex_;  // guards the two below
  std::condition_variable changed_;
  enum class Phase : std::uint8_t { kWaiting, kRunning, kEnding } phase_ = Phase::kWaiting;
  std::thread thread_;
};

}  // namespace doppel::event
