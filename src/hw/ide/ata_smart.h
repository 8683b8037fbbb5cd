// What a healthy disk says of its health: SMART, ATA8-ACS section 7.52 and SFF-8035i.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "hw/ide/ata_registers.h"

namespace doppel::hw::smart {

inline constexpr std::uint16_t kKey = 0xc24f;  // in LBA mid and high, else the command is aborted

// Functions, by the features register.
inline constexpr std::uint8_t kReadData = 0xd0;
inline constexpr std::uint8_t kReadThresholds = 0xd1;
inline constexpr std::uint8_t kAutosave = 0xd2;
inline constexpr std::uint8_t kEnable = 0xd8;
inline constexpr std::uint8_t kDisable = 0xd9;
inline constexpr std::uint8_t kReturnStatus = 0xda;

using Page = std::array<std::byte, ata::kSectorSize>;
Page data();
Page thresholds();

}  // namespace doppel::hw::smart
