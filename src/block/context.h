// What all nodes on one event loop share.
#pragma once

#include <memory>
#include <thread>

#include "block/io_engine.h"
#include "event/loop.h"
#include "event/worker_pool.h"

namespace doppel::block {

enum class EngineChoice : std::uint8_t { kBest, kThreads, kUring };

/// Create and destroy on LOOP's thread, or when LOOP does not run; outlives every node opened in it.
class Context {
 public:
  static constexpr unsigned kWorkers = 4;

  explicit Context(event::Loop& loop, EngineChoice choice = EngineChoice::kBest, unsigned workers = kWorkers)
      : loop_(loop), workers_(loop, workers) {
    auto uring =
        choice == EngineChoice::kBest ? create_uring_engine(loop) : fail(ErrorKind::kUnsupported, "not asked for");
    if (uring) uring_ = std::move(*uring);
    threads_ = create_thread_engine(workers_);
  }

  [[nodiscard]] event::Loop& loop() const { return loop_; }
  /// For calls that wait.
  [[nodiscard]] event::WorkerPool& workers() { return workers_; }
  /// For work that keeps a processor busy, such as packing: more threads than processors would only take turns.
  [[nodiscard]] event::WorkerPool& compute_workers() { return compute_workers_; }
  [[nodiscard]] bool has_uring() const { return uring_ != nullptr; }
  /// For a file that is being filled: one thread writes, request after request. Writers of one file would wait for each
  /// other within the kernel, where they spin.
  [[nodiscard]] IoEngine& filling_engine() { return *filling_; }
  /// Without io_uring, threads are all there is.
  [[nodiscard]] IoEngine& engine(EngineChoice choice = EngineChoice::kBest) {
    return uring_ && choice != EngineChoice::kThreads ? *uring_ : *threads_;
  }

 private:
  event::Loop& loop_;
  event::WorkerPool workers_;
  event::WorkerPool compute_workers_{loop_, std::thread::hardware_concurrency()};
  event::WorkerPool writer_{loop_, 1};
  std::unique_ptr<IoEngine> uring_;  // null where it is not offered
  std::unique_ptr<IoEngine> threads_;
  std::unique_ptr<IoEngine> filling_ = create_thread_engine(writer_);
};

}  // namespace doppel::block
