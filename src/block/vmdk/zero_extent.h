// An extent of type ZERO: reads as zeroes and holds nothing.
#pragma once

#include "block/node.h"

namespace doppel::block::vmdk {

class ZeroExtent final : public Node {
 public:
  explicit ZeroExtent(std::uint64_t size) : size_(size) {}

  [[nodiscard]] std::uint64_t size() const override { return size_; }
  [[nodiscard]] bool read_only() const override { return true; }
  Task<Result<>> read(std::uint64_t /*offset*/, IoView to) override {
    to.clear();
    co_return Result<>{};
  }
  Task<Result<>> write(std::uint64_t /*offset*/, IoView /*from*/) override {
    co_return fail(ErrorKind::kUnsupported, "this part of the disk is an extent of type ZERO, which holds no data");
  }
  Task<Result<>> write_zeroes(std::uint64_t /*offset*/, std::uint64_t /*length*/, Unmap /*unmap*/) override {
    co_return Result<>{};
  }
  Task<Result<>> discard(std::uint64_t /*offset*/, std::uint64_t /*length*/) override { co_return Result<>{}; }
  Task<Result<>> flush() override { co_return Result<>{}; }
  Task<Result<BlockStatus>> block_status(std::uint64_t /*offset*/, std::uint64_t length) override {
    co_return BlockStatus{.bytes = length, .allocated = true, .zero = true};
  }
  Task<Result<>> resize(std::uint64_t /*size*/, Preallocation /*preallocation*/) override {
    co_return fail(ErrorKind::kUnsupported, "an extent cannot be resized");
  }
  [[nodiscard]] NodeInfo info() const override { return {.format = "vmdk", .virtual_size = size_}; }

 private:
  std::uint64_t size_;
};

}  // namespace doppel::block::vmdk
