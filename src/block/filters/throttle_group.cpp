#include "block/filters/throttle_group.h"

#include <algorithm>

namespace doppel::block {

namespace {

constexpr std::size_t index(Direction direction) {
  return static_cast<std::size_t>(direction);
}

}  // namespace

ThrottleGroup::ThrottleGroup(event::Loop& loop, event::Clock& clock, std::string name, ThrottleLimits limits)
    : loop_(loop), clock_(clock), name_(std::move(name)), state_(limits, clock.now_ns()) {
  for (const Direction direction : {Direction::kRead, Direction::kWrite})
    timers_[index(direction)] = clock_.create_timer([this, direction] {
      // Posted: who goes on may be the last to hold this group, and its timer must not go while it calls.
      loop_.post([weak = weak_from_this(), direction] {
        if (const auto group = weak.lock()) group->dispatch(direction);
      });
    });
}

ThrottleGroup::Member::Member(std::shared_ptr<ThrottleGroup> group) : group_(std::move(group)) {
  group_->members_.push_back(this);
}

ThrottleGroup::Member::~Member() {
  std::erase(group_->members_, this);
}

Task<bool> ThrottleGroup::Member::pass(Direction direction, std::uint64_t bytes) {
  if (open_) co_return true;
  ThrottleGroup& group = *group_;
  const std::int64_t now = group.clock_.now_ns();
  if (!group.anybody_waits(direction)) {
    const std::int64_t wait = group.state_.wait_ns(direction, now);
    if (wait == 0) {
      group.state_.account(direction, bytes);
      co_return true;
    }
    group.timers_[index(direction)]->arm(now + wait);
  }
  Waiting request{.bytes = bytes};
  waiting_[index(direction)].push_back(&request);
  co_return co_await request.turn;
}

void ThrottleGroup::Member::open() {
  open_ = true;
  const auto group = group_;  // who goes on may destroy this member
  std::vector<Waiting*> list;
  for (auto& queue : waiting_) {
    list.insert(list.end(), queue.begin(), queue.end());
    queue.clear();
  }
  for (Waiting* request : list) request->turn.complete(true);
}

bool ThrottleGroup::anybody_waits(Direction direction) const {
  return std::ranges::any_of(members_,
                             [&](const Member* member) { return !member->waiting_[index(direction)].empty(); });
}

/// Somebody waits.
ThrottleGroup::Member& ThrottleGroup::next_in_turn(Direction direction) {
  std::size_t& turn = turn_[index(direction)];
  for (;;) {
    turn %= members_.size();
    Member& member = *members_[turn++];
    if (!member.waiting_[index(direction)].empty()) return member;
  }
}

void ThrottleGroup::dispatch(Direction direction) {
  while (anybody_waits(direction)) {
    const std::int64_t now = clock_.now_ns();
    if (const std::int64_t wait = state_.wait_ns(direction, now); wait > 0) {
      timers_[index(direction)]->arm(now + wait);
      return;
    }
    auto& queue = next_in_turn(direction).waiting_[index(direction)];
    Member::Waiting* request = queue.front();
    queue.pop_front();
    state_.account(direction, request->bytes);
    request->turn.complete(true);
  }
}

}  // namespace doppel::block
