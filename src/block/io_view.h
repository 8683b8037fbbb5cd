// Host memory in pieces, and parts of it, without copying anything.
#pragma once

#include <sys/uio.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <span>
#include <vector>

namespace doppel::block {

/// The LENGTH bytes behind the first SKIP of some iovecs, or of one run of memory. A small value; what it views stays
/// the caller's and must outlive it. Reads fill it; writes only look at it.
class IoView {
 public:
  IoView(std::span<std::byte> bytes) : base_(bytes.data()), length_(bytes.size()) {}  // NOLINT: converts on purpose
  // A view does not know what it is for; who writes to disk from it does not change it.
  IoView(std::span<const std::byte> bytes)  // NOLINT: converts on purpose
      : base_(const_cast<std::byte*>(bytes.data())), length_(bytes.size()) {}
  explicit IoView(std::span<const iovec> pieces) : pieces_(pieces.data()) {
    for (const iovec& piece : pieces) length_ += piece.iov_len;
  }

  [[nodiscard]] std::size_t size() const { return length_; }

  /// offset + length <= size().
  [[nodiscard]] IoView slice(std::size_t offset, std::size_t length) const {
    IoView part = *this;
    part.skip_ += offset;
    part.length_ = length;
    return part;
  }

  /// Calls PART(data, size) for each run of memory, in order.
  template <class Part>
  void for_each(Part part) const {
    if (pieces_ == nullptr) {
      if (length_ > 0) part(base_ + skip_, length_);
      return;
    }
    std::size_t skip = skip_;
    std::size_t left = length_;
    for (const iovec* piece = pieces_; left > 0; ++piece) {
      if (skip >= piece->iov_len) {
        skip -= piece->iov_len;
        continue;
      }
      const std::size_t size = std::min(piece->iov_len - skip, left);
      part(static_cast<std::byte*>(piece->iov_base) + skip, size);
      left -= size;
      skip = 0;
    }
  }

  /// All of it, if it is one run of memory; else empty.
  [[nodiscard]] std::span<const std::byte> run() const {
    std::span<const std::byte> first;
    for_each([&](const std::byte* data, std::size_t size) {
      if (first.empty()) first = {data, size};
    });
    return first.size() == length_ ? first : std::span<const std::byte>();
  }
  [[nodiscard]] std::vector<iovec> pieces() const {
    std::vector<iovec> list;
    for_each([&](std::byte* data, std::size_t size) { list.push_back({data, size}); });
    return list;
  }
  void copy_to(std::byte* to) const {
    for_each([&](const std::byte* data, std::size_t size) {
      std::memcpy(to, data, size);
      to += size;
    });
  }
  void copy_from(const std::byte* from) const {
    for_each([&](std::byte* data, std::size_t size) {
      std::memcpy(data, from, size);
      from += size;
    });
  }
  void clear() const {
    for_each([](std::byte* data, std::size_t size) { std::memset(data, 0, size); });
  }

 private:
  std::byte* base_ = nullptr;  // where pieces_ is null
  const iovec* pieces_ = nullptr;
  std::size_t skip_ = 0;
  std::size_t length_ = 0;
};

}  // namespace doppel::block
