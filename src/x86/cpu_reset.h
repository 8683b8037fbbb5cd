// The processor's state after power-on, RESET and INIT (SDM 3A 9.1.1, tables 9-1 and 10-1).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "x86/cpu_state.h"

namespace doppel::x86 {

/// The legacy region and header of an XSAVE area, in bytes (SDM 1 13.4).
inline constexpr std::size_t kXsaveMinimumSize = 576;

struct ResetParameters {
  std::uint32_t signature = 0;  // CPUID.1:EAX, found in EDX after reset
  std::uint32_t apic_id = 0;    // 0 is the bootstrap processor
  std::size_t xsave_size = kXsaveMinimumSize;
  std::span<const std::uint32_t> msrs;  // those to reset, as Accelerator::saved_msrs() names them
};

/// After RESET. Processors other than the bootstrap processor wait for INIT and SIPI.
CpuState reset_state(const ResetParameters& parameters);

/// After INIT: like reset_state(), but the x87 to AVX state, XCR0, the MSRs, the APIC base and CR0's CD and NW stay.
CpuState init_state(const CpuState& before, const ResetParameters& parameters);

/// An XSAVE area in its initial configuration (FCW 037f, MXCSR 1f80), x87 and SSE marked as in use.
std::vector<std::byte> initial_xsave_area(std::size_t size);

}  // namespace doppel::x86
