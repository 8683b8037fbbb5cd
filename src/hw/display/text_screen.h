// The picture that a VGA's registers and memory make, as far as it is text.
#pragma once

#include <cstddef>
#include <span>

#include "hw/display/vga_registers.h"
#include "ui/screen.h"

namespace doppel::hw {

/// A guest may program up to 256 columns and 1024 rows; nobody shows more than this.
inline constexpr unsigned kMostTextColumns = 256;
inline constexpr unsigned kMostTextRows = 128;

/// Fills SCREEN from REGISTERS and MEMORY (a power of two from 256 KiB, laid out as in vga_memory.h).
void read_vga_screen(const VgaRegisters& registers, std::span<const std::byte> memory, ui::Screen& screen);

}  // namespace doppel::hw
