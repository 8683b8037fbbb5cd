#include "block/crypto/sector_cipher.h"

#include <nettle/cbc.h>
#include <nettle/xts.h>

#include <array>

#include "base/endian.h"
#include "base/text.h"
#include "block/crypto/digest.h"

namespace doppel::block {
namespace {

struct Row {
  std::string_view name;
  const nettle_cipher* cipher;
};
const std::array kCiphers = {
    Row{"aes", &nettle_aes128},         Row{"aes", &nettle_aes192},         Row{"aes", &nettle_aes256},
    Row{"serpent", &nettle_serpent128}, Row{"serpent", &nettle_serpent192}, Row{"serpent", &nettle_serpent256},
    Row{"twofish", &nettle_twofish128}, Row{"twofish", &nettle_twofish192}, Row{"twofish", &nettle_twofish256},
};

const std::uint8_t* octets(const std::byte* bytes) {
  return reinterpret_cast<const std::uint8_t*>(bytes);
}
std::uint8_t* octets(std::byte* bytes) {
  return reinterpret_cast<std::uint8_t*>(bytes);
}

Result<const nettle_cipher*> find_cipher(std::string_view name, std::size_t key_bytes) {
  bool known = false;
  for (const Row& row : kCiphers) {
    known = known || row.name == name;
    if (row.name == name && row.cipher->key_size == key_bytes) return row.cipher;
  }
  if (known) return fail(ErrorKind::kUnsupported, "{} has no keys of {} bits", name, key_bytes * 8);
  return fail(ErrorKind::kUnsupported, "the cipher '{}' is not known, only aes, serpent and twofish", name);
}

std::vector<std::uint64_t> schedule(const nettle_cipher& cipher, nettle_set_key_func* set_key,
                                    std::span<const std::byte> key) {
  std::vector<std::uint64_t> context((cipher.context_size + 7) / 8);
  set_key(context.data(), octets(key.data()));
  return context;
}

}  // namespace

Result<SectorCipher> SectorCipher::create(std::string_view name, std::string_view mode,
                                          std::span<const std::byte> key) {
  SectorCipher made;
  const std::string_view chaining = mode.substr(0, mode.find('-'));
  std::string_view numbering = chaining.size() < mode.size() ? mode.substr(chaining.size() + 1) : "";
  if (chaining == "xts")
    made.chaining_ = Chaining::kXts;
  else if (chaining == "cbc")
    made.chaining_ = Chaining::kCbc;
  else if (chaining == "ecb")
    made.chaining_ = Chaining::kEcb;
  else
    return fail(ErrorKind::kUnsupported, "the cipher mode '{}' is not known, only xts, cbc and ecb", mode);
  const std::size_t key_bytes = made.chaining_ == Chaining::kXts ? key.size() / 2 : key.size();
  DOPPEL_ASSIGN(made.cipher_, find_cipher(name, key_bytes));
  made.encrypting_ = schedule(*made.cipher_, made.cipher_->set_encrypt_key, key.first(key_bytes));
  made.decrypting_ = schedule(*made.cipher_, made.cipher_->set_decrypt_key, key.first(key_bytes));
  if (made.chaining_ == Chaining::kXts)
    made.tweaking_ = schedule(*made.cipher_, made.cipher_->set_encrypt_key, key.subspan(key_bytes, key_bytes));
  if (numbering == "plain" || (numbering.empty() && made.chaining_ == Chaining::kEcb)) {
    made.numbering_ = Numbering::kPlain;
  } else if (numbering == "plain64") {
    made.numbering_ = Numbering::kPlain64;
  } else if (numbering.starts_with("essiv:")) {
    made.numbering_ = Numbering::kEssiv;
    DOPPEL_ASSIGN(const nettle_hash* hash, find_hash(numbering.substr(6)));
    const std::vector<std::byte> salt = digest(*hash, key);
    DOPPEL_ASSIGN(made.essiv_cipher_, find_cipher(name, salt.size()));
    made.essiv_ = schedule(*made.essiv_cipher_, made.essiv_cipher_->set_encrypt_key, salt);
  } else {
    return fail(ErrorKind::kUnsupported, "the cipher mode '{}' is not known, only plain, plain64 and essiv:HASH", mode);
  }
  return made;
}

std::array<std::uint8_t, SectorCipher::kBlock> SectorCipher::vector_of(std::uint64_t sector) const {
  std::array<std::uint8_t, kBlock> vector{};
  if (numbering_ == Numbering::kPlain) sector = static_cast<std::uint32_t>(sector);
  store_le(reinterpret_cast<std::byte*>(vector.data()), sector);
  if (numbering_ == Numbering::kEssiv) essiv_cipher_->encrypt(essiv_.data(), kBlock, vector.data(), vector.data());
  return vector;
}

void SectorCipher::encrypt(std::uint64_t sector, std::span<std::byte> bytes) const {
  for (std::size_t at = 0; at < bytes.size(); at += kSector, ++sector) {
    auto vector = vector_of(sector);
    std::uint8_t* data = octets(bytes.data() + at);
    switch (chaining_) {
      case Chaining::kXts:
        ::xts_encrypt_message(encrypting_.data(), tweaking_.data(), cipher_->encrypt, vector.data(), kSector, data,
                              data);
        break;
      case Chaining::kCbc:
        ::cbc_encrypt(encrypting_.data(), cipher_->encrypt, kBlock, vector.data(), kSector, data, data);
        break;
      case Chaining::kEcb: cipher_->encrypt(encrypting_.data(), kSector, data, data); break;
    }
  }
}

void SectorCipher::decrypt(std::uint64_t sector, std::span<std::byte> bytes) const {
  for (std::size_t at = 0; at < bytes.size(); at += kSector, ++sector) {
    auto vector = vector_of(sector);
    std::uint8_t* data = octets(bytes.data() + at);
    switch (chaining_) {
      case Chaining::kXts:
        ::xts_decrypt_message(decrypting_.data(), tweaking_.data(), cipher_->decrypt, cipher_->encrypt, vector.data(),
                              kSector, data, data);
        break;
      case Chaining::kCbc:
        ::cbc_decrypt(decrypting_.data(), cipher_->decrypt, kBlock, vector.data(), kSector, data, data);
        break;
      case Chaining::kEcb: cipher_->decrypt(decrypting_.data(), kSector, data, data); break;
    }
  }
}

}  // namespace doppel::block
