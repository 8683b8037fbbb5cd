// Zeroed, page-aligned host memory for a tiny guest.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <span>

namespace doppel::test {

class HostMemory {
 public:
  explicit HostMemory(std::size_t size)
      : start_(::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)), size_(size) {
    if (start_ == MAP_FAILED) throw std::bad_alloc();
  }
  ~HostMemory() { ::munmap(start_, size_); }
  HostMemory(const HostMemory&) = delete;
  HostMemory& operator=(const HostMemory&) = delete;

  [[nodiscard]] std::byte* data() const { return static_cast<std::byte*>(start_); }
  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] std::span<std::byte> bytes() const { return {data(), size_}; }

  template <class T>
  [[nodiscard]] T read(std::uint64_t at) const {
    T value;
    std::memcpy(&value, data() + at, sizeof value);
    return value;
  }
  template <class T>
  void write(std::uint64_t at, T value) const {
    std::memcpy(data() + at, &value, sizeof value);
  }
  void write_bytes(std::uint64_t at, std::span<const std::uint8_t> bytes) const {
    std::memcpy(data() + at, bytes.data(), bytes.size());
  }

 private:
  void* start_;
  std::size_t size_;
};

}  // namespace doppel::test
