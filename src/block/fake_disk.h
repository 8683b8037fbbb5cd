// A disk in memory, for tests: requests wait until the test lets them be done, and may fail.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <deque>
#include <optional>
#include <utility>
#include <vector>

#include "block/disk.h"

namespace doppel::block {

/// One thread. Discarded bytes become zeroes.
class FakeDisk : public Disk {
 public:
  enum class Kind : std::uint8_t { kRead, kWrite, kWriteZeroes, kDiscard, kFlush };
  struct Request {
    Kind kind = Kind::kFlush;
    std::uint64_t offset = 0;
    std::uint64_t length = 0;
    bool operator==(const Request&) const = default;
  };

  explicit FakeDisk(std::size_t size) : contents(size) {}

  [[nodiscard]] std::uint64_t size() const override { return contents.size(); }
  [[nodiscard]] bool read_only() const override { return is_read_only; }
  [[nodiscard]] bool has_write_cache() const override { return caches_writes; }
  [[nodiscard]] bool busy() const override { return !waiting.empty(); }

  void read(std::uint64_t offset, Buffers buffers, Done done) override {
    const Request request{Kind::kRead, offset, length_of(buffers)};
    add(request, std::move(buffers), std::move(done));
  }
  void write(std::uint64_t offset, Buffers buffers, Done done) override {
    const Request request{Kind::kWrite, offset, length_of(buffers)};
    add(request, std::move(buffers), std::move(done));
  }
  void write_zeroes(std::uint64_t offset, std::uint64_t length, bool /*may_unmap*/, Done done) override {
    add({Kind::kWriteZeroes, offset, length}, {}, std::move(done));
  }
  void discard(std::uint64_t offset, std::uint64_t length, Done done) override {
    add({Kind::kDiscard, offset, length}, {}, std::move(done));
  }
  void flush(Done done) override { add({.kind = Kind::kFlush}, {}, std::move(done)); }

  /// Carries out the oldest request that waits; false if none does.
  bool finish_one() {
    if (waiting.empty()) return false;
    Waiting next = std::move(waiting.front());
    waiting.pop_front();
    auto result = carry_out(next);
    next.done(std::move(result));
    return true;
  }
  /// And those that follow from it.
  void finish_all() {
    while (finish_one()) {
    }
  }

  struct Waiting {
    Request request;
    Buffers buffers;
    Done done;
  };
  std::vector<std::byte> contents;
  bool is_read_only = false;
  bool caches_writes = true;
  std::optional<ErrorKind> failure;  // of every request from now on
  std::deque<Waiting> waiting;
  std::vector<Request> log;  // of what was begun

 private:
  static std::uint64_t length_of(const Buffers& buffers) {
    std::uint64_t length = 0;
    for (const iovec& buffer : buffers) length += buffer.iov_len;
    return length;
  }
  void add(Request request, Buffers buffers, Done done) {
    log.push_back(request);
    waiting.push_back({request, std::move(buffers), std::move(done)});
  }
  Result<> carry_out(const Waiting& what) {
    const Request& request = what.request;
    if (failure) return fail(*failure, "this disk fails");
    if (request.offset > size() || request.length > size() - request.offset ||
        (request.offset | request.length) % 512 != 0)
      return fail(ErrorKind::kOutOfRange, "the request goes beyond the disk");
    if (is_read_only && request.kind != Kind::kRead && request.kind != Kind::kFlush)
      return fail(ErrorKind::kPermissionDenied, "the disk is read-only");
    std::byte* at = contents.data() + request.offset;
    if (request.kind == Kind::kDiscard || request.kind == Kind::kWriteZeroes)
      std::fill_n(at, request.length, std::byte{0});
    for (const iovec& buffer : what.buffers) {
      if (request.kind == Kind::kRead)
        std::memcpy(buffer.iov_base, at, buffer.iov_len);
      else
        std::memcpy(at, buffer.iov_base, buffer.iov_len);
      at += buffer.iov_len;
    }
    return {};
  }
};

}  // namespace doppel::block
