// The stack: RSP, ESP or SP, whichever the mode makes it, and accesses through it (SDM 1 6.2).
//
// Faults come out as #SS. A single push() or pop() changes the stack pointer after its access; whoever makes several
// uses StackCursor, whose commit() comes after the last of them.
#pragma once

#include <cstdint>

#include "accel/soft/interpreter/cpu.h"
#include "accel/soft/interpreter/register_offset.h"

namespace doppel::accel::soft {

/// Bytes of the stack pointer: 2, 4 or 8 (SDM 1 6.2.3).
inline unsigned stack_address_size(const Cpu& cpu) {
  return cpu.code_mode == CodeMode::kLong64 ? 8 : cpu.stack_is_32 ? 4 : 2;
}
/// What offsets into the stack wrap at.
inline std::uint64_t stack_mask(const Cpu& cpu) {
  return cpu.code_mode == CodeMode::kLong64 ? ~std::uint64_t{0} : cpu.stack_is_32 ? 0xffff'ffffU : 0xffffU;
}

inline std::uint64_t stack_pointer(const Cpu& cpu) {
  return cpu.gpr[x86::kRsp] & stack_mask(cpu);
}
/// A 16-bit stack pointer leaves the rest of the register alone. Also for RBP: see ENTER.
inline void set_by_stack_size(Cpu& cpu, RegisterOffset reg, std::uint64_t value) {
  if (cpu.code_mode == CodeMode::kLong64)
    cpu.set<std::uint64_t>(reg, value);
  else if (cpu.stack_is_32)
    cpu.set<std::uint32_t>(reg, static_cast<std::uint32_t>(value));
  else
    cpu.set<std::uint16_t>(reg, static_cast<std::uint16_t>(value));
}
inline void set_stack_pointer(Cpu& cpu, std::uint64_t value) {
  set_by_stack_size(cpu, kStackPointer, value);
}

template <class T>
void push(Cpu& cpu, T value) {
  const std::uint64_t offset = (cpu.gpr[x86::kRsp] - sizeof(T)) & stack_mask(cpu);
  cpu.store<T>(x86::kSs, offset, value);
  set_stack_pointer(cpu, offset);
}
/// What is DISTANCE bytes above the top of the stack.
template <class T>
[[nodiscard]] T peek(Cpu& cpu, std::uint64_t distance = 0) {
  return cpu.load<T>(x86::kSs, (cpu.gpr[x86::kRsp] + distance) & stack_mask(cpu));
}
/// Moves the stack pointer up by SIZE bytes.
inline void drop(Cpu& cpu, std::uint64_t size) {
  set_stack_pointer(cpu, cpu.gpr[x86::kRsp] + size);
}
template <class T>
[[nodiscard]] T pop(Cpu& cpu) {
  const T value = peek<T>(cpu);
  drop(cpu, sizeof(T));
  return value;
}

/// A stack pointer that moves ahead of the real one, for operations with several accesses. Sizes are 2, 4 or 8 bytes,
/// known at run time.
class StackCursor {
 public:
  explicit StackCursor(Cpu& cpu) : cpu_(cpu), mask_(stack_mask(cpu)), pointer_(stack_pointer(cpu)) {}

  [[nodiscard]] std::uint64_t pointer() const { return pointer_; }
  void move_to(std::uint64_t pointer) { pointer_ = pointer & mask_; }
  void skip(std::uint64_t size) { move_to(pointer_ + size); }

  void push(unsigned size, std::uint64_t value);
  [[nodiscard]] std::uint64_t pop(unsigned size);
  /// Faults as COUNT pushes of SIZE bytes would.
  void probe_pushes(unsigned size, unsigned count) const;
  void commit() const { set_stack_pointer(cpu_, pointer_); }

 private:
  Cpu& cpu_;
  std::uint64_t mask_;
  std::uint64_t pointer_;
};

}  // namespace doppel::accel::soft
