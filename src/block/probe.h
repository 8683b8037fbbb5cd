// Which format an image is in, by its first bytes.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

namespace doppel::block {

/// As much of an image's beginning as any format's mark lies in.
inline constexpr std::size_t kProbeSize = 512;

/// A format's name in QEMU's spelling; "raw" if HEAD, the first bytes of an image, is marked as nothing else.
std::string_view probe_format(std::span<const std::byte> head);

}  // namespace doppel::block
