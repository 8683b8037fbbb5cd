// Descriptor chains: what a driver offers its device in one buffer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/endian.h"
#include "base/error.h"
#include "memory/dma.h"

namespace doppel::hw {

/// A run of guest memory.
struct Segment {
  std::uint64_t address = 0;
  std::uint32_t length = 0;
  void describe(auto& fields) {
    fields("address", address);
    fields("length", length);
  }
  bool operator==(const Segment&) const = default;
};

/// The sum of what SEGMENTS hold, in bytes.
std::uint64_t total_size(std::span<const Segment> segments);

/// What lies where is the driver's word: only an access shows whether there is memory.
struct Chain {
  std::uint16_t id = 0;     // the driver's name for it
  std::uint16_t slots = 1;  // descriptors of the ring that it takes
  std::vector<Segment> readable;
  std::vector<Segment> writable;

  void describe(auto& fields) {
    fields("id", id);
    fields("slots", slots);
    fields("readable", readable);
    fields("writable", writable);
  }
};

/// A descriptor as it lies in memory: a split queue's (virtio 1.2, section 2.7.5), or a packed one's (section 2.8.13)
/// where the last two fields are id and flags.
struct SplitDescriptor {
  Le64 address;
  Le32 length;
  Le16 flags;
  Le16 next;
};
struct PackedDescriptor {
  Le64 address;
  Le32 length;
  Le16 id;
  Le16 flags;
};

/// Puts a chain together out of descriptors that a hostile driver may have written.
class ChainBuilder {
 public:
  /// Descriptors of one chain at most. More than a queue may have: drivers use indirect tables larger than their queue.
  static constexpr unsigned kMostDescriptors = 1024;

  Result<> add(std::uint64_t address, std::uint32_t length, bool writable);
  /// A table of SIZE bytes must hold whole descriptors, and at least one; returns how many.
  static Result<std::uint32_t> indirect_count(std::uint32_t size);

  [[nodiscard]] Chain take(std::uint16_t id, std::uint16_t slots) &&;

 private:
  Chain chain_;
  unsigned descriptors_ = 0;
  std::uint64_t size_ = 0;
};

/// LENGTH bytes of what SEGMENTS hold from OFFSET on; the caller has seen to it that there is as much. Fails where
/// there is anything but RAM.
Result<memory::DmaMappings> map_segments(const memory::DmaSpace& memory, std::span<const Segment> segments,
                                         std::uint64_t offset, std::size_t length, memory::DmaSpace::Access access);

/// Copies between bytes and what SEGMENTS hold from OFFSET on; the caller has seen to it that there is as much.
Result<> read_segments(const memory::DmaSpace& memory, std::span<const Segment> segments, std::uint64_t offset,
                       std::span<std::byte> out);
Result<> write_segments(const memory::DmaSpace& memory, std::span<const Segment> segments, std::uint64_t offset,
                        std::span<const std::byte> data);

}  // namespace doppel::hw
