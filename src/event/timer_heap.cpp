#include "event/timer_heap.h"

#include <utility>

namespace doppel::event {

namespace {

bool before(const TimerEntry& a, const TimerEntry& b) {
  return a.deadline_ns != b.deadline_ns ? a.deadline_ns < b.deadline_ns : a.order < b.order;
}

}  // namespace

void TimerHeap::arm(const EntryPtr& entry, std::int64_t deadline_ns) {
  entry->deadline_ns = deadline_ns;
  entry->order = next_order_++;
  if (entry->index == TimerEntry::kIdle) {
    entry->index = entries_.size();
    entries_.push_back(entry);
  }
  move_up(entry->index);
  move_down(entry->index);
}

void TimerHeap::cancel(TimerEntry& entry) {
  if (entry.index == TimerEntry::kIdle) return;
  const std::size_t hole = std::exchange(entry.index, TimerEntry::kIdle);
  EntryPtr last = std::move(entries_.back());
  entries_.pop_back();
  if (hole == entries_.size()) return;
  place(hole, std::move(last));
  move_up(hole);
  move_down(hole);
}

TimerHeap::EntryPtr TimerHeap::pop() {
  EntryPtr first = entries_.front();
  cancel(*first);
  return first;
}

void TimerHeap::place(std::size_t index, EntryPtr entry) {
  entry->index = index;
  entries_[index] = std::move(entry);
}

void TimerHeap::move_up(std::size_t index) {
  EntryPtr entry = std::move(entries_[index]);
  for (; index > 0 && before(*entry, *entries_[(index - 1) / 2]); index = (index - 1) / 2)
    place(index, std::move(entries_[(index - 1) / 2]));
  place(index, std::move(entry));
}

void TimerHeap::move_down(std::size_t index) {
  EntryPtr entry = std::move(entries_[index]);
  for (;;) {
    std::size_t child = 2 * index + 1;
    if (child >= entries_.size()) break;
    if (child + 1 < entries_.size() && before(*entries_[child + 1], *entries_[child])) ++child;
    if (!before(*entries_[child], *entry)) break;
    place(index, std::move(entries_[child]));
    index = child;
  }
  place(index, std::move(entry));
}

}  // namespace doppel::event
