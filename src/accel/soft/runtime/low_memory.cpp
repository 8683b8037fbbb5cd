#include "accel/soft/runtime/low_memory.h"

#include <sys/mman.h>

namespace doppel::accel::soft {

void* map_low(std::size_t size) {
  constexpr int kFlags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
  void* place = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, kFlags | MAP_32BIT, -1, 0);
  if (place == MAP_FAILED) place = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, kFlags, -1, 0);
  if (place == MAP_FAILED) throw std::bad_alloc();
  return place;
}

void unmap_low(void* place, std::size_t size) noexcept {
  ::munmap(place, size);
}

void clear_low(void* place, std::size_t size) noexcept {
  ::madvise(place, size, MADV_DONTNEED);
}

}  // namespace doppel::accel::soft
