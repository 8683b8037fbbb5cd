// Compressing and decompressing single clusters: deflate without header in a 4 KiB window, or zstd.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <vector>

#include "block/qcow2/header.h"

namespace doppel::block::qcow2 {

/// Fills all of TO from the beginning of FROM, behind which anything may follow. Takes little memory, whatever FROM
/// says.
Result<> decompress(Compression type, std::span<const std::byte> from, std::span<std::byte> to);
/// Nothing, if the result would not be smaller than FROM.
std::optional<std::vector<std::byte>> compress(Compression type, std::span<const std::byte> from);

}  // namespace doppel::block::qcow2
