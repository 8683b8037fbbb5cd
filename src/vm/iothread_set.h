// The iothreads of a machine: `-object iothread`.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "event/loop_thread.h"
#include "vm/config.h"

namespace doppel::vm {

/// Called on the main thread. The loops run between start() and stop(), each in its own thread; otherwise they are the
/// main thread's, which opens and closes in them what lives there.
class IoThreadSet {
 public:
  /// NAME_THREADS: they show as "IO id".
  IoThreadSet(const std::vector<IoThreadConfig>& configs, bool name_threads);

  struct Entry {
    IoThreadConfig config;
    std::unique_ptr<event::LoopThread> thread;
  };
  [[nodiscard]] const std::vector<Entry>& entries() const { return entries_; }
  /// nullptr if there is none called ID.
  [[nodiscard]] event::Loop* find(std::string_view id) const;

  void start();
  void stop();

 private:
  std::vector<Entry> entries_;
};

}  // namespace doppel::vm
