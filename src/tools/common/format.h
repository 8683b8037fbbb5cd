// Texts that several tools print as QEMU's do.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "block/node.h"

namespace doppel::tools {

/// "1.5 MiB": three digits.
std::string short_size(std::uint64_t bytes);
/// A line for each, behind INDENT spaces, to standard output.
void print_details(const block::FormatDetails& details, unsigned indent);
/// A table with a head and a line for each.
std::string snapshot_list(const std::vector<block::SnapshotInfo>& snapshots);

}  // namespace doppel::tools
