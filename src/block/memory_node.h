// A file in memory, for tests: it can also keep a record of what was written and flushed.
#pragma once

#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <utility>
#include <vector>

#include "block/node.h"

namespace doppel::block {

/// Finishes every request at once.
class MemoryNode final : public Node {
 public:
  /// One change of the contents; a flush where BYTES and SIZE are both unset.
  struct Event {
    std::uint64_t offset = 0;
    std::vector<std::byte> bytes{};
    std::optional<std::uint64_t> size{};
  };
  using Recorder = std::function<void(const Event&)>;

  explicit MemoryNode(std::vector<std::byte> contents = {}) : contents_(std::move(contents)) {}

  [[nodiscard]] const std::vector<std::byte>& contents() const { return contents_; }
  void record(Recorder recorder) { recorder_ = std::move(recorder); }
  bool is_read_only = false;

  [[nodiscard]] std::uint64_t size() const override { return contents_.size(); }
  [[nodiscard]] bool read_only() const override { return is_read_only; }
  Task<Result<>> read(std::uint64_t offset, IoView to) override {
    const auto inside =
        static_cast<std::size_t>(offset < size() ? std::min<std::uint64_t>(to.size(), size() - offset) : 0);
    to.slice(inside, to.size() - inside).clear();
    if (inside > 0) to.slice(0, inside).copy_from(contents_.data() + offset);
    co_return Result<>{};
  }
  Task<bool> splice(std::uint64_t offset, std::size_t length, int pipe) override {
    if (offset > size() || length > size() - offset) co_return false;
    co_return ::write(pipe, contents_.data() + offset, length) == static_cast<ssize_t>(length);
  }
  Task<Result<>> write(std::uint64_t offset, IoView from) override {
    std::vector<std::byte> bytes(from.size());
    from.copy_to(bytes.data());
    co_return put(offset, std::move(bytes));
  }
  Task<Result<>> write_zeroes(std::uint64_t offset, std::uint64_t length, Unmap /*unmap*/) override {
    if (length > kMaxSize) co_return full();
    co_return put(offset, std::vector<std::byte>(length));
  }
  Task<Result<>> discard(std::uint64_t offset, std::uint64_t length) override {
    if (offset >= size()) co_return Result<>{};
    co_return put(offset, std::vector<std::byte>(std::min(length, size() - offset)));
  }
  Task<Result<>> flush() override {
    if (recorder_) recorder_(Event{});
    co_return Result<>{};
  }
  Task<Result<BlockStatus>> block_status(std::uint64_t offset, std::uint64_t length) override {
    if (offset >= size()) co_return BlockStatus{.bytes = length, .allocated = true, .zero = true};
    co_return BlockStatus{
        .bytes = std::min(length, size() - offset), .allocated = true, .data = true, .offset = offset};
  }
  Task<Result<>> resize(std::uint64_t size, Preallocation /*preallocation*/) override {
    if (size > kMaxSize) co_return full();
    contents_.resize(size);
    if (recorder_) recorder_(Event{.size = size});
    co_return Result<>{};
  }
  [[nodiscard]] NodeInfo info() const override {
    return {.format = "memory", .filename = "memory", .virtual_size = size(), .disk_size = size()};
  }

 private:
  static constexpr std::uint64_t kMaxSize = std::uint64_t{64} << 20;

  static std::unexpected<Error> full() { return fail(ErrorKind::kNoSpace, "a file in memory holds 64 MiB at most"); }

  Result<> put(std::uint64_t offset, std::vector<std::byte> bytes) {
    if (offset > kMaxSize || bytes.size() > kMaxSize - offset) return full();
    if (bytes.empty()) return {};
    if (offset + bytes.size() > contents_.size()) contents_.resize(offset + bytes.size());
    std::memcpy(contents_.data() + offset, bytes.data(), bytes.size());
    if (recorder_) recorder_(Event{.offset = offset, .bytes = std::move(bytes)});
    return {};
  }

  std::vector<std::byte> contents_;
  Recorder recorder_;
};

}  // namespace doppel::block
