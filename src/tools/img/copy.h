// Copying disks, several pieces at a time.
#pragma once

#include <cstdint>
#include <functional>

#include "block/compressed_target.h"
#include "block/node.h"

namespace doppel::img {

struct CopyOptions {
  unsigned workers = 8;
  bool in_order = true;                                // false: written as they come
  bool target_is_zero = false;                         // what is not written reads as zeroes
  std::uint64_t sparse = 4096;                         // so many zeroes in a row are not written; 0: everything is
  std::uint64_t piece = 1 << 20;                       // bytes at a time
  const block::Node* base = nullptr;                   // of the source's chain: what only it has is left out
  block::CompressedTarget* compress = nullptr;         // the target: write compressed clusters
  std::function<void(std::uint64_t done)> progress{};  // bytes of the source, from 0 to its size
};

/// SOURCE's disk to TARGET at TARGET_OFFSET, which has the room.
block::Task<Result<>> copy_disk(block::Node& source, block::Node& target, std::uint64_t target_offset,
                                const CopyOptions& options);

/// The length of the run at the beginning of BYTES that is all zeroes, or else has no zeroes of GRAIN length and
/// alignment; ZERO tells which. GRAIN 0: no zeroes are looked for.
std::size_t run_length(std::span<const std::byte> bytes, std::size_t grain, bool& zero);

}  // namespace doppel::img
