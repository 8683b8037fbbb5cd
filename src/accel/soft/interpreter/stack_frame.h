// What a call, a gate or an event pushes, on the current stack or on an inner level's, all or nothing.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "accel/soft/interpreter/cpu.h"

namespace doppel::accel::soft {

class StackFrame {
 public:
  /// On the stack in force.
  explicit StackFrame(const Cpu& cpu);
  /// On another one, for code of privilege LEVEL; faults name SEGMENT's selector.
  StackFrame(const x86::Segment& segment, std::uint64_t pointer, std::uint8_t level);
  /// In 64-bit mode, whatever mode is left.
  StackFrame(std::uint64_t pointer, std::uint8_t level);

  /// SIZE is 2, 4 or 8 bytes. Nothing is stored before write().
  void push(unsigned size, std::uint64_t value);
  /// #SS if it does not fit, #PF; else it is stored.
  void write(Cpu& cpu) const;
  /// What RSP then is.
  [[nodiscard]] std::uint64_t pointer() const { return pointer_; }

 private:
  struct Item {
    std::uint64_t offset;
    std::uint64_t value;
    unsigned size;
  };
  static constexpr std::size_t kMost = 40;  // 31 parameters and what surrounds them

  [[nodiscard]] std::uint64_t linear(const Cpu& cpu, const Item& item) const;

  x86::Segment segment_;
  std::uint64_t pointer_;
  std::uint64_t mask_;
  std::uint32_t error_code_ = 0;
  std::uint8_t level_;
  bool is_flat_;  // 64-bit mode
  std::size_t count_ = 0;
  std::array<Item, kMost> items_;  // COUNT_ of them hold something
};

}  // namespace doppel::accel::soft
