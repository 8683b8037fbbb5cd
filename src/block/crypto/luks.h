// LUKS version 1: a header with eight places for passwords, any of which gives the key of the data behind it. "LUKS1
// On-Disk Format Specification".
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "block/crypto/secret.h"
#include "block/crypto/sector_cipher.h"
#include "block/node.h"

namespace doppel::block {

struct LuksSlot {
  bool active = false;
  std::uint32_t iterations = 0;
  std::array<std::byte, 32> salt{};
  std::uint32_t offset = 0;  // of the key's material, in sectors
  std::uint32_t stripes = 0;
};

struct LuksHeader {
  static constexpr std::size_t kSlots = 8;
  static constexpr std::uint32_t kStripes = 4000;

  std::string cipher;         // "aes"
  std::string mode;           // "xts-plain64"
  std::string hash;           // "sha256"
  std::uint32_t payload = 0;  // where the data begins, in sectors
  std::uint32_t key_bytes = 0;
  std::array<std::byte, 20> digest{};  // of the master key
  std::array<std::byte, 32> digest_salt{};
  std::uint32_t digest_iterations = 0;
  std::string uuid;
  std::array<LuksSlot, kSlots> slots{};

  [[nodiscard]] std::uint64_t payload_bytes() const { return std::uint64_t{payload} * SectorCipher::kSector; }
};

/// What a new one is to be like, by QEMU's names.
struct LuksOptions {
  std::string cipher = "aes-256";
  std::string mode = "xts";
  std::string numbering = "plain64";  // ivgen-alg
  std::string numbering_hash{};       // ivgen-hash-alg
  std::string hash = "sha256";
  std::uint64_t iteration_ms = 2000;  // how long a guess of a password shall take
};

/// The header that is at OFFSET of FILE, with every field checked.
Task<Result<LuksHeader>> read_luks(Node& file, std::uint64_t offset);
/// How many bytes are in front of the data of a new one.
Result<std::uint64_t> luks_overhead(const LuksOptions& options);
/// A new header with PASSWORD in its first slot. Takes as long as OPTIONS say, on the calling thread.
Task<Result<LuksHeader>> create_luks(Node& file, std::uint64_t offset, const LuksOptions& options,
                                     const SecretBytes& password);
/// The cipher of the data, by PASSWORD; kPermissionDenied if it is in no slot.
Task<Result<SectorCipher>> unlock_luks(Node& file, std::uint64_t offset, const LuksHeader& header,
                                       const SecretBytes& password);

/// How the passwords of one that exists are to change, by QEMU's names.
struct LuksChange {
  bool activate = true;                       // state
  std::optional<SecretBytes> new_password{};  // to activate a slot with
  std::optional<SecretBytes> old_password{};  // every slot that it opens is deactivated
  std::optional<std::uint64_t> slot{};        // keyslot; the first free one is activated without
  std::optional<std::uint64_t> iteration_ms{};
  bool force = false;  // an active slot may be replaced, and the last one deactivated
};

/// Changes HEADER and FILE; PASSWORD is one of those that it has, for activating. A crash in between leaves every
/// password valid that neither goes nor comes.
Task<Result<>> change_luks(Node& file, std::uint64_t offset, LuksHeader& header,
                           const std::optional<SecretBytes>& password, const LuksChange& change);

/// An image with passwords that can be changed.
class PasswordHolder {
 public:
  virtual ~PasswordHolder() = default;
  /// Of change_luks(). Nothing else may be under way.
  virtual Task<Result<>> change_passwords(const std::optional<SecretBytes>& password, const LuksChange& change) = 0;
};

/// What `doppel-img info` tells of HEADER.
FormatDetails luks_details(const LuksHeader& header);

}  // namespace doppel::block
