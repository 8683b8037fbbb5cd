// A guest's 64-bit instruction with another memory operand: ModRM, SIB and the extension bits of REX, VEX or EVEX
// change, all else stays (SDM 2A chapter 2).
#pragma once

#include <Zydis/Zydis.h>

#include <array>
#include <cstdint>
#include <span>

namespace doppel::accel::soft {

/// Where translated code finds the operand.
enum class HostOperand : std::uint8_t { kR14, kR15, kR14PlusR15 };

struct HostInstruction {
  std::array<std::uint8_t, 16> bytes{};
  std::uint8_t size = 0;
  void add(unsigned byte) { bytes.at(size++) = static_cast<std::uint8_t>(byte); }
  [[nodiscard]] std::span<const std::uint8_t> span() const { return std::span(bytes).first(size); }
};

/// BYTES, decoded as ZYDIS, name a memory operand by ModRM and no register among AH to BH.
HostInstruction reencode(const ZydisDecodedInstruction& zydis, std::span<const std::uint8_t> bytes,
                         HostOperand operand);

}  // namespace doppel::accel::soft
