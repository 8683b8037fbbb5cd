// Guest memory that a driver and its device use at the same time.
#pragma once

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "base/endian.h"
#include "base/error.h"
#include "memory/dma.h"

namespace doppel::hw {

/// One part of a virtqueue, in host memory. 16-bit fields are loaded with acquire and stored with release order;
/// everything else is copied, so that what was checked is what is used. Offsets are the caller's to keep in bounds.
class RingArea {
 public:
  RingArea() = default;

  /// ALIGNMENT is what the specification asks of ADDRESS, at least 2.
  static Result<RingArea> map(const memory::DmaSpace& memory, std::uint64_t address, std::uint64_t size,
                              unsigned alignment, memory::DmaSpace::Access access) {
    if (address % alignment != 0)
      return fail(ErrorKind::kInvalidArgument, "a part of the queue at {:#x} is not aligned to {} bytes", address,
                  alignment);
    DOPPEL_ASSIGN(auto mapping, memory.map({address}, size, access));
    if (std::bit_cast<std::uintptr_t>(mapping.bytes.data()) % alignment != 0)
      return fail(ErrorKind::kInvalidArgument, "a part of the queue at {:#x} is not aligned in memory", address);
    return RingArea(std::move(mapping));
  }

  [[nodiscard]] std::uint16_t load16(std::size_t offset) const {
    return to_little(std::atomic_ref(word(offset)).load(std::memory_order_acquire));
  }
  void store16(std::size_t offset, std::uint16_t value) {
    std::atomic_ref(word(offset)).store(to_little(value), std::memory_order_release);
    mark(offset, sizeof value);
  }
  template <class T>
  [[nodiscard]] T copy(std::size_t offset) const {
    T value;
    std::memcpy(&value, mapping_.bytes.data() + offset, sizeof value);
    return value;
  }
  template <class T>
  void put(std::size_t offset, const T& value) {
    std::memcpy(mapping_.bytes.data() + offset, &value, sizeof value);
    mark(offset, sizeof value);
  }

 private:
  explicit RingArea(memory::DmaSpace::Mapping mapping) : mapping_(std::move(mapping)) {}
  [[nodiscard]] std::uint16_t& word(std::size_t offset) const {
    return *reinterpret_cast<std::uint16_t*>(mapping_.bytes.data() + offset);
  }
  /// Code that the guest may have made there is looked at again, and migration sends it again.
  void mark(std::size_t offset, std::size_t size) { mapping_.keep->dirty().mark(mapping_.block_offset + offset, size); }

  memory::DmaSpace::Mapping mapping_;
};

}  // namespace doppel::hw
