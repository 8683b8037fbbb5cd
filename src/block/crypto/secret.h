// Passwords and keys by id, as -object secret gives them.
#pragma once

#include <map>
#include <string>

#include "base/error.h"
#include "block/option_texts.h"

namespace doppel::block {

/// Bytes that are overwritten before their memory is given back.
class SecretBytes {
 public:
  SecretBytes() = default;
  explicit SecretBytes(std::string bytes) : bytes_(std::move(bytes)) {}
  SecretBytes(const SecretBytes&) = default;
  SecretBytes(SecretBytes&& other) noexcept : bytes_(other.bytes_) { other.wipe(); }
  SecretBytes& operator=(SecretBytes other) noexcept {
    wipe();
    bytes_ = other.bytes_;
    return *this;
  }
  ~SecretBytes() { wipe(); }

  [[nodiscard]] const std::string& bytes() const { return bytes_; }

 private:
  void wipe() noexcept;
  std::string bytes_;
};

class SecretSet {
 public:
  /// OPTIONS: data or file, format (raw or base64), and for one that is itself encrypted (AES-256-CBC, as libvirt hands
  /// them over) keyid, of a secret before, and iv. Other names are refused.
  Result<> add(const std::string& id, const OptionTexts& options);
  /// An unknown id is an error that names the nearest.
  [[nodiscard]] Result<SecretBytes> find(std::string_view id) const;

 private:
  std::map<std::string, SecretBytes, std::less<>> secrets_;
};

}  // namespace doppel::block
