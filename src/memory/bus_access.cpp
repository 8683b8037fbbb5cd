#include "memory/bus_access.h"

#include <atomic>

#include "base/bits.h"
#include "base/endian.h"

namespace doppel::memory {

namespace {

std::uint64_t mask_of(unsigned size) {
  return low_mask(8 * size);
}

/// How the bus carries an access out at the handler: in pieces of a size it takes, or as part of a wider one.
struct Plan {
  unsigned piece;  // size of each call
  bool widened;    // one call, aligned down
};

Plan plan(const IoSizes& sizes, std::uint64_t offset, unsigned size) {
  const bool aligned = is_aligned(offset, size);
  const unsigned piece = aligned || sizes.unaligned ? std::min(size, sizes.max) : 1;
  if (piece >= sizes.min) return {.piece = piece, .widened = false};
  const bool fits = (offset & (sizes.min - 1)) + size <= sizes.min;
  return {.piece = fits ? sizes.min : 1, .widened = fits};
}

/// An aligned access to RAM is one access for whoever looks on, as on real hardware.
template <class T>
std::uint64_t load(const std::byte* host) {
  if (!is_aligned(reinterpret_cast<std::uintptr_t>(host), sizeof(T))) return load_le<T>(host);
  return to_little(__atomic_load_n(reinterpret_cast<const T*>(host), __ATOMIC_RELAXED));
}

template <class T>
void store(std::byte* host, std::uint64_t value) {
  const T narrow = static_cast<T>(value);
  if (!is_aligned(reinterpret_cast<std::uintptr_t>(host), sizeof(T))) return store_le<T>(host, narrow);
  __atomic_store_n(reinterpret_cast<T*>(host), to_little(narrow), __ATOMIC_RELAXED);
}

std::uint64_t load_sized(const std::byte* host, unsigned size) {
  switch (size) {
    case 1: return load<std::uint8_t>(host);
    case 2: return load<std::uint16_t>(host);
    case 4: return load<std::uint32_t>(host);
    default: return load<std::uint64_t>(host);
  }
}

void store_sized(std::byte* host, unsigned size, std::uint64_t value) {
  switch (size) {
    case 1: return store<std::uint8_t>(host, value);
    case 2: return store<std::uint16_t>(host, value);
    case 4: return store<std::uint32_t>(host, value);
    default: return store<std::uint64_t>(host, value);
  }
}

}  // namespace

std::uint64_t read_handler(IoHandler& handler, const IoSizes& sizes, std::uint64_t offset, unsigned size) {
  const auto [piece, widened] = plan(sizes, offset, size);
  if (piece == size) return handler.read(offset, size) & mask_of(size);
  if (widened) {
    const std::uint64_t base = align_down(offset, piece);
    return (handler.read(base, piece) >> (8 * (offset - base))) & mask_of(size);
  }
  std::uint64_t value = 0;
  for (unsigned done = 0; done < size; done += piece)
    value |= read_handler(handler, sizes, offset + done, piece) << (8 * done);
  return value;
}

void write_handler(IoHandler& handler, const IoSizes& sizes, std::uint64_t offset, unsigned size, std::uint64_t value) {
  value &= mask_of(size);
  const auto [piece, widened] = plan(sizes, offset, size);
  if (piece == size) return handler.write(offset, size, value);
  if (widened) {
    const std::uint64_t base = align_down(offset, piece);
    return handler.write(base, piece, value << (8 * (offset - base)));
  }
  for (unsigned done = 0; done < size; done += piece)
    write_handler(handler, sizes, offset + done, piece, value >> (8 * done));
}

std::uint64_t read_range(const FlatRange& range, GuestPhysAddr address, unsigned size) {
  const std::uint64_t offset = address - range.start;
  if (range.readable_ram) return load_sized(range.host() + offset, size);
  const Region& region = *range.region;
  return read_handler(*region.handler(), region.io_sizes(), range.region_offset + offset, size);
}

void write_range(const FlatRange& range, GuestPhysAddr address, unsigned size, std::uint64_t value) {
  const std::uint64_t offset = address - range.start;
  const Region& region = *range.region;
  if (range.writable_ram) {
    store_sized(range.host() + offset, size, value);
    region.ram()->dirty().mark(range.ram_offset() + offset, size);
  } else if (region.handler() != nullptr) {
    write_handler(*region.handler(), region.io_sizes(), range.region_offset + offset, size, value);
  }  // else read-only memory, which takes no notice
}

}  // namespace doppel::memory
