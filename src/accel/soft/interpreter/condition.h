// The sixteen conditions of Jcc, SETcc and CMOVcc, by the low four bits of their opcodes (SDM 1 appendix B).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "accel/soft/interpreter/instruction.h"
#include "x86/registers.h"

namespace doppel::accel::soft {

/// Whether FLAGS meet condition CODE: O, B, Z, BE, S, P, L, LE, each followed by its opposite.
template <unsigned kCode>
constexpr bool holds(std::uint64_t flags) {
  namespace rflags = x86::rflags;
  const bool less = ((flags >> 7U ^ flags >> 11U) & 1U) != 0;  // SF differs from OF
  bool result = false;
  if constexpr (kCode >> 1U == 0) result = (flags & rflags::kOf) != 0;
  if constexpr (kCode >> 1U == 1) result = (flags & rflags::kCf) != 0;
  if constexpr (kCode >> 1U == 2) result = (flags & rflags::kZf) != 0;
  if constexpr (kCode >> 1U == 3) result = (flags & (rflags::kCf | rflags::kZf)) != 0;
  if constexpr (kCode >> 1U == 4) result = (flags & rflags::kSf) != 0;
  if constexpr (kCode >> 1U == 5) result = (flags & rflags::kPf) != 0;
  if constexpr (kCode >> 1U == 6) result = less;
  if constexpr (kCode >> 1U == 7) result = less || (flags & rflags::kZf) != 0;
  return result != ((kCode & 1U) != 0);
}

/// The handlers MAKE.operator()<code>() for all conditions.
template <class Make>
constexpr std::array<Handler, 16> handlers_by_condition(Make make) {
  return [make]<std::size_t... kCodes>(std::index_sequence<kCodes...>) {
    return std::array<Handler, 16> { make.template operator()<static_cast<unsigned>(kCodes)>()... };
  }(std::make_index_sequence<16>());
}

}  // namespace doppel::accel::soft
