// The protocols `null-co` and `null-aio`: a disk that forgets, for measuring everything above it.
#pragma once

#include "block/node.h"
#include "event/loop.h"

namespace doppel::block {

struct NullOptions {
  std::string driver = "null-co";
  std::uint64_t size = std::uint64_t{1} << 30;  // QEMU's
  std::int64_t latency_ns = 0;                  // of every request
};

/// Reads as zeroes; writes go nowhere.
class NullNode final : public Node {
 public:
  NullNode(event::Loop& loop, NullOptions options) : loop_(loop), options_(std::move(options)) {}

  [[nodiscard]] std::uint64_t size() const override { return options_.size; }
  [[nodiscard]] bool read_only() const override { return false; }
  Task<Result<>> read(std::uint64_t /*offset*/, IoView to) override {
    to.clear();
    return wait();
  }
  Task<Result<>> write(std::uint64_t /*offset*/, IoView /*from*/) override { return wait(); }
  Task<Result<>> write_zeroes(std::uint64_t /*offset*/, std::uint64_t /*length*/, Unmap /*unmap*/) override {
    return wait();
  }
  Task<Result<>> discard(std::uint64_t /*offset*/, std::uint64_t /*length*/) override { return wait(); }
  Task<Result<>> flush() override { return wait(); }
  Task<Result<BlockStatus>> block_status(std::uint64_t offset, std::uint64_t length) override {
    co_return BlockStatus{.bytes = length, .allocated = true, .zero = true, .offset = offset};
  }
  Task<Result<>> resize(std::uint64_t size, Preallocation /*preallocation*/) override {
    options_.size = size;
    co_return Result<>{};
  }
  [[nodiscard]] NodeInfo info() const override {
    return {.format = options_.driver, .filename = options_.driver + "://", .virtual_size = options_.size};
  }

 private:
  Task<Result<>> wait() {
    if (options_.latency_ns <= 0) co_return Result<>{};
    event::Clock& clock = loop_.realtime_clock();
    Completion<bool> over;
    // Posted, as the timer goes with this coroutine and must not do so while it calls.
    const auto timer = clock.create_timer([&] { loop_.post([&] { over.complete(true); }); });
    timer->arm(clock.now_ns() + options_.latency_ns);
    co_await over;
    co_return Result<>{};
  }

  event::Loop& loop_;
  NullOptions options_;
};

}  // namespace doppel::block
