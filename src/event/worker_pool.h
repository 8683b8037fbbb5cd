// A few threads for host calls that block (fsync, decompression), whose results come back on a loop.
#pragma once

#include <functional>
#include <memory>

namespace doppel::event {

class Loop;

class WorkerPool {
 public:
  /// Starts no thread until there is work; at most MAX_THREADS at once.
  explicit WorkerPool(Loop& loop, unsigned max_threads = 4);
  /// Waits for work in progress; work not begun is dropped, its DONE never called.
  ~WorkerPool();
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  /// WORK runs on a pool thread, then DONE on the loop's. Any thread.
  void submit(std::function<void()> work, std::function<void()> done);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace doppel::event
