// Memory for generated code, mapped twice: once to write, once to execute, never both through one address.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "base/error.h"

namespace doppel::accel::soft {

/// Behind a change of code through another linear address than it is executed at (SDM 3A 8.1.3).
void serialize_code();

/// Handed out from the bottom up and taken back all at once. One thread at a time.
class CodeMemory {
 public:
  /// CAPACITY in bytes; pages cost nothing until used.
  static Result<CodeMemory> create(std::size_t capacity);
  CodeMemory(CodeMemory&& other) noexcept { swap(other); }
  CodeMemory& operator=(CodeMemory&& other) noexcept {
    swap(other);
    return *this;
  }
  ~CodeMemory();

  /// Puts CODE, which must not care where it is, at the next 16-byte boundary and returns where it may be executed;
  /// null if there is no room.
  [[nodiscard]] const std::byte* append(std::span<const std::uint8_t> code);
  /// For generators that place code themselves instead: the same bytes, to be written and to be executed.
  [[nodiscard]] std::byte* writable() const { return writable_; }
  [[nodiscard]] const std::byte* executable() const { return executable_; }

  static constexpr std::size_t kHugePage = std::size_t{2} << 20U;  // bytes
  /// Asks for a huge page from offset AT on, a multiple of one's size: much code needs fewer of the host's TLB entries
  /// then. A host that has none to spare does nothing.
  void use_huge_page(std::size_t at) const;

  /// Forgets everything. No thread may be inside, and none may get there again.
  void clear();

  [[nodiscard]] std::size_t used() const { return used_; }
  [[nodiscard]] std::size_t capacity() const { return capacity_; }

 private:
  CodeMemory() = default;
  void swap(CodeMemory& other) noexcept {
    std::swap(writable_, other.writable_);
    std::swap(executable_, other.executable_);
    std::swap(capacity_, other.capacity_);
    std::swap(used_, other.used_);
  }

  std::byte* writable_ = nullptr;
  std::byte* executable_ = nullptr;
  std::size_t capacity_ = 0;
  std::size_t used_ = 0;
};

}  // namespace doppel::accel::soft
