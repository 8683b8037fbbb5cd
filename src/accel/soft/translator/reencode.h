// A guest's 64-bit instruction with another memory operand: ModRM, SIB and the extension bits of REX, VEX or EVEX
// change, all else stays (SDM 2A chapter 2).
#pragma once

#include <Zydis/Zydis.h>

#include <cstdint>
#include <span>

#include "accel/soft/interpreter/stub_emitter.h"

namespace doppel::accel::soft {

/// Where translated code finds the operand: [BASE + INDEX + DISP], host registers by number.
struct HostOperand {
  static constexpr std::uint8_t kNoIndex = 4;  // RSP can be none
  std::uint8_t base = 0;
  std::uint8_t index = kNoIndex;
  std::int32_t disp = 0;
};

/// BYTES, decoded as ZYDIS, name a memory operand by ModRM. REG: ModRM.reg's three bits. What names a register among AH
/// to BH gets a prefix with which these mean others.
MachineCode reencode(const ZydisDecodedInstruction& zydis, std::span<const std::uint8_t> bytes,
                     const HostOperand& operand, unsigned reg);

}  // namespace doppel::accel::soft
