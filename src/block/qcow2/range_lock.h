// Keeps coroutines that change the same clusters out of each other's way.
#pragma once

#include <coroutine>
#include <cstdint>
#include <list>
#include <utility>

#include "block/task.h"

namespace doppel::block::qcow2 {

/// Ranges [begin, end) of which no two that overlap are held at once. Who finds his range taken waits for its holder,
/// and tries again.
class RangeLock {
  struct Held {
    std::uint64_t begin;
    std::uint64_t end;
    std::list<Completion<bool>*> waiting{};
  };

 public:
  class [[nodiscard]] Guard {
   public:
    Guard(RangeLock& lock, std::list<Held>::iterator held) : lock_(&lock), held_(held) {}
    Guard(Guard&& other) noexcept : lock_(std::exchange(other.lock_, nullptr)), held_(other.held_) {}
    Guard& operator=(Guard&&) = delete;
    ~Guard() {
      if (lock_ == nullptr) return;
      const auto waiting = std::move(held_->waiting);
      lock_->held_.erase(held_);
      for (Completion<bool>* next : waiting) next->complete(true);
    }

   private:
    RangeLock* lock_;
    std::list<Held>::iterator held_;
  };

  Task<Guard> lock(std::uint64_t begin, std::uint64_t end) {
    while (Held* other = overlapping(begin, end)) {
      Completion<bool> released;
      other->waiting.push_back(&released);
      co_await released;
    }
    held_.push_back({begin, end});
    co_return Guard(*this, std::prev(held_.end()));
  }

 private:
  Held* overlapping(std::uint64_t begin, std::uint64_t end) {
    for (Held& held : held_)
      if (held.begin < end && begin < held.end) return &held;
    return nullptr;
  }

  std::list<Held> held_;
};

}  // namespace doppel::block::qcow2
