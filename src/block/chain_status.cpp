#include "block/chain_status.h"

#include <algorithm>

namespace doppel::block {

Task<Result<ChainStatus>> chain_status(Node& top, const Node* base, std::uint64_t offset, std::uint64_t length) {
  ChainStatus found{.status = {}, .node = &top};
  for (Node* node = &top;; ++found.depth) {
    DOPPEL_CO_ASSIGN(found.status, co_await node->block_status(offset, length));
    found.node = node;
    length = std::min(length, found.status.bytes);
    const bool decided = found.status.allocated || found.status.zero;
    if (decided || node->backing() == nullptr || node->backing() == base) break;
    node = node->backing();
    length = std::min(length, node->size() - offset);  // not zero: or it would have said so
  }
  found.status.bytes = length;
  co_return found;
}

}  // namespace doppel::block
