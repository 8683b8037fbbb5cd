// State components of XSAVE (SDM 1 chapter 13): between FpuState and their bytes in memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "accel/soft/interpreter/fpu_state.h"

namespace doppel::accel::soft::xsave {

inline constexpr unsigned kX87 = 0;
inline constexpr unsigned kSse = 1;
inline constexpr unsigned kAvx = 2;
inline constexpr unsigned kOpmask = 5;
inline constexpr unsigned kZmmHigh = 6;    // upper halves of ZMM0-15
inline constexpr unsigned kZmmHigh16 = 7;  // ZMM16-31
inline constexpr unsigned kPkru = 9;
inline constexpr unsigned kComponentLimit = 63;

// Offsets in an area; all but the extended region is also an FXSAVE image.
inline constexpr std::size_t kMxcsrMask = 28;
inline constexpr std::size_t kXmm = 160;
inline constexpr std::size_t kLegacySize = 512;
inline constexpr std::size_t kHeader = 512;
inline constexpr std::size_t kCompactedBitmap = 520;  // XCOMP_BV
inline constexpr std::size_t kExtended = 576;

inline constexpr std::uint32_t kValidMxcsr = 0xffff;  // MXCSR_MASK

/// How an instruction sees the state. Outside of 64-bit code there are eight vector registers; REX.W chooses how the
/// x87 pointers are stored (SDM 1 table 10-2).
struct View {
  bool long_code = true;
  bool wide_pointers = true;
};

/// Bytes of component INDEX that are accessed, from its beginning on. The legacy components begin at 0 (in two pieces,
/// around MXCSR) and kXmm. 0: nothing of it exists.
std::size_t accessed_size(unsigned index, const View& view);

/// Is component INDEX (SSE without MXCSR) anything but its initial configuration?
bool in_use(const FpuState& fpu, unsigned index, const View& view);

/// COMPONENT holds accessed_size() bytes.
void save(const FpuState& fpu, unsigned index, const View& view, std::span<std::byte> component);
void load(FpuState& fpu, unsigned index, const View& view, std::span<const std::byte> component);
void initialize(FpuState& fpu, unsigned index, const View& view);

}  // namespace doppel::accel::soft::xsave
