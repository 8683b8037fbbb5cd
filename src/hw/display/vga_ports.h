// The VGA's ports: index and data ports of its five parts, and the registers with a port of their own.
#pragma once

#include <cstdint>

#include "hw/display/vga_registers.h"

namespace doppel::hw {

enum class DacWidth : std::uint8_t { kSixBits, kEightBits };

/// A byte access to PORT, 3B0h to 3DFh. What nobody has reads as ones and is not written.
std::uint8_t read_vga_port(VgaRegisters& registers, std::uint16_t port);
void write_vga_port(VgaRegisters& registers, std::uint16_t port, std::uint8_t value, DacWidth width);

}  // namespace doppel::hw
