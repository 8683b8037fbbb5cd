#include "block/vmdk/compression.h"

#include <zlib.h>

#include <algorithm>

namespace doppel::block::vmdk {

Result<> inflate_grain(std::span<const std::byte> from, std::span<std::byte> to) {
  auto length = static_cast<uLongf>(to.size());
  const int status = uncompress(reinterpret_cast<Bytef*>(to.data()), &length,
                                reinterpret_cast<const Bytef*>(from.data()), static_cast<uLong>(from.size()));
  if (status != Z_OK) return fail(ErrorKind::kCorrupt, "a compressed grain is damaged");
  std::ranges::fill(to.subspan(length), std::byte{0});
  return {};
}

Result<std::vector<std::byte>> deflate_grain(std::span<const std::byte> from) {
  auto length = compressBound(static_cast<uLong>(from.size()));
  std::vector<std::byte> packed(length);
  const int status = compress(reinterpret_cast<Bytef*>(packed.data()), &length,
                              reinterpret_cast<const Bytef*>(from.data()), static_cast<uLong>(from.size()));
  if (status != Z_OK) return fail(ErrorKind::kNoSpace, "no memory to compress");
  packed.resize(length);
  return packed;
}

}  // namespace doppel::block::vmdk
