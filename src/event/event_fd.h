// A Linux eventfd: a counter that wakes whoever polls it.
#pragma once

#include <cstdint>

#include "base/error.h"
#include "base/unique_fd.h"

namespace doppel::event {

class EventFd {
 public:
  static Result<EventFd> create();

  /// Any thread, async-signal-safe.
  void signal() const;
  /// Resets the counter and returns what it was; 0 if nobody signalled. Never blocks.
  [[nodiscard]] std::uint64_t drain() const;
  [[nodiscard]] int fd() const { return fd_.get(); }

 private:
  explicit EventFd(UniqueFd fd) : fd_(std::move(fd)) {}
  UniqueFd fd_;
};

}  // namespace doppel::event
