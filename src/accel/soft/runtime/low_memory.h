// Objects below 2 GiB, where generated code reaches them by an absolute 32-bit address without a register of its own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <utility>

namespace doppel::accel::soft {

/// Zeroed pages; below 2 GiB if there is room, which is_low() tells. Throws std::bad_alloc.
[[nodiscard]] void* map_low(std::size_t size);
void unmap_low(void* place, std::size_t size) noexcept;
/// Zeroed pages again, and none of the host's memory used for them.
void clear_low(void* place, std::size_t size) noexcept;

template <class T>
struct LowDelete {
  void operator()(T* object) const noexcept {
    object->~T();
    unmap_low(object, sizeof(T));
  }
};
template <class T>
using LowPointer = std::unique_ptr<T, LowDelete<T>>;

template <class T, class... Arguments>
[[nodiscard]] LowPointer<T> make_low(Arguments&&... arguments) {
  void* const place = map_low(sizeof(T));
  try {
    return LowPointer<T>(new (place) T(std::forward<Arguments>(arguments)...));
  } catch (...) {
    unmap_low(place, sizeof(T));
    throw;
  }
}

/// Of an object from make_low() that is all zeros to begin with.
template <class T>
void clear_low(T& object) noexcept {
  clear_low(&object, sizeof object);
}

template <class T>
[[nodiscard]] bool is_low(const T& object) {
  return reinterpret_cast<std::uintptr_t>(&object) + sizeof(T) <= std::uintptr_t{1} << 31U;
}

}  // namespace doppel::accel::soft
