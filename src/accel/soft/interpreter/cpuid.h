// CPUID as the guest executes it: its table, with the fields that follow what the guest itself has switched on
// (SDM 2A CPUID).
#pragma once

#include <cstdint>

#include "accel/soft/interpreter/cpu.h"

namespace doppel::accel::soft {

x86::CpuidEntry cpuid(const Cpu& cpu, std::uint32_t leaf, std::uint32_t subleaf);

}  // namespace doppel::accel::soft
