// Names for the general registers' places in Cpu's register file, for operations with implicit operands.
#pragma once

#include "accel/soft/interpreter/instruction.h"

namespace doppel::accel::soft {

constexpr RegisterOffset register_offset(x86::Gpr name) {
  return static_cast<RegisterOffset>(name * 8);
}

inline constexpr RegisterOffset kAccumulator = register_offset(x86::kRax);  // AL, AX, EAX, RAX
inline constexpr RegisterOffset kAccumulatorHigh = 1;                       // AH
inline constexpr RegisterOffset kCounter = register_offset(x86::kRcx);
inline constexpr RegisterOffset kData = register_offset(x86::kRdx);
inline constexpr RegisterOffset kBase = register_offset(x86::kRbx);
inline constexpr RegisterOffset kStackPointer = register_offset(x86::kRsp);
inline constexpr RegisterOffset kFramePointer = register_offset(x86::kRbp);
inline constexpr RegisterOffset kSource = register_offset(x86::kRsi);
inline constexpr RegisterOffset kDestination = register_offset(x86::kRdi);

}  // namespace doppel::accel::soft
