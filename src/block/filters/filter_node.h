// What all filters share: a node in front of another that shows the same disk.
#pragma once

#include <utility>

#include "block/node.h"

namespace doppel::block {

/// Passes everything on; a filter overrides what it changes.
class FilterNode : public Node {
 public:
  explicit FilterNode(NodePtr child) : child_(std::move(child)) {}

  [[nodiscard]] std::uint64_t size() const override { return child_->size(); }
  [[nodiscard]] bool read_only() const override { return child_->read_only(); }
  Task<Result<>> read(std::uint64_t offset, IoView to) override { return child_->read(offset, to); }
  Task<Result<>> write(std::uint64_t offset, IoView from) override { return child_->write(offset, from); }
  Task<Result<>> write_zeroes(std::uint64_t offset, std::uint64_t length, Unmap unmap) override {
    return child_->write_zeroes(offset, length, unmap);
  }
  Task<Result<>> discard(std::uint64_t offset, std::uint64_t length) override {
    return child_->discard(offset, length);
  }
  Task<Result<>> flush() override { return child_->flush(); }
  Task<Result<BlockStatus>> block_status(std::uint64_t offset, std::uint64_t length) override {
    return child_->block_status(offset, length);
  }
  Task<Result<>> resize(std::uint64_t size, Preallocation preallocation) override {
    return child_->resize(size, preallocation);
  }
  Task<Result<>> close() override { return child_->close(); }
  void hurry() override { child_->hurry(); }
  void debug_event(std::string_view event) override { child_->debug_event(event); }
  [[nodiscard]] Node* filtered() const override { return child_.get(); }
  [[nodiscard]] Node* backing() const override { return child_->backing(); }
  [[nodiscard]] NodeInfo info() const override { return child_->info(); }

 protected:
  [[nodiscard]] Node& child() const { return *child_; }
  /// The child's, with this filter's name as the format.
  [[nodiscard]] NodeInfo info_as(std::string_view format) const {
    NodeInfo info{.format = std::string(format), .filename = {}, .virtual_size = size()};
    const NodeInfo inner = child_->info();
    info.filename = inner.filename;
    info.disk_size = inner.disk_size;
    return info;
  }

 private:
  NodePtr child_;
};

}  // namespace doppel::block
