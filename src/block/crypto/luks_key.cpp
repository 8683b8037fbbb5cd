#include "block/crypto/luks_key.h"

#include <algorithm>

#include "base/bits.h"
#include "base/endian.h"
#include "block/crypto/digest.h"

namespace doppel::block {
namespace {

// ---- The anti-forensic splitter (the specification's section 2.4): a key spread over so many bytes that some of them
// are surely overwritten

/// Each piece as long as a digest becomes the digest of its number and itself.
void diffuse(const nettle_hash& hash, std::span<std::byte> block, std::size_t digest_size) {
  for (std::uint32_t number = 0; !block.empty(); ++number) {
    const std::span<std::byte> piece = block.first(std::min(digest_size, block.size()));
    std::array<std::byte, 4> prefix;
    store_be(prefix.data(), number);
    const auto result = digest(hash, prefix, piece);
    std::copy_n(result.begin(), piece.size(), piece.begin());
    block = block.subspan(piece.size());
  }
}

/// All stripes of MATERIAL but the last, mixed.
std::vector<std::byte> mix(const nettle_hash& hash, std::span<const std::byte> material, std::size_t key_bytes) {
  const std::size_t digest_size = digest(hash, {}).size();
  std::vector<std::byte> mixed(key_bytes);
  for (std::size_t stripe = 0; stripe + 1 < LuksHeader::kStripes; ++stripe) {
    for (std::size_t i = 0; i < key_bytes; ++i) mixed[i] ^= material[stripe * key_bytes + i];
    diffuse(hash, mixed, digest_size);
  }
  return mixed;
}

std::vector<std::byte> split_key(const nettle_hash& hash, std::span<const std::byte> key) {
  std::vector<std::byte> material(key.size() * LuksHeader::kStripes);
  fill_randomly(material);
  const std::vector<std::byte> mixed = mix(hash, material, key.size());
  std::byte* last = material.data() + (LuksHeader::kStripes - 1) * key.size();
  for (std::size_t i = 0; i < key.size(); ++i) last[i] = mixed[i] ^ key[i];
  return material;
}

std::vector<std::byte> merge_key(const nettle_hash& hash, std::span<const std::byte> material, std::size_t key_bytes) {
  std::vector<std::byte> key = mix(hash, material, key_bytes);
  const std::byte* last = material.data() + (LuksHeader::kStripes - 1) * key_bytes;
  for (std::size_t i = 0; i < key_bytes; ++i) key[i] ^= last[i];
  return key;
}

Result<SectorCipher> slot_cipher(const LuksHeader& header, const LuksSlot& slot, const SecretBytes& password) {
  std::vector<std::byte> key(header.key_bytes);
  DOPPEL_TRY(derive_key(header.hash, password.bytes(), slot.salt, slot.iterations, key));
  return SectorCipher::create(header.cipher, header.mode, key);
}

/// Where SLOT's material is in the file.
std::uint64_t place_of(std::uint64_t offset, const LuksSlot& slot) {
  return offset + std::uint64_t{slot.offset} * SectorCipher::kSector;
}

}  // namespace

std::uint64_t material_bytes(const LuksHeader& header) {
  return std::uint64_t{header.key_bytes} * LuksHeader::kStripes;
}

Result<std::array<std::byte, 20>> digest_of(const LuksHeader& header, std::span<const std::byte> key) {
  std::array<std::byte, 20> digest;
  const std::string_view text(reinterpret_cast<const char*>(key.data()), key.size());
  DOPPEL_TRY(derive_key(header.hash, text, header.digest_salt, header.digest_iterations, digest));
  return digest;
}

Task<Result<std::optional<std::vector<std::byte>>>> key_in_slot(Node& file, std::uint64_t offset,
                                                                const LuksHeader& header, const LuksSlot& slot,
                                                                const SecretBytes& password) {
  DOPPEL_CO_ASSIGN(const SectorCipher cipher, slot_cipher(header, slot, password));
  std::vector<std::byte> material(align_up(material_bytes(header), SectorCipher::kSector));
  const std::span<std::byte> all(material);
  DOPPEL_CO_TRY(co_await file.read(place_of(offset, slot), all));
  cipher.decrypt(0, material);
  DOPPEL_CO_ASSIGN(const nettle_hash* hash, find_hash(header.hash));
  std::vector<std::byte> key = merge_key(*hash, material, header.key_bytes);
  DOPPEL_CO_ASSIGN(const auto digest, digest_of(header, key));
  if (digest != header.digest) co_return std::nullopt;
  co_return key;
}

Task<Result<std::vector<std::byte>>> master_key(Node& file, std::uint64_t offset, const LuksHeader& header,
                                                const SecretBytes& password) {
  for (const LuksSlot& slot : header.slots) {
    if (!slot.active) continue;
    DOPPEL_CO_ASSIGN(auto key, co_await key_in_slot(file, offset, header, slot, password));
    if (key) co_return std::move(*key);
  }
  co_return fail(ErrorKind::kPermissionDenied, "the password is in none of the image's key slots");
}

Task<Result<>> write_slot(Node& file, std::uint64_t offset, LuksHeader& header, std::size_t index,
                          std::span<const std::byte> key, const SecretBytes& password, std::uint32_t iterations) {
  LuksSlot& slot = header.slots[index];
  slot.active = true;
  slot.iterations = iterations;
  fill_randomly(slot.salt);
  DOPPEL_CO_ASSIGN(const SectorCipher cipher, slot_cipher(header, slot, password));
  DOPPEL_CO_ASSIGN(const nettle_hash* hash, find_hash(header.hash));
  std::vector<std::byte> material = split_key(*hash, key);
  material.resize(align_up(material.size(), SectorCipher::kSector));
  cipher.encrypt(0, material);
  const std::span<const std::byte> all(material);
  co_return co_await file.write(place_of(offset, slot), all);
}

Task<Result<>> wipe_slot(Node& file, std::uint64_t offset, const LuksHeader& header, std::size_t index) {
  std::vector<std::byte> noise(align_up(material_bytes(header), SectorCipher::kSector));
  fill_randomly(noise);
  const std::span<const std::byte> all(noise);
  DOPPEL_CO_TRY(co_await file.write(place_of(offset, header.slots[index]), all));
  co_return co_await file.flush();
}

}  // namespace doppel::block
