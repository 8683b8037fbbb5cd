// The filter `throttle`: requests wait until the node's group has budget for them.
#pragma once

#include <memory>

#include "block/filters/filter_node.h"
#include "block/filters/throttle_group.h"

namespace doppel::block {

/// Flushes and questions do not count.
class ThrottleNode final : public FilterNode {
 public:
  ThrottleNode(NodePtr child, std::shared_ptr<ThrottleGroup> group)
      : FilterNode(std::move(child)), member_(std::move(group)) {}

  Task<Result<>> read(std::uint64_t offset, IoView to) override {
    co_await member_.pass(Direction::kRead, to.size());
    co_return co_await child().read(offset, to);
  }
  Task<Result<>> write(std::uint64_t offset, IoView from) override {
    co_await member_.pass(Direction::kWrite, from.size());
    co_return co_await child().write(offset, from);
  }
  Task<Result<>> write_zeroes(std::uint64_t offset, std::uint64_t length, Unmap unmap) override {
    co_await member_.pass(Direction::kWrite, length);
    co_return co_await child().write_zeroes(offset, length, unmap);
  }
  Task<Result<>> discard(std::uint64_t offset, std::uint64_t length) override {
    co_await member_.pass(Direction::kWrite, length);
    co_return co_await child().discard(offset, length);
  }
  void hurry() override {
    member_.open();
    child().hurry();
  }
  [[nodiscard]] NodeInfo info() const override { return info_as("throttle"); }

 private:
  ThrottleGroup::Member member_;
};

}  // namespace doppel::block
