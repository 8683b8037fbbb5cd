// The list of internal snapshots. qcow2's specification, "Snapshots".
#pragma once

#include <cstdint>
#include <vector>

#include "block/node.h"
#include "block/qcow2/header.h"

namespace doppel::block::qcow2 {

struct Snapshot {
  SnapshotInfo info;
  std::uint64_t l1_offset = 0;
  std::uint32_t l1_entries = 0;
  std::vector<std::byte> unknown_extra{};  // of its extra data, behind what is known
};

struct SnapshotTable {
  std::vector<Snapshot> snapshots;
  std::uint64_t bytes = 0;  // what the table takes up
};

/// Reads and checks all that HEADER announces.
Task<Result<SnapshotTable>> read_snapshots(Node& file, const Header& header);
Result<std::vector<std::byte>> encode_snapshots(const std::vector<Snapshot>& snapshots);

}  // namespace doppel::block::qcow2
