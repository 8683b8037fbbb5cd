// Registers of the IA-PC HPET specification 1.0a, section 2.3.
#pragma once

#include <cstdint>

namespace doppel::hw::hpet {

inline constexpr std::uint64_t kCapabilities = 0x000;
inline constexpr std::uint64_t kConfiguration = 0x010;
inline constexpr std::uint64_t kInterruptStatus = 0x020;
inline constexpr std::uint64_t kMainCounter = 0x0f0;
inline constexpr std::uint64_t kTimers = 0x100;
inline constexpr std::uint64_t kTimerStride = 0x20;
inline constexpr std::uint64_t kTimerConfiguration = 0x00;  // within a timer's block, as those below
inline constexpr std::uint64_t kTimerComparator = 0x08;
inline constexpr std::uint64_t kTimerFsbRoute = 0x10;

inline constexpr std::uint64_t kCapabilityRevision = 0x01;
inline constexpr std::uint64_t kCapability64Bit = 1U << 13U;
inline constexpr std::uint64_t kCapabilityLegacyRoute = 1U << 15U;
inline constexpr std::uint64_t kCapabilityVendor = 0x8086U << 16U;

inline constexpr std::uint64_t kEnable = 1U << 0U;
inline constexpr std::uint64_t kLegacyRoute = 1U << 1U;

inline constexpr std::uint64_t kTimerLevel = 1U << 1U;
inline constexpr std::uint64_t kTimerInterrupts = 1U << 2U;
inline constexpr std::uint64_t kTimerPeriodic = 1U << 3U;
inline constexpr std::uint64_t kTimerPeriodicCapable = 1U << 4U;
inline constexpr std::uint64_t kTimer64BitCapable = 1U << 5U;
inline constexpr std::uint64_t kTimerSetAccumulator = 1U << 6U;
inline constexpr std::uint64_t kTimer32Bit = 1U << 8U;
inline constexpr unsigned kTimerRouteLow = 9;
inline constexpr unsigned kTimerRouteHigh = 13;
inline constexpr std::uint64_t kTimerFsb = 1U << 14U;
inline constexpr std::uint64_t kTimerFsbCapable = 1U << 15U;
inline constexpr std::uint64_t kTimerWritable = kTimerLevel | kTimerInterrupts | kTimerPeriodic | kTimerSetAccumulator |
                                                kTimer32Bit | 0x1fU << kTimerRouteLow | kTimerFsb;

}  // namespace doppel::hw::hpet
