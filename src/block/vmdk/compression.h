// Compressed grains: zlib streams (RFC 1950).
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "base/error.h"

namespace doppel::block::vmdk {

/// What there is of a grain in FROM; the rest of TO becomes zeroes.
Result<> inflate_grain(std::span<const std::byte> from, std::span<std::byte> to);
Result<std::vector<std::byte>> deflate_grain(std::span<const std::byte> from);

}  // namespace doppel::block::vmdk
