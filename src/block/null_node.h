// The protocol `null-co`: a disk that forgets, for measuring everything above it.
#pragma once

#include "block/node.h"

namespace doppel::block {

/// Reads as zeroes; writes go nowhere.
class NullNode final : public Node {
 public:
  explicit NullNode(std::uint64_t size) : size_(size) {}

  [[nodiscard]] std::uint64_t size() const override { return size_; }
  [[nodiscard]] bool read_only() const override { return false; }
  Task<Result<>> read(std::uint64_t /*offset*/, IoView to) override {
    to.clear();
    co_return Result<>{};
  }
  Task<Result<>> write(std::uint64_t /*offset*/, IoView /*from*/) override { co_return Result<>{}; }
  Task<Result<>> write_zeroes(std::uint64_t /*offset*/, std::uint64_t /*length*/, Unmap /*unmap*/) override {
    co_return Result<>{};
  }
  Task<Result<>> discard(std::uint64_t /*offset*/, std::uint64_t /*length*/) override { co_return Result<>{}; }
  Task<Result<>> flush() override { co_return Result<>{}; }
  Task<Result<BlockStatus>> block_status(std::uint64_t offset, std::uint64_t length) override {
    co_return BlockStatus{.bytes = length, .allocated = true, .zero = true, .offset = offset};
  }
  Task<Result<>> resize(std::uint64_t size, Preallocation /*preallocation*/) override {
    size_ = size;
    co_return Result<>{};
  }
  [[nodiscard]] NodeInfo info() const override {
    return {.format = "null-co", .filename = "null-co://", .virtual_size = size_};
  }

 private:
  std::uint64_t size_;
};

}  // namespace doppel::block
