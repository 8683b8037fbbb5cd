// Memory that O_DIRECT takes.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <memory>
#include <span>

#include "base/bits.h"

namespace doppel::block {

/// Uninitialised; SIZE and address are multiples of ALIGNMENT, a power of two. Empty if the host has no memory left.
class AlignedBuffer {
 public:
  AlignedBuffer() = default;
  AlignedBuffer(std::size_t size, std::size_t alignment)
      : data_(static_cast<std::byte*>(std::aligned_alloc(alignment, align_up(size, alignment)))),
        size_(data_ ? align_up(size, alignment) : 0) {}

  [[nodiscard]] std::byte* data() const { return data_.get(); }
  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] std::span<std::byte> first(std::size_t length) const { return {data_.get(), length}; }

 private:
  struct Free {
    void operator()(std::byte* data) const { std::free(data); }  // NOLINT: what aligned_alloc() gave
  };
  std::unique_ptr<std::byte, Free> data_;
  std::size_t size_ = 0;
};

}  // namespace doppel::block
