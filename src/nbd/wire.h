// Messages, byte by byte: put together, and taken apart without ever looking behind their end.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/endian.h"

namespace doppel::nbd {

class WireWriter {
 public:
  template <class T>
  WireWriter& put(T value) {
    const std::size_t at = bytes_.size();
    bytes_.resize(at + sizeof value);
    store_be(bytes_.data() + at, value);
    return *this;
  }
  WireWriter& text(std::string_view text) {
    const auto bytes = std::as_bytes(std::span(text));
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
    return *this;
  }
  WireWriter& zeroes(std::size_t count) {
    bytes_.resize(bytes_.size() + count);
    return *this;
  }
  [[nodiscard]] const std::vector<std::byte>& bytes() const { return bytes_; }
  [[nodiscard]] std::vector<std::byte> take() && { return std::move(bytes_); }

 private:
  std::vector<std::byte> bytes_;
};

class WireReader {
 public:
  explicit WireReader(std::span<const std::byte> bytes) : left_(bytes) {}

  template <class T>
  std::optional<T> take() {
    if (left_.size() < sizeof(T)) return std::nullopt;
    const T value = load_be<T>(left_.data());
    left_ = left_.subspan(sizeof(T));
    return value;
  }
  std::optional<std::string_view> text(std::size_t length) {
    if (left_.size() < length) return std::nullopt;
    const std::string_view text(reinterpret_cast<const char*>(left_.data()), length);
    left_ = left_.subspan(length);
    return text;
  }
  /// A text with its length in 32 bits in front.
  std::optional<std::string_view> counted_text() {
    const auto length = take<std::uint32_t>();
    return length ? text(*length) : std::nullopt;
  }
  [[nodiscard]] bool at_end() const { return left_.empty(); }

 private:
  std::span<const std::byte> left_;
};

}  // namespace doppel::nbd
