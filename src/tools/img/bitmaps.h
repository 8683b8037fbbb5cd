// What several commands do with bitmaps.
#pragma once

#include "tools/img/session.h"

namespace doppel::img {

/// As QEMU chooses it for an image with clusters of that size.
std::uint64_t default_granularity(std::uint64_t cluster_size);

/// The qcow2 image that IMAGE is, or an error that names its format.
Result<block::qcow2::Image*> image_with_bitmaps(const OpenImage& image);

/// Into TARGET, under the same names, all bitmaps of SOURCE but inconsistent ones, which are an error unless
/// SKIP_BROKEN: then a warning.
enum class Broken : std::uint8_t { kRefuse, kSkip };
Result<> check_copied_bitmaps(const OpenImage& source, Broken broken);
Result<> copy_bitmaps(Session& session, const OpenImage& source, const OpenImage& target);

/// What the bitmaps of SOURCE will take in an image with clusters of that size.
std::uint64_t bitmaps_size(const block::qcow2::Image& source, std::uint64_t cluster_size);

}  // namespace doppel::img
