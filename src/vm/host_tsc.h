// The host's time stamp counter, which guests see too where the local APIC is ours.
#pragma once

#include <cstdint>

namespace doppel::vm {

[[nodiscard]] std::uint64_t host_tsc();

/// Its frequency in Hz: what the processor or its hypervisor says, else measured against CLOCK_MONOTONIC for 10 ms.
[[nodiscard]] std::uint64_t host_tsc_hz();

}  // namespace doppel::vm
