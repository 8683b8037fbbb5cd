// Numbers that no other image has.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <random>

namespace doppel::block {

using Uuid = std::array<std::byte, 16>;

inline std::uint32_t random_number() {
  std::random_device device;
  return static_cast<std::uint32_t>(device());
}

/// RFC 4122, version 4. LITTLE: the first three fields in little-endian order, as Microsoft's formats have them.
enum class UuidOrder : std::uint8_t { kBig, kLittle };
inline Uuid random_uuid(UuidOrder order = UuidOrder::kBig) {
  Uuid uuid;
  for (std::size_t i = 0; i < uuid.size(); ++i) uuid[i] = static_cast<std::byte>(random_number());
  std::byte& version = uuid[order == UuidOrder::kBig ? 6 : 7];
  version = (version & std::byte{0x0f}) | std::byte{0x40};
  uuid[8] = (uuid[8] & std::byte{0x3f}) | std::byte{0x80};
  return uuid;
}

}  // namespace doppel::block
