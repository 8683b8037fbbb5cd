// What a device gives the bus: reads and writes at offsets into its range.
#pragma once

#include <cstdint>

namespace doppel::memory {

/// Called on whichever thread makes the access, with no lock held. Little-endian; SIZE is 1, 2, 4 or 8, and OFFSET +
/// SIZE within the region (if its size is a multiple of IoSizes::min). Only the low SIZE bytes of a result count.
class IoHandler {
 public:
  virtual ~IoHandler() = default;
  [[nodiscard]] virtual std::uint64_t read(std::uint64_t offset, unsigned size) = 0;
  virtual void write(std::uint64_t offset, unsigned size, std::uint64_t value) = 0;
};

/// Access sizes a handler wants to see; powers of two. The bus splits larger accesses into several. It makes a smaller
/// read out of a wider, aligned one; a smaller write is passed as a wider, aligned one with zeroes around it. Unaligned
/// accesses are split into bytes unless `unaligned` is set.
struct IoSizes {
  unsigned min = 1;
  unsigned max = 8;
  bool unaligned = false;
};

}  // namespace doppel::memory
