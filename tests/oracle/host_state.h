// What this process runs with, and a guest that shall look the same must have.
#pragma once

#include <cstdint>

#include "x86/cpu_state.h"

namespace doppel::oracle {

std::uint64_t host_xcr0();
/// Gives STATE's segments this thread's selectors.
void take_host_selectors(x86::CpuState& state);

}  // namespace doppel::oracle
