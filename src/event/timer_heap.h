// The armed timers of one clock, earliest first. No locking of its own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

namespace doppel::event {

/// What a timer is to its clock. Shared, so that a callback may destroy its own timer.
struct TimerEntry {
  static constexpr std::size_t kIdle = static_cast<std::size_t>(-1);

  std::function<void()> callback;
  std::int64_t deadline_ns = 0;
  std::uint64_t order = 0;    // of arming; decides among equal deadlines
  std::size_t index = kIdle;  // in the heap
};

/// A binary heap whose entries know their place, so that cancelling costs no search and arming no allocation.
class TimerHeap {
 public:
  using EntryPtr = std::shared_ptr<TimerEntry>;

  [[nodiscard]] bool empty() const { return entries_.empty(); }
  [[nodiscard]] std::size_t size() const { return entries_.size(); }
  [[nodiscard]] std::int64_t earliest_ns() const { return entries_.front()->deadline_ns; }

  /// Puts ENTRY in at DEADLINE_NS, wherever it was before.
  void arm(const EntryPtr& entry, std::int64_t deadline_ns);
  void cancel(TimerEntry& entry);
  EntryPtr pop();

 private:
  void place(std::size_t index, EntryPtr entry);
  void move_up(std::size_t index);
  void move_down(std::size_t index);

  std::vector<EntryPtr> entries_;
  std::uint64_t next_order_ = 0;
};

}  // namespace doppel::event
