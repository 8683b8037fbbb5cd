// Guest memory as a bus master sees it: every access can fail, and failing harms only the device that asked.
#pragma once

#include <sys/uio.h>

#include <concepts>
#include <cstddef>
#include <memory>
#include <span>
#include <type_traits>
#include <vector>

#include "base/error.h"
#include "memory/address_space.h"

namespace doppel::memory {

class DmaSpace {
 public:
  explicit DmaSpace(AddressSpace& space) : space_(&space) {}

  /// Moves everything before the first address that is not RAM (reads: or ROM); that one is kOutOfRange. Marks dirty
  /// pages.
  Result<> read(GuestPhysAddr address, std::span<std::byte> out) const;
  Result<> write(GuestPhysAddr address, std::span<const std::byte> data) const;

  template <class T>
    requires std::is_trivially_copyable_v<T>
  Result<T> read(GuestPhysAddr address) const {
    T value;
    DOPPEL_TRY(read(address, std::as_writable_bytes(std::span(&value, 1))));
    return value;
  }
  /// A span is not a value: it is what lies behind it that is written.
  template <class T>
    requires std::is_trivially_copyable_v<T> && (!std::convertible_to<const T&, std::span<const std::byte>>)
  Result<> write(GuestPhysAddr address, const T& value) const {
    return write(address, std::as_bytes(std::span(&value, 1)));
  }

  /// The host memory behind LENGTH bytes at ADDRESS, if they are one piece of (for writing: writable) RAM.
  /// Valid while KEEP lives. Whoever writes through it calls mark_dirty().
  struct Mapping {
    std::span<std::byte> bytes;
    std::shared_ptr<RamBlock> keep;
    std::uint64_t block_offset = 0;
    void mark_dirty() const { keep->dirty().mark(block_offset, bytes.size()); }
  };
  enum class Access : std::uint8_t { kRead, kWrite };
  Result<Mapping> map(GuestPhysAddr address, std::uint64_t length, Access access) const;

 private:
  AddressSpace* space_;
};

/// Guest memory in pieces that somebody else, a disk, fills or reads where it is.
class DmaMappings {
 public:
  /// LENGTH more bytes. Fails if they are not one piece of RAM.
  Result<> add(const DmaSpace& memory, GuestPhysAddr address, std::uint64_t length, DmaSpace::Access access);
  /// Runs that lie side by side in the host's memory are one. Valid while this lives.
  [[nodiscard]] std::vector<iovec> pieces() const;
  /// After they were filled. Any thread.
  void mark_dirty() const;

 private:
  std::vector<DmaSpace::Mapping> runs_;
};

}  // namespace doppel::memory
