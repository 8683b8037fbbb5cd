// Display memory as the processor sees it through A0000-BFFFF: IBM PS/2 Hardware Interface Technical Reference, "Video
// Subsystem", display memory organisation and graphics controller.
//
// Four planes of a byte each stand side by side: byte A of plane P is at 4 A + P of the memory. That makes chain-4 the
// linear frame buffer that SVGA modes have.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "hw/display/vga_registers.h"

namespace doppel::hw {

/// All of it, whose size is a power of two from 256 KiB, and which 64 KiB of it, in linear bytes, are in the window.
/// Without SVGA that is 0, and plane addresses have 16 bits.
struct VgaMemory {
  std::span<std::byte> bytes;
  std::uint32_t bank = 0;
  bool has_svga_mode = false;
};

/// One byte at OFFSET (below 128 KiB) of the window. Reading fills the latches. Where the VGA does not answer, it reads
/// as ones and is not written. Writing tells which four bytes of the memory it may have changed, one in each plane.
std::uint8_t read_vga_memory(VgaRegisters& registers, const VgaMemory& memory, std::uint32_t offset);
std::optional<std::size_t> write_vga_memory(VgaRegisters& registers, const VgaMemory& memory, std::uint32_t offset,
                                            std::uint8_t value);

}  // namespace doppel::hw
