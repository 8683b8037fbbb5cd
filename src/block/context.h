// What all nodes on one event loop share.
#pragma once

#include <memory>

#include "block/io_engine.h"
#include "event/loop.h"
#include "event/worker_pool.h"

namespace doppel::block {

enum class EngineChoice : std::uint8_t { kBest, kThreads };

/// Create and destroy on LOOP's thread, or when LOOP does not run; outlives every node opened in it.
class Context {
 public:
  explicit Context(event::Loop& loop, EngineChoice choice = EngineChoice::kBest) : loop_(loop), workers_(loop) {
    auto uring =
        choice == EngineChoice::kBest ? create_uring_engine(loop) : fail(ErrorKind::kUnsupported, "not asked for");
    engine_ = uring ? std::move(*uring) : create_thread_engine(workers_);
  }

  [[nodiscard]] event::Loop& loop() const { return loop_; }
  [[nodiscard]] event::WorkerPool& workers() { return workers_; }
  [[nodiscard]] IoEngine& engine() { return *engine_; }

 private:
  event::Loop& loop_;
  event::WorkerPool workers_;
  std::unique_ptr<IoEngine> engine_;
};

}  // namespace doppel::block
