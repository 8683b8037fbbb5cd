// Pages that the kernel shares with us through a descriptor.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <utility>

#include "base/error.h"

namespace doppel::accel::kvm {

class MappedPages {
 public:
  MappedPages() = default;
  MappedPages(MappedPages&& other) noexcept
      : start_(std::exchange(other.start_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  MappedPages& operator=(MappedPages&& other) noexcept {
    std::swap(start_, other.start_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~MappedPages() {
    if (start_ != nullptr) ::munmap(start_, size_);
  }

  /// SIZE and OFFSET in bytes.
  static Result<MappedPages> map(int fd, std::size_t size, std::size_t offset) {
    void* start = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, static_cast<off_t>(offset));
    if (start == MAP_FAILED) return fail_errno("cannot map {} bytes shared with KVM", size);
    return MappedPages(start, size);
  }

  template <class T>
  [[nodiscard]] T* as() const {
    return static_cast<T*>(start_);
  }
  [[nodiscard]] bool mapped() const { return start_ != nullptr; }

 private:
  MappedPages(void* start, std::size_t size) : start_(start), size_(size) {}

  void* start_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace doppel::accel::kvm
