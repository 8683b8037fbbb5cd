// Answers to NBD_CMD_BLOCK_STATUS.
#pragma once

#include <cstdint>
#include <vector>

#include "block/node.h"
#include "nbd/export.h"

namespace doppel::nbd {

/// More are not told in one answer.
inline constexpr std::size_t kMaxExtents = 2048;

/// Asks a disk what it has, once for all contexts that a client has chosen.
class StatusCollector {
 public:
  StatusCollector(event::Loop& loop, const Export& disk, const std::vector<Context>& contexts)
      : loop_(loop), disk_(disk), contexts_(contexts), extents_(contexts.size()) {}

  /// From OFFSET on, at most LENGTH > 0 bytes and MOST extents; fewer where the disk is in many small pieces.
  block::Task<Result<>> collect(std::uint64_t offset, std::uint32_t length, std::size_t most);
  /// The INDEXth context as a chunk carries it.
  [[nodiscard]] std::vector<std::byte> description(std::size_t index) const;

 private:
  struct Extent {
    std::uint32_t length;
    std::uint32_t state;
  };

  event::Loop& loop_;
  const Export& disk_;
  const std::vector<Context>& contexts_;
  std::vector<std::vector<Extent>> extents_;  // of each context
};

}  // namespace doppel::nbd
