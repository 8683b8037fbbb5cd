#include "block/crypto/digest.h"

#include <nettle/hmac.h>
#include <nettle/nettle-meta.h>
#include <nettle/pbkdf2.h>
#include <sys/random.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>

#include "base/text.h"

namespace doppel::block {
namespace {

struct Password {
  std::string_view text;
  std::span<const std::byte> salt;
  std::uint32_t iterations;
  std::span<std::byte> key;
};

const std::uint8_t* octets(const void* data) {
  return static_cast<const std::uint8_t*>(data);
}

template <class State, auto SetKey, auto Update, auto Digest, std::size_t Size>
void pbkdf2_with(const Password& password) {
  State state{};
  SetKey(&state, password.text.size(), octets(password.text.data()));
  ::nettle_pbkdf2(
      &state,
      [](void* context, std::size_t length, const std::uint8_t* data) {
        Update(static_cast<State*>(context), length, data);
      },
      [](void* context, std::size_t length, std::uint8_t* to) { Digest(static_cast<State*>(context), length, to); },
      Size, password.iterations, password.salt.size(), octets(password.salt.data()), password.key.size(),
      reinterpret_cast<std::uint8_t*>(password.key.data()));
}

struct Row {
  std::string_view name;
  const nettle_hash* hash;
  void (*pbkdf2)(const Password& password);
};

const std::array kRows = {
    Row{"sha1", &nettle_sha1,
        pbkdf2_with<hmac_sha1_ctx, nettle_hmac_sha1_set_key, nettle_hmac_sha1_update, nettle_hmac_sha1_digest, 20>},
    Row{"sha224", &nettle_sha224,
        pbkdf2_with<hmac_sha224_ctx, nettle_hmac_sha224_set_key, nettle_hmac_sha256_update, nettle_hmac_sha224_digest,
                    28>},
    Row{"sha256", &nettle_sha256,
        pbkdf2_with<hmac_sha256_ctx, nettle_hmac_sha256_set_key, nettle_hmac_sha256_update, nettle_hmac_sha256_digest,
                    32>},
    Row{"sha384", &nettle_sha384,
        pbkdf2_with<hmac_sha384_ctx, nettle_hmac_sha384_set_key, nettle_hmac_sha512_update, nettle_hmac_sha384_digest,
                    48>},
    Row{"sha512", &nettle_sha512,
        pbkdf2_with<hmac_sha512_ctx, nettle_hmac_sha512_set_key, nettle_hmac_sha512_update, nettle_hmac_sha512_digest,
                    64>},
    Row{"ripemd160", &nettle_ripemd160,
        pbkdf2_with<hmac_ripemd160_ctx, nettle_hmac_ripemd160_set_key, nettle_hmac_ripemd160_update,
                    nettle_hmac_ripemd160_digest, 20>},
};

Result<const Row*> find_row(std::string_view name) {
  NearestName nearest(name);
  for (const Row& row : kRows) {
    if (row.name == name) return &row;
    nearest.offer(row.name);
  }
  return fail(ErrorKind::kUnsupported, "there is no hash '{}'{}", name, nearest.suggestion());
}

}  // namespace

Result<const nettle_hash*> find_hash(std::string_view name) {
  DOPPEL_ASSIGN(const Row* row, find_row(name));
  return row->hash;
}

std::vector<std::byte> digest(const nettle_hash& hash, std::span<const std::byte> first,
                              std::span<const std::byte> second) {
  std::vector<std::uint64_t> context((hash.context_size + 7) / 8);
  std::vector<std::byte> result(hash.digest_size);
  hash.init(context.data());
  hash.update(context.data(), first.size(), octets(first.data()));
  hash.update(context.data(), second.size(), octets(second.data()));
  hash.digest(context.data(), result.size(), reinterpret_cast<std::uint8_t*>(result.data()));
  return result;
}

Result<> derive_key(std::string_view hash, std::string_view password, std::span<const std::byte> salt,
                    std::uint32_t iterations, std::span<std::byte> key) {
  DOPPEL_ASSIGN(const Row* row, find_row(hash));
  row->pbkdf2({password, salt, std::max(iterations, 1U), key});
  return {};
}

Result<std::uint64_t> iterations_in(std::string_view hash, std::size_t key_bytes, std::uint64_t milliseconds) {
  constexpr double kLongEnough = 0.05;  // seconds
  std::vector<std::byte> key(key_bytes);
  const std::array<std::byte, 32> salt{};
  for (std::uint32_t iterations = 4096;; iterations *= 2) {
    const auto begin = std::chrono::steady_clock::now();
    DOPPEL_TRY(derive_key(hash, "password", salt, iterations, key));
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begin;
    if (taken.count() < kLongEnough && iterations < (1U << 24)) continue;
    return static_cast<std::uint64_t>(iterations / taken.count() * static_cast<double>(milliseconds) / 1000);
  }
}

void fill_randomly(std::span<std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t got = ::getrandom(bytes.data(), bytes.size(), 0);
    if (got > 0) bytes = bytes.subspan(static_cast<std::size_t>(got));
  }
}

}  // namespace doppel::block
