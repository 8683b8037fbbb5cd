// Registers of the 82093AA (data sheet 290566, 3.0) and the ICH's EOI register (ICH9 data sheet, 13.5.1).
#pragma once

#include <cstdint>

namespace doppel::hw::ioapic {

// Memory-mapped.
inline constexpr std::uint64_t kSelectOffset = 0x00;
inline constexpr std::uint64_t kWindowOffset = 0x10;
inline constexpr std::uint64_t kEoiOffset = 0x40;

// Behind the window.
inline constexpr std::uint8_t kIdIndex = 0x00;
inline constexpr std::uint8_t kVersionIndex = 0x01;
inline constexpr std::uint8_t kArbitrationIndex = 0x02;
inline constexpr std::uint8_t kRedirectionIndex = 0x10;  // two per pin: low, high

// Redirection entry.
inline constexpr unsigned kLogicalBit = 11;
inline constexpr unsigned kRemoteIrrBit = 14;
inline constexpr unsigned kLevelBit = 15;
inline constexpr unsigned kMaskBit = 16;
inline constexpr std::uint64_t kEntryReset = 1ULL << kMaskBit;
/// All but delivery status and remote IRR; the destination with its extension (bits 55:49, for ids above 255).
inline constexpr std::uint64_t kEntryWritable = 0xfffe'0000'0001'afff;

}  // namespace doppel::hw::ioapic
