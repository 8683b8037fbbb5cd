// Our option ROM that starts a kernel from inside the firmware; boot_rom.asm is its source.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "hw/firmware/boot_plan.h"
#include "hw/firmware/fw_cfg.h"

namespace doppel::hw {

inline constexpr std::string_view kBootRomFile = "genroms/doppel-linuxboot.rom";
inline constexpr std::string_view kBootRomOrder = "/rom@genroms/doppel-linuxboot.rom";  // its line in "bootorder"
inline constexpr std::string_view kBootPlanFile = "etc/doppel/boot-plan";

/// The bare code, as assembled.
std::span<const std::uint8_t> boot_rom_code();

/// The ROM: code, filled up to its stated size, with its checksums.
Bytes boot_rom();

/// A plan as the ROM reads it. Little-endian 32-bit words:
///   magic "DPLN", entry, EAX, EBX, ESI; map entries' address, lead, count's address, unit; RSDP slot's address; number
///   of pieces, 0; then address and length of each piece; then the pieces' bytes, end to end. Pieces of zeroes come
///   last: what is read past the end of the file is zero.
/// Only 32-bit entries and at most 128 pieces.
Result<Bytes> encode_boot_plan(const BootPlan& plan);

/// Adds the ROM's file and puts it first in the boot order.
Result<> add_boot_rom(FwCfg& fw_cfg);

/// Puts LINE before what "bootorder" has.
Result<> prepend_boot_order(FwCfg& fw_cfg, std::string_view line);

}  // namespace doppel::hw
