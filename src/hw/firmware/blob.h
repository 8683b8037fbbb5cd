// Bytes that several owners share without copying: kernels, initial RAM disks, firmware images, generated tables.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/endian.h"
#include "base/error.h"

namespace doppel::hw {

using Bytes = std::vector<std::byte>;

/// Immutable bytes with shared ownership; copying one copies a pointer. Safe to read from any thread.
class Blob {
 public:
  Blob() = default;
  Blob(Bytes bytes)  // NOLINT: converts on purpose
      : Blob(std::make_shared<const Bytes>(std::move(bytes))) {}
  /// A file's bytes at VIEW, mapped for as long as OWNER lives.
  Blob(std::shared_ptr<const void> owner, std::span<const std::byte> view)
      : owner_(std::move(owner)), view_(view), is_mapped_(true) {}

  [[nodiscard]] std::span<const std::byte> bytes() const { return view_; }
  [[nodiscard]] std::size_t size() const { return view_.size(); }
  [[nodiscard]] bool empty() const { return view_.empty(); }

  /// The part [OFFSET, OFFSET + LENGTH), cut to what there is.
  [[nodiscard]] Blob slice(std::uint64_t offset, std::uint64_t length = ~std::uint64_t{0}) const;

  /// The little-endian T at OFFSET, if it lies inside: the one way loaders look at files they do not trust.
  template <std::unsigned_integral T>
  [[nodiscard]] std::optional<T> get(std::uint64_t offset) const {
    if (offset > view_.size() || view_.size() - offset < sizeof(T)) return std::nullopt;
    return load_le<T>(view_.data() + offset);
  }
  /// The same, with 0 standing for what the file lacks.
  template <std::unsigned_integral T>
  [[nodiscard]] T get_or_zero(std::uint64_t offset) const {
    return get<T>(offset).value_or(T{0});
  }
  /// Whether TEXT stands at OFFSET.
  [[nodiscard]] bool has_text(std::uint64_t offset, std::string_view text) const;

  /// The bytes are not needed for a while: a file's need not stay in memory, as they can be read again.
  void rest() const;

 private:
  explicit Blob(std::shared_ptr<const Bytes> bytes) : owner_(bytes), view_(*bytes) {}

  std::shared_ptr<const void> owner_;
  std::span<const std::byte> view_;
  bool is_mapped_ = false;
};

/// A whole file of at most MAX_SIZE bytes. A large one is mapped, so it must not be cut short as long as it is used; to
/// put another file in its place is fine.
Result<Blob> read_blob(const std::string& path, std::uint64_t max_size);

/// TEXT as bytes, with a terminating zero if asked for.
enum class Terminator : std::uint8_t { kNone, kZero };
Bytes text_bytes(std::string_view text, Terminator terminator = Terminator::kNone);

/// Little-endian VALUE as bytes: the form of most fw_cfg items.
template <std::unsigned_integral T>
Bytes le_bytes(T value) {
  Bytes bytes(sizeof(T));
  store_le(bytes.data(), value);
  return bytes;
}

/// Grows a byte string field by field, little-endian; table and structure builders are made of it.
class ByteWriter {
 public:
  template <std::unsigned_integral T>
  ByteWriter& put(T value) {
    const std::size_t at = bytes_.size();
    bytes_.resize(at + sizeof(T));
    store_le(bytes_.data() + at, value);
    return *this;
  }
  ByteWriter& u8(std::uint64_t value) { return put(static_cast<std::uint8_t>(value)); }
  ByteWriter& u16(std::uint64_t value) { return put(static_cast<std::uint16_t>(value)); }
  ByteWriter& u32(std::uint64_t value) { return put(static_cast<std::uint32_t>(value)); }
  ByteWriter& u64(std::uint64_t value) { return put(value); }
  ByteWriter& zeros(std::size_t count);
  ByteWriter& bytes(std::span<const std::byte> bytes);
  /// TEXT in exactly WIDTH bytes, cut or filled up with FILL.
  ByteWriter& text(std::string_view text, std::size_t width, char fill = '\0');

  template <std::unsigned_integral T>
  void patch(std::size_t offset, T value) {
    store_le(bytes_.data() + offset, value);
  }
  [[nodiscard]] std::size_t size() const { return bytes_.size(); }
  [[nodiscard]] const Bytes& view() const { return bytes_; }
  [[nodiscard]] Bytes take() { return std::move(bytes_); }

 private:
  Bytes bytes_;
};

/// What, added to the bytes' sum, makes it 0 modulo 256: the checksum of ACPI, SMBIOS and option ROMs.
std::uint8_t checksum_of(std::span<const std::byte> bytes);

}  // namespace doppel::hw
