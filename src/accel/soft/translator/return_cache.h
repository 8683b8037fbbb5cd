// Where translated code that returns finds the way on, as its call has noted it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace doppel::accel::soft {

/// By the stack pointer that a call leaves behind, which is the one that its return finds: so a return knows its slot
/// before it has read its address, and shares it with few others, where the jump cache has one for each place that is
/// returned to. What is in a slot is right as long as its code exists: it leads to a link, whose guard has the last
/// word.
struct ReturnCache {
  static constexpr unsigned kSlots = 256;
  static constexpr std::uint8_t kShift = 4;  // frames are 16 bytes apart at least

  std::array<std::uint64_t, kSlots> linear;  // return address
  std::array<std::uint64_t, kSlots> code;    // address to jump to

  /// An empty slot has what leads to address 0.
  void clear(std::uint64_t nowhere) {
    linear.fill(0);
    code.fill(nowhere);
  }
};

}  // namespace doppel::accel::soft
