// A guest's 64-bit instruction with another memory operand: ModRM, SIB and the extension bits of REX, VEX or EVEX
// change, all else stays (SDM 2A chapter 2).
#pragma once

#include <Zydis/Zydis.h>

#include <array>
#include <cstdint>
#include <span>

namespace doppel::accel::soft {

/// Where translated code finds the operand: [BASE + INDEX + DISP], host registers by number.
struct HostOperand {
  static constexpr std::uint8_t kNoIndex = 4;  // RSP can be none
  std::uint8_t base = 0;
  std::uint8_t index = kNoIndex;
  std::int32_t disp = 0;
};

struct HostInstruction {
  std::array<std::uint8_t, 24> bytes{};
  std::uint8_t size = 0;
  void add(unsigned byte) { bytes.at(size++) = static_cast<std::uint8_t>(byte); }
  [[nodiscard]] std::span<const std::uint8_t> span() const { return std::span(bytes).first(size); }
};

/// BYTES, decoded as ZYDIS, name a memory operand by ModRM and no register among AH to BH.
HostInstruction reencode(const ZydisDecodedInstruction& zydis, std::span<const std::uint8_t> bytes,
                         const HostOperand& operand);

}  // namespace doppel::accel::soft
