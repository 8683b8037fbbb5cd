// Memory for the data of requests, used again: fresh memory costs the host a page fault for every 4 KiB.
#pragma once

#include <cstddef>
#include <utility>
#include <vector>

#include "block/aligned_buffer.h"

namespace doppel::nbd {

/// On the loop's thread. Outlives its buffers.
class BufferPool {
 public:
  /// Keeps at most so many bytes that nobody uses.
  explicit BufferPool(std::size_t most_kept) : most_kept_(most_kept) {}
  BufferPool(const BufferPool&) = delete;
  BufferPool& operator=(const BufferPool&) = delete;

  /// SIZE bytes, aligned as O_DIRECT wants them, with whatever was in them. They go back to the pool.
  class Buffer {
   public:
    Buffer() = default;
    Buffer(BufferPool& pool, block::AlignedBuffer memory, std::size_t size)
        : pool_(&pool), memory_(std::move(memory)), size_(size) {}
    Buffer(Buffer&& other) noexcept
        : pool_(std::exchange(other.pool_, nullptr)), memory_(std::move(other.memory_)), size_(other.size_) {}
    Buffer& operator=(Buffer&& other) noexcept {
      std::swap(pool_, other.pool_);
      std::swap(memory_, other.memory_);
      std::swap(size_, other.size_);
      return *this;
    }
    ~Buffer() {
      if (pool_ != nullptr) pool_->take_back(std::move(memory_));
    }

    /// False: the host has no memory left.
    [[nodiscard]] bool valid() const { return pool_ != nullptr; }
    [[nodiscard]] std::span<std::byte> bytes() const {
      return pool_ != nullptr ? memory_.first(size_) : std::span<std::byte>{};
    }

   private:
    BufferPool* pool_ = nullptr;
    block::AlignedBuffer memory_{};
    std::size_t size_ = 0;
  };

  Buffer get(std::size_t size) {
    // What came back last is most likely still in the processor's caches.
    for (std::size_t i = kept_.size(); i > 0; --i) {
      block::AlignedBuffer& memory = kept_[i - 1];
      if (memory.size() < size || memory.size() / 2 > size + kAlignment) continue;
      block::AlignedBuffer taken = std::move(memory);
      kept_.erase(kept_.begin() + static_cast<std::ptrdiff_t>(i - 1));
      kept_bytes_ -= taken.size();
      return {*this, std::move(taken), size};
    }
    block::AlignedBuffer fresh(size, kAlignment);
    if (fresh.size() < size) return {};
    return {*this, std::move(fresh), size};
  }

 private:
  static constexpr std::size_t kAlignment = 4096;
  static constexpr std::size_t kMostBuffers = 128;  // so that looking for one stays cheap

  void take_back(block::AlignedBuffer memory) {
    if (memory.size() > most_kept_) return;
    while (!kept_.empty() && (kept_bytes_ + memory.size() > most_kept_ || kept_.size() == kMostBuffers)) {
      kept_bytes_ -= kept_.front().size();
      kept_.erase(kept_.begin());
    }
    kept_bytes_ += memory.size();
    kept_.push_back(std::move(memory));
  }

  const std::size_t most_kept_;
  std::size_t kept_bytes_ = 0;
  std::vector<block::AlignedBuffer> kept_;  // what came back last stands last
};

}  // namespace doppel::nbd
