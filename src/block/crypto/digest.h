// Hashes by LUKS's names, and keys from passwords.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/error.h"

struct nettle_hash;

namespace doppel::block {

/// sha1, sha256, sha512, ripemd160...
Result<const nettle_hash*> find_hash(std::string_view name);
std::vector<std::byte> digest(const nettle_hash& hash, std::span<const std::byte> first,
                              std::span<const std::byte> second = {});

/// PBKDF2 (RFC 8018) with HMAC of HASH.
Result<> derive_key(std::string_view hash, std::string_view password, std::span<const std::byte> salt,
                    std::uint32_t iterations, std::span<std::byte> key);
/// How many iterations this host does in MILLISECONDS.
Result<std::uint64_t> iterations_in(std::string_view hash, std::size_t key_bytes, std::uint64_t milliseconds);

/// From the host's source of random numbers.
void fill_randomly(std::span<std::byte> bytes);

}  // namespace doppel::block
