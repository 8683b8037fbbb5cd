// Encrypting sectors of 512 bytes, each by itself, with what dm-crypt calls "aes-xts-plain64" and its like.
#pragma once

#include <nettle/nettle-meta.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace doppel::block {

class SectorCipher {
 public:
  static constexpr std::size_t kSector = 512;

  /// NAME: aes, serpent or twofish. MODE: xts or cbc, with plain, plain64 or essiv:HASH, or ecb. KEY decides the
  /// variant; xts takes two in a row.
  static Result<SectorCipher> create(std::string_view name, std::string_view mode, std::span<const std::byte> key);

  /// Whole sectors, in place; SECTOR is the number of the first.
  void encrypt(std::uint64_t sector, std::span<std::byte> bytes) const;
  void decrypt(std::uint64_t sector, std::span<std::byte> bytes) const;

 private:
  enum class Chaining : std::uint8_t { kEcb, kCbc, kXts };
  enum class Numbering : std::uint8_t { kPlain, kPlain64, kEssiv };
  using Schedule = std::vector<std::uint64_t>;  // a context of nettle's
  static constexpr std::size_t kBlock = 16;

  [[nodiscard]] std::array<std::uint8_t, kBlock> vector_of(std::uint64_t sector) const;

  const nettle_cipher* cipher_ = nullptr;
  const nettle_cipher* essiv_cipher_ = nullptr;
  Chaining chaining_ = Chaining::kXts;
  Numbering numbering_ = Numbering::kPlain64;
  Schedule encrypting_;
  Schedule decrypting_;
  Schedule tweaking_;  // xts's second key
  Schedule essiv_;
};

}  // namespace doppel::block
