// The contents of a flash chip: in memory, where the guest reads and executes them, and on a disk that follows behind.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <set>
#include <vector>

#include "base/log.h"
#include "block/disk.h"
#include "memory/ram_block.h"

namespace doppel::hw {

/// Firmware does not wait for its flash chip, so a change shows at once and goes to the disk as soon as the write
/// before it is done, followed by a flush. What waits is written even when the chip is gone: the last request keeps the
/// object alive, and the disk outlives its requests. Any thread.
class FlashImage : public std::enable_shared_from_this<FlashImage> {
 public:
  static constexpr std::uint64_t kBlockSize = 4096;

  /// MEMORY has the disk's contents; its size is a multiple of kBlockSize.
  FlashImage(std::shared_ptr<memory::RamBlock> memory, block::Disk& disk, Logger log)
      : memory_(std::move(memory)), disk_(disk), log_(std::move(log)) {}

  [[nodiscard]] std::uint64_t size() const { return memory_->size(); }
  [[nodiscard]] bool read_only() const { return disk_.read_only(); }
  [[nodiscard]] std::byte at(std::uint64_t offset) const;

  /// Clears bits, as flash does: only erasing sets them. OFFSET is below size().
  void program(std::uint64_t offset, std::byte value);
  /// Sets all bits of the block that OFFSET is in.
  void erase(std::uint64_t offset);
  /// Begins to write what has changed. Call with no lock held.
  void write_back();
  /// Whether writing failed since the last call. What could not be written goes with the next change.
  [[nodiscard]] bool take_failure();

 private:
  struct Run {
    std::uint64_t offset = 0;
    std::shared_ptr<std::vector<std::byte>> bytes{};
  };
  void mark_changed(std::uint64_t offset, std::uint64_t size);
  void written(const Run& run, const Result<>& result);
  void flushed(const Result<>& result);
  void note_failure(const Result<>& result);

  const std::shared_ptr<memory::RamBlock> memory_;
  block::Disk& disk_;
  const Logger log_;
  mutable std::mutex mutex_;         // guards the contents and what follows
  std::set<std::uint64_t> changed_;  // offsets of blocks that the disk has not yet
  bool busy_ = false;                // a write or flush is under way
  bool unflushed_ = false;
  bool failed_ = false;
};

}  // namespace doppel::hw
