// The views of memory that a processor switches between without a change of its page tables.
#pragma once

#include <cstdint>

namespace doppel::accel::soft {

/// Whose rights an access has. kSupervisorAc: SMAP is off or suspended by EFLAGS.AC.
enum class MmuIndex : std::uint8_t { kSupervisor, kUser, kSupervisorAc };
inline constexpr unsigned kMmuIndexes = 3;

}  // namespace doppel::accel::soft
