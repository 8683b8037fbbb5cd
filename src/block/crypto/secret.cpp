#include "block/crypto/secret.h"

#include <nettle/aes.h>
#include <nettle/base64.h>
#include <nettle/cbc.h>

#include <array>
#include <cstring>
#include <fstream>
#include <vector>

#include "base/text.h"

namespace doppel::block {
namespace {

constexpr std::size_t kMostBytes = 1 << 20;
constexpr std::size_t kBlock = 16;

Result<std::string> decode_base64(std::string_view what, const std::string& text) {
  base64_decode_ctx context{};
  ::base64_decode_init(&context);
  std::string bytes(BASE64_DECODE_LENGTH(text.size()), '\0');
  std::size_t length = bytes.size();
  const bool whole = ::base64_decode_update(&context, &length, reinterpret_cast<std::uint8_t*>(bytes.data()),
                                            text.size(), text.data()) == 1 &&
                     ::base64_decode_final(&context) == 1;
  if (!whole) return fail(ErrorKind::kInvalidArgument, "its {} is not valid base64", what);
  bytes.resize(length);
  return bytes;
}

Result<std::string> read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return fail_errno("cannot open '{}'", path);
  std::string bytes(kMostBytes + 1, '\0');
  file.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  bytes.resize(static_cast<std::size_t>(file.gcount()));
  if (file.bad()) return fail_errno("cannot read '{}'", path);
  if (bytes.size() > kMostBytes) return fail(ErrorKind::kOutOfRange, "'{}' has more than {} bytes", path, kMostBytes);
  return bytes;
}

/// AES-256-CBC with padding that tells its own length.
Result<std::string> decrypt(const std::string& data, const std::string& key, const std::string& iv) {
  if (key.size() != AES256_KEY_SIZE)
    return fail(ErrorKind::kInvalidArgument, "the secret that keyid names has {} bytes, not {}", key.size(),
                AES256_KEY_SIZE);
  if (iv.size() != kBlock) return fail(ErrorKind::kInvalidArgument, "its iv has {} bytes, not {}", iv.size(), kBlock);
  if (data.empty() || data.size() % kBlock != 0)
    return fail(ErrorKind::kInvalidArgument, "{} bytes of encrypted data are not whole blocks", data.size());
  std::array<std::uint8_t, kBlock> vector;
  std::memcpy(vector.data(), iv.data(), kBlock);
  aes256_ctx context{};
  ::aes256_set_decrypt_key(&context, reinterpret_cast<const std::uint8_t*>(key.data()));
  std::string plain(data.size(), '\0');
  ::cbc_decrypt(&context, reinterpret_cast<nettle_cipher_func*>(&::aes256_decrypt), kBlock, vector.data(), data.size(),
                reinterpret_cast<std::uint8_t*>(plain.data()), reinterpret_cast<const std::uint8_t*>(data.data()));
  const auto padding = static_cast<unsigned char>(plain.back());
  if (padding == 0 || padding > kBlock)
    return fail(ErrorKind::kInvalidArgument, "its encrypted data does not fit the key that keyid names");
  plain.resize(plain.size() - padding);
  return plain;
}

Result<> check_names(const OptionTexts& options) {
  constexpr auto kNames = std::to_array<std::string_view>({"data", "file", "format", "keyid", "iv"});
  for (const auto& [name, value] : options) {
    NearestName nearest(name);
    bool known = false;
    for (const std::string_view row : kNames) {
      known = known || row == name;
      nearest.offer(row);
    }
    if (!known) return fail(ErrorKind::kNotFound, "a secret has no option '{}'{}", name, nearest.suggestion());
  }
  return {};
}

std::string text_of(const OptionTexts& options, std::string_view name) {
  const auto found = options.find(name);
  return found == options.end() ? "" : found->second;
}

}  // namespace

void SecretBytes::wipe() noexcept {
  ::explicit_bzero(bytes_.data(), bytes_.size());
  bytes_.clear();
}

Result<> SecretSet::add(const std::string& id, const OptionTexts& options) {
  DOPPEL_TRY(check_names(options));
  if (secrets_.contains(id)) return fail(ErrorKind::kAlreadyExists, "the id '{}' is taken by another secret", id);
  if (options.contains("data") == options.contains("file"))
    return fail(ErrorKind::kInvalidArgument, "secret '{}' needs either data or file", id);
  const std::string format = text_of(options, "format");
  if (!format.empty() && format != "raw" && format != "base64")
    return fail(ErrorKind::kInvalidArgument, "a secret's format is raw or base64, not '{}'", format);
  std::string bytes = text_of(options, "data");
  const auto in_secret = [&](Error error) {
    return std::unexpected(std::move(error).wrap(fmt::format("secret '{}'", id)));
  };
  if (options.contains("file")) {
    auto read = read_file(text_of(options, "file"));
    if (!read) return in_secret(std::move(read).error());
    bytes = std::move(*read);
  }
  const bool encrypted = options.contains("keyid");
  if (format == "base64" || encrypted) {
    auto decoded = decode_base64("data", bytes);
    if (!decoded) return in_secret(std::move(decoded).error());
    bytes = std::move(*decoded);
  }
  if (encrypted) {
    auto key = find(text_of(options, "keyid"));
    if (!key) return in_secret(std::move(key).error());
    auto iv = decode_base64("iv", text_of(options, "iv"));
    if (!iv) return in_secret(std::move(iv).error());
    auto plain = decrypt(bytes, key->bytes(), *iv);
    if (!plain) return in_secret(std::move(plain).error());
    bytes = std::move(*plain);
  } else if (options.contains("iv")) {
    return fail(ErrorKind::kInvalidArgument, "secret '{}' has an iv but no keyid", id);
  }
  secrets_.emplace(id, SecretBytes(std::move(bytes)));
  return {};
}

Result<SecretBytes> SecretSet::find(std::string_view id) const {
  if (const auto found = secrets_.find(id); found != secrets_.end()) return found->second;
  NearestName nearest(id);
  for (const auto& [known, bytes] : secrets_) nearest.offer(known);
  return fail(ErrorKind::kNotFound, "there is no secret '{}'{}; add '-object secret,id={},file=FILE'", id,
              nearest.suggestion(), id);
}

}  // namespace doppel::block
