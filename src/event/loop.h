// The event loop of the main thread (and of each iothread): descriptors, timers, posted work. Built on asio, which no
// header here shows.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "base/error.h"
#include "event/clock.h"

namespace doppel::event {

enum class FdReady : std::uint8_t { kReadable, kWritable };

/// Watches one descriptor, level-triggered, until destroyed. Create and destroy on the loop's thread.
class FdWatch {
 public:
  virtual ~FdWatch() = default;
};

/// Watches host signals, until destroyed.
class SignalWatch {
 public:
  virtual ~SignalWatch() = default;
};

/// A Clock that can be held: the guest's time stops while the machine is paused.
class PausableClock : public Clock {
 public:
  /// Any thread. Timers keep their deadlines and fire late by as long as the pause.
  virtual void pause() = 0;
  virtual void resume() = 0;
  /// Moves the clock to NOW_NS; for loading a saved machine, while paused.
  virtual void set_now_ns(std::int64_t now_ns) = 0;
};

class Loop {
 public:
  Loop();
  ~Loop();
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  /// Runs until quit(); the calling thread becomes the loop's thread.
  void run();
  /// Runs what is ready now, without waiting; for tests and orderly shutdown.
  void run_ready();
  /// Any thread, also before run(). run() returns after the callback in progress.
  void quit();
  /// Runs WORK on the loop's thread, in order of posting. Any thread.
  void post(std::function<void()> work);
  [[nodiscard]] bool is_loop_thread() const;

  /// READY is called each time FD is ready. FD stays the caller's and must stay open while watched.
  [[nodiscard]] std::unique_ptr<FdWatch> watch_fd(int fd, FdReady kind, std::function<void()> ready);
  [[nodiscard]] std::unique_ptr<SignalWatch> watch_signal(int signal, std::function<void()> received);

  /// CLOCK_MONOTONIC, whatever the machine does.
  [[nodiscard]] Clock& realtime_clock();
  /// Guest time: starts at 0, paused.
  [[nodiscard]] PausableClock& virtual_clock();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace doppel::event
