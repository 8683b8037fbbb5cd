// A Disk over a node: requests hop from any thread onto the loop.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <mutex>
#include <vector>

#include "block/context.h"
#include "block/disk.h"
#include "block/node.h"

namespace doppel::block {

struct NodeDiskOptions {
  bool write_cache = true;  // false: every write is followed by a flush
  bool discard = false;     // true: discards reach the node, and zeroes may unmap
};

/// Destroy on the loop's thread while the loop does not run: waits for what is under way, then closes the node.
class NodeDisk final : public Disk {
 public:
  NodeDisk(Context& context, NodePtr node, NodeDiskOptions options);
  ~NodeDisk() override;

  [[nodiscard]] std::uint64_t size() const override { return size_; }
  [[nodiscard]] bool read_only() const override { return read_only_; }
  [[nodiscard]] bool has_write_cache() const override { return options_.write_cache; }
  [[nodiscard]] bool busy() const override { return under_way_ != 0; }

  void read(std::uint64_t offset, Buffers buffers, Done done) override;
  void write(std::uint64_t offset, Buffers buffers, Done done) override;
  void write_zeroes(std::uint64_t offset, std::uint64_t length, bool may_unmap, Done done) override;
  void discard(std::uint64_t offset, std::uint64_t length, Done done) override;
  void flush(Done done) override;

 private:
  enum class Kind : std::uint8_t { kRead, kWrite, kWriteZeroes, kDiscard, kFlush };
  struct Request {
    Kind kind;
    std::uint64_t offset = 0;
    std::uint64_t length = 0;
    Buffers buffers{};
    Unmap unmap = Unmap::kKeep;
    Done done;
  };

  void enqueue(Request request);
  void begin_queued();
  [[nodiscard]] Result<> check(const Request& request) const;
  Task<Result<>> carry_out(const Request& request);
  Task<Result<>> serve(Request request);
  Task<Result<>> finish_and_close();

  Context& context_;
  const NodePtr node_;
  const NodeDiskOptions options_;
  const std::uint64_t size_;  // a copy, so that any thread may ask
  const bool read_only_;

  std::mutex mutex_;  // guards queue_
  std::vector<Request> queue_;
  std::atomic<std::size_t> under_way_ = 0;  // and those in queue_
};

}  // namespace doppel::block
