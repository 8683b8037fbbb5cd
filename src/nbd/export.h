// What the server offers its clients.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "block/node.h"

namespace doppel::nbd {

/// What a dirty bitmap said when the disk was opened: the bytes [first, second) of each, in order, none touching the
/// next.
struct DirtyRanges {
  std::string name;
  std::vector<std::pair<std::uint64_t, std::uint64_t>> ranges{};
};

/// A disk under a name.
struct Export {
  std::string name{};
  std::string description{};
  block::Node* node = nullptr;  // the caller's; outlives the server
  bool read_only = false;
  bool write_through = false;                   // every write is followed by a flush
  bool discard = false;                         // trims reach the node, and zeroes may unmap
  bool allocation_depth = false;                // offers the context qemu:allocation-depth
  std::shared_ptr<const DirtyRanges> bitmap{};  // offers the context qemu:dirty-bitmap:NAME; null: none
  bool many_clients = true;                     // clients are told that they may open several connections
};

/// The contexts of block status that one client has chosen, with the numbers its replies carry.
enum class Context : std::uint32_t { kBaseAllocation = 1, kAllocationDepth = 2, kDirtyBitmap = 3 };

/// How one client uses one export from the end of the negotiation on.
struct Agreement {
  const Export* disk = nullptr;
  bool structured = false;
  std::vector<Context> contexts{};
};

/// The export's transmission flags, for a client with or without structured replies.
std::uint16_t transmission_flags(const Export& disk, bool structured);

}  // namespace doppel::nbd
