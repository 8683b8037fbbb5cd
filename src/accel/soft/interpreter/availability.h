// Whether the operating system lets an instruction use the state that it works on (SDM 3A 2.5, 13.1; 2A 2.4).
#pragma once

#include <cstdint>

#include "accel/soft/interpreter/cpu.h"
#include "accel/soft/interpreter/fault.h"
#include "x86/registers.h"

namespace doppel::accel::soft {

/// Control register bits that must be as said: else #UD, or #NM if only CR0_UNAVAILABLE is violated.
struct Requirement {
  std::uint64_t cr0_invalid = 0;      // #UD if any is set
  std::uint64_t cr0_unavailable = 0;  // #NM if any is set
  std::uint64_t cr4 = 0;              // all set
  std::uint64_t xcr0 = 0;             // all set
};

namespace requirement {
inline constexpr Requirement kNone{};
inline constexpr Requirement kX87{.cr0_unavailable = x86::cr0::kEm | x86::cr0::kTs};
inline constexpr Requirement kMmx{.cr0_invalid = x86::cr0::kEm, .cr0_unavailable = x86::cr0::kTs};
inline constexpr Requirement kSse{
    .cr0_invalid = x86::cr0::kEm, .cr0_unavailable = x86::cr0::kTs, .cr4 = x86::cr4::kOsfxsr};
inline constexpr Requirement kXsave{.cr0_unavailable = x86::cr0::kTs, .cr4 = x86::cr4::kOsxsave};
inline constexpr Requirement kAvx{
    .cr0_unavailable = x86::cr0::kTs, .cr4 = x86::cr4::kOsxsave, .xcr0 = x86::xcr::kSse | x86::xcr::kAvx};
inline constexpr Requirement kAvx512{.cr0_unavailable = x86::cr0::kTs,
                                     .cr4 = x86::cr4::kOsxsave,
                                     .xcr0 = x86::xcr::kSse | x86::xcr::kAvx | x86::xcr::kAvx512};
}  // namespace requirement

[[noreturn]] inline void refuse(const Cpu& cpu, const Requirement& needed) {
  const bool invalid = ((cpu.cr0 & needed.cr0_invalid) | (~cpu.cr4 & needed.cr4) | (~cpu.xcr0 & needed.xcr0)) != 0;
  raise(invalid ? x86::kInvalidOpcode : x86::kDeviceNotAvailable);
}

[[nodiscard]] inline bool is_available(const Cpu& cpu, const Requirement& needed) {
  return ((cpu.cr0 & (needed.cr0_invalid | needed.cr0_unavailable)) | (~cpu.cr4 & needed.cr4) |
          (~cpu.xcr0 & needed.xcr0)) == 0;
}

inline void require(const Cpu& cpu, const Requirement& needed) {
  if (!is_available(cpu, needed)) [[unlikely]]
    refuse(cpu, needed);
}

}  // namespace doppel::accel::soft
