// The filter `blkdebug`: lets chosen requests fail, and is as choosy about them as some hosts' disks are.
#pragma once

#include "block/filters/blkdebug_rules.h"
#include "block/filters/filter_node.h"

namespace doppel::block {

/// In bytes; 0: no limit. Alignments are powers of two.
struct BlkdebugLimits {
  std::uint64_t align = 0;           // of what reaches the node below; other requests are widened
  std::uint64_t max_transfer = 0;    // of reads and writes
  std::uint64_t opt_write_zero = 0;  // what is smaller, or not aligned so, is written as bytes
  std::uint64_t max_write_zero = 0;
  std::uint64_t opt_discard = 0;  // what is smaller, or not aligned so, is left alone
  std::uint64_t max_discard = 0;

  [[nodiscard]] Result<> check() const;
};

class BlkdebugNode final : public FilterNode {
 public:
  BlkdebugNode(NodePtr image, BlkdebugRules rules, BlkdebugLimits limits)
      : FilterNode(std::move(image)), machine_(std::move(rules)), limits_(limits) {}

  Task<Result<>> read(std::uint64_t offset, IoView to) override;
  Task<Result<>> write(std::uint64_t offset, IoView from) override;
  Task<Result<>> write_zeroes(std::uint64_t offset, std::uint64_t length, Unmap unmap) override;
  Task<Result<>> discard(std::uint64_t offset, std::uint64_t length) override;
  Task<Result<>> flush() override;
  Task<Result<BlockStatus>> block_status(std::uint64_t offset, std::uint64_t length) override;
  void debug_event(std::string_view event) override {
    machine_.event(event);
    child().debug_event(event);
  }
  [[nodiscard]] NodeInfo info() const override { return info_as("blkdebug"); }

 private:
  [[nodiscard]] Result<> judge(IoType type, std::uint64_t offset, std::uint64_t length);
  Task<Result<>> read_aligned(std::uint64_t offset, IoView to);
  Task<Result<>> write_aligned(std::uint64_t offset, IoView from);
  Task<Result<>> widen_write(std::uint64_t offset, IoView from);

  BlkdebugMachine machine_;
  const BlkdebugLimits limits_;
  Mutex blocks_;  // as FileNode's: who replaces part of an aligned block holds it alone
};

}  // namespace doppel::block
