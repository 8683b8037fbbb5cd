// Nodes that share one budget of bytes and requests.
#pragma once

#include <array>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "block/filters/throttle_limits.h"
#include "block/task.h"
#include "event/clock.h"
#include "event/loop.h"

namespace doppel::block {

/// Of one loop's thread. Members take turns: when there is budget, the next member with a request waiting has one go
/// through, in the order in which its own requests came. Reads and writes wait apart from each other.
class ThrottleGroup : public std::enable_shared_from_this<ThrottleGroup> {
 public:
  /// What one node has waiting; lives as long as its node.
  class Member {
   public:
    explicit Member(std::shared_ptr<ThrottleGroup> group);
    ~Member();
    Member(const Member&) = delete;
    Member& operator=(const Member&) = delete;

    /// Done when a request of BYTES may begin.
    Task<bool> pass(Direction direction, std::uint64_t bytes);
    /// Lets everything through, now and from now on.
    void open();
    [[nodiscard]] const std::string& group_name() const { return group_->name_; }

   private:
    friend class ThrottleGroup;
    struct Waiting {
      std::uint64_t bytes;
      Completion<bool> turn{};
    };
    std::shared_ptr<ThrottleGroup> group_;
    std::array<std::deque<Waiting*>, 2> waiting_;  // by direction
    bool open_ = false;
  };

  /// LOOP and CLOCK, which ticks on LOOP's thread, outlive the group; LIMITS have been checked.
  ThrottleGroup(event::Loop& loop, event::Clock& clock, std::string name, ThrottleLimits limits);
  [[nodiscard]] const ThrottleLimits& limits() const { return state_.limits(); }

 private:
  void dispatch(Direction direction);
  [[nodiscard]] bool anybody_waits(Direction direction) const;
  Member& next_in_turn(Direction direction);

  event::Loop& loop_;
  event::Clock& clock_;
  const std::string name_;
  ThrottleState state_;
  std::vector<Member*> members_;
  std::array<std::size_t, 2> turn_{};  // the member that is looked at first
  std::array<std::unique_ptr<event::Timer>, 2> timers_;
};

}  // namespace doppel::block
