// One access to one flat range: straight to RAM, or to a handler in the sizes it wants.
#pragma once

#include <cstdint>

#include "memory/flat_view.h"

namespace doppel::memory {

/// SIZE (1, 2, 4, 8) bytes at OFFSET of HANDLER's range, by the rules of IoSizes.
[[nodiscard]] std::uint64_t read_handler(IoHandler& handler, const IoSizes& sizes, std::uint64_t offset, unsigned size);
void write_handler(IoHandler& handler, const IoSizes& sizes, std::uint64_t offset, unsigned size, std::uint64_t value);

/// SIZE bytes at ADDRESS, all of them in RANGE.
[[nodiscard]] std::uint64_t read_range(const FlatRange& range, GuestPhysAddr address, unsigned size);
void write_range(const FlatRange& range, GuestPhysAddr address, unsigned size, std::uint64_t value);

}  // namespace doppel::memory
