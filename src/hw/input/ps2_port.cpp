#include "hw/input/ps2_port.h"

#include <algorithm>

namespace doppel::hw {

std::uint8_t Ps2Port::take() {
  auto& queue = replies_.empty() ? events_ : replies_;
  last_sent_ = queue.front();
  queue.pop_front();
  return last_sent_;
}

void Ps2Port::reply(std::initializer_list<std::uint8_t> bytes) {
  // A host that never reads its replies loses them.
  for (const std::uint8_t byte : bytes)
    if (replies_.size() < kMostReplies) replies_.push_back(byte);
}

bool Ps2Port::push_event(std::span<const std::uint8_t> bytes, std::size_t limit) {
  if (events_.size() + bytes.size() > limit) return false;
  events_.insert(events_.end(), bytes.begin(), bytes.end());
  return true;
}

void Ps2Port::clear_output() {
  replies_.clear();
  events_.clear();
  pending_command_ = 0;
}

Ps2PortState Ps2Port::save_port() const {
  return {.replies = {replies_.begin(), replies_.end()},
          .events = {events_.begin(), events_.end()},
          .last_sent = last_sent_,
          .pending_command = pending_command_};
}

void Ps2Port::load_port(const Ps2PortState& state, std::size_t event_limit) {
  const auto fill = [](std::deque<std::uint8_t>& queue, const std::vector<std::uint8_t>& saved, std::size_t limit) {
    const auto count = static_cast<std::ptrdiff_t>(std::min(saved.size(), limit));
    queue.assign(saved.begin(), saved.begin() + count);
  };
  fill(replies_, state.replies, kMostReplies);
  fill(events_, state.events, event_limit);
  last_sent_ = state.last_sent;
  pending_command_ = state.pending_command;
}

}  // namespace doppel::hw
