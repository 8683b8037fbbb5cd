// How host memory is got for a RamBlock: its backing file, its mapping, its placement and its preallocation.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/error.h"
#include "base/unique_fd.h"
#include "memory/ram_block.h"

namespace doppel::memory {

/// The file behind a block, if it has one, long enough for it.
struct Backing {
  UniqueFd fd;                  // -1: anonymous
  std::uint64_t page_size = 0;  // of the host memory behind it, in bytes
};

Result<Backing> open_backing(const RamOptions& options);

/// Maps the block's bytes, aligned for huge pages where it is large enough for one.
Result<std::byte*> map_backing(const RamOptions& options, const Backing& backing);

/// mbind(2), by the policy in OPTIONS.
Result<> bind_to_nodes(const RamOptions& options, std::span<std::byte> bytes);

/// Faults every page in without changing it. Running out of memory is an error, never a signal.
Result<> preallocate(const RamOptions& options, std::span<std::byte> bytes, std::uint64_t page_size);

namespace detail {
/// What preallocate() does on kernels without MADV_POPULATE_WRITE (before 5.14): 0 or an errno value.
int touch_pages(std::span<std::byte> bytes, std::uint64_t page_size);
}  // namespace detail

}  // namespace doppel::memory
