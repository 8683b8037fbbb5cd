// The state that an unprivileged instruction reads and writes, as both sides of the comparison are given it and give it
// back.
#pragma once

#include <array>
#include <cstdint>

#include "accel/soft/interpreter/fpu_state.h"
#include "x86/registers.h"

namespace doppel::oracle {

struct ProcessorState {
  std::array<std::uint64_t, 16> gpr{};  // x86::Gpr
  std::uint64_t rip = 0;
  std::uint64_t rflags = x86::rflags::kFixed | x86::rflags::kIf;
  accel::soft::FpuState fpu;
};

/// How an instruction ended. VECTOR: of the exception that it raised, or kNoFault.
struct Ending {
  static constexpr int kNoFault = -1;
  int vector = kNoFault;
  std::uint32_t error_code = 0;
  std::uint64_t cr2 = 0;  // of #PF
  bool operator==(const Ending&) const = default;
};

/// Where things are, at the same linear addresses on both sides; all below 2 GiB, within one page table.
namespace layout {
inline constexpr std::uint64_t kPage = 0x1000;
inline constexpr std::uint64_t kBase = 0x1000'0000;
inline constexpr std::uint64_t kCode = kBase;
inline constexpr std::uint64_t kCodeSize = 2 * kPage;
inline constexpr std::uint64_t kContext = kBase + 0x1'0000;  // the native side's own
inline constexpr std::uint64_t kContextSize = 4 * kPage;
inline constexpr std::uint64_t kArena = kBase + 0x10'0000;  // data, between guard pages that are not present
inline constexpr std::uint64_t kGuardSize = 16 * kPage;
inline constexpr std::uint64_t kData = kArena + kGuardSize;
inline constexpr std::uint64_t kDataSize = 2 * kPage;
inline constexpr std::uint64_t kArenaEnd = kData + kDataSize + kGuardSize;
}  // namespace layout

}  // namespace doppel::oracle
