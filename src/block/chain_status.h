// What a whole chain of images has at some offset.
#pragma once

#include <cstdint>
#include <vector>

#include "block/node.h"

namespace doppel::block {

struct ChainStatus {
  BlockStatus status;  // of the node that decides
  unsigned depth = 0;  // 0: the topmost image
  const Node* node = nullptr;
};

/// As far as one node decides, at most LENGTH > 0 bytes within the disk. Nodes from BASE on are not asked: what only
/// they would have is not allocated.
Task<Result<ChainStatus>> chain_status(Node& top, const Node* base, std::uint64_t offset, std::uint64_t length);

}  // namespace doppel::block
