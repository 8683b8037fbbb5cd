#include "accel/soft/interpreter/stack.h"

namespace doppel::accel::soft {

void StackCursor::push(unsigned size, std::uint64_t value) {
  const std::uint64_t offset = (pointer_ - size) & mask_;
  switch (size) {
    case 2: cpu_.store<std::uint16_t>(x86::kSs, offset, static_cast<std::uint16_t>(value)); break;
    case 4: cpu_.store<std::uint32_t>(x86::kSs, offset, static_cast<std::uint32_t>(value)); break;
    default: cpu_.store<std::uint64_t>(x86::kSs, offset, value); break;
  }
  pointer_ = offset;
}

std::uint64_t StackCursor::pop(unsigned size) {
  std::uint64_t value = 0;
  switch (size) {
    case 2: value = cpu_.load<std::uint16_t>(x86::kSs, pointer_); break;
    case 4: value = cpu_.load<std::uint32_t>(x86::kSs, pointer_); break;
    default: value = cpu_.load<std::uint64_t>(x86::kSs, pointer_); break;
  }
  skip(size);
  return value;
}

void StackCursor::probe_pushes(unsigned size, unsigned count) const {
  std::uint64_t offset = pointer_;
  for (unsigned i = 0; i < count; ++i) {
    offset = (offset - size) & mask_;
    cpu_.probe(cpu_.linear<AccessKind::kWrite>(x86::kSs, offset, size), size, AccessKind::kWrite);
  }
}

}  // namespace doppel::accel::soft
