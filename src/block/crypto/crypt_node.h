// Encrypted bytes of another node, as what they mean.
#pragma once

#include <memory>
#include <optional>

#include "block/crypto/luks.h"
#include "block/crypto/sector_cipher.h"
#include "block/node.h"

namespace doppel::block {

/// Looks at BELOW from byte START on, whose first sector has number 0. Does not own it. Without a cipher, reading and
/// writing fail: who only looks at an image's tables needs no key.
class CryptNode final : public Node {
 public:
  CryptNode(Node& below, std::uint64_t start, std::optional<SectorCipher> cipher)
      : below_(below), start_(start), cipher_(std::move(cipher)) {}

  [[nodiscard]] std::uint64_t size() const override { return below_.size() - std::min(start_, below_.size()); }
  [[nodiscard]] bool read_only() const override { return below_.read_only(); }
  Task<Result<>> read(std::uint64_t offset, IoView to) override;
  Task<Result<>> write(std::uint64_t offset, IoView from) override;
  /// Zeroes are data like any.
  Task<Result<>> write_zeroes(std::uint64_t offset, std::uint64_t length, Unmap unmap) override;
  Task<Result<>> discard(std::uint64_t offset, std::uint64_t length) override {
    return below_.discard(start_ + offset, length);
  }
  Task<Result<>> flush() override { return below_.flush(); }
  Task<Result<BlockStatus>> block_status(std::uint64_t offset, std::uint64_t length) override;
  Task<Result<>> resize(std::uint64_t size, Preallocation preallocation) override {
    return below_.resize(start_ + size, preallocation);
  }
  void hurry() override { below_.hurry(); }
  void debug_event(std::string_view event) override { below_.debug_event(event); }
  [[nodiscard]] NodeInfo info() const override { return below_.info(); }

 private:
  Task<Result<>> write_sectors(std::uint64_t offset, IoView from);

  Node& below_;
  const std::uint64_t start_;
  const std::optional<SectorCipher> cipher_;
  Mutex sectors_;  // who replaces part of a sector holds it alone, other writers share it
};

/// The format `luks`.
class LuksNode final : public Node, public PasswordHolder {
 public:
  /// Without KEY only if METADATA_ONLY.
  static Task<Result<NodePtr>> open(NodePtr file, const std::optional<SecretBytes>& key, bool metadata_only);

  [[nodiscard]] std::uint64_t size() const override { return crypt_.size(); }
  [[nodiscard]] bool read_only() const override { return file_->read_only(); }
  Task<Result<>> read(std::uint64_t offset, IoView to) override { return crypt_.read(offset, to); }
  Task<Result<>> write(std::uint64_t offset, IoView from) override;
  Task<Result<>> write_zeroes(std::uint64_t offset, std::uint64_t length, Unmap unmap) override;
  Task<Result<>> discard(std::uint64_t /*offset*/, std::uint64_t /*length*/) override { co_return Result<>{}; }
  Task<Result<>> flush() override { return crypt_.flush(); }
  Task<Result<BlockStatus>> block_status(std::uint64_t offset, std::uint64_t length) override {
    return crypt_.block_status(offset, length);
  }
  Task<Result<>> resize(std::uint64_t size, Preallocation preallocation) override {
    return crypt_.resize(size, preallocation);
  }
  Task<Result<>> close() override { return file_->close(); }
  void hurry() override { file_->hurry(); }
  [[nodiscard]] NodeInfo info() const override;
  Task<Result<>> change_passwords(const std::optional<SecretBytes>& password, const LuksChange& change) override {
    return change_luks(*file_, 0, header_, password, change);
  }

 private:
  LuksNode(NodePtr file, LuksHeader header, std::optional<SectorCipher> cipher)
      : file_(std::move(file)),
        header_(std::move(header)),
        crypt_(*file_, header_.payload_bytes(), std::move(cipher)) {}

  [[nodiscard]] Result<> check_range(std::uint64_t offset, std::uint64_t length) const;

  NodePtr file_;
  LuksHeader header_;
  CryptNode crypt_;
};

/// The sentence for an encrypted image that nobody gave a key for; OPTION is where to say it.
std::unexpected<Error> key_is_missing(std::string_view option);

}  // namespace doppel::block
