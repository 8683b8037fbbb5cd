// For the tests of this folder: registers as a video BIOS leaves them (IBM's tables of mode 3, 80x25 in 16 colours).
#pragma once

#include <cstdint>
#include <span>

#include "hw/display/vga_registers.h"

namespace doppel::hw::test {

template <class Group>
void fill(Group& group, std::span<const std::uint8_t> values) {
  for (unsigned i = 0; i < values.size(); ++i) group.set(i, values[i]);
}

inline void set_text_mode(VgaRegisters& registers) {
  static constexpr std::uint8_t kSequencer[] = {0x03, 0x00, 0x03, 0x00, 0x02};
  static constexpr std::uint8_t kGraphics[] = {0x00, 0x00, 0x00, 0x00, 0x00, 0x10, 0x0e, 0x0f, 0xff};
  static constexpr std::uint8_t kCrtc[] = {0x5f, 0x4f, 0x50, 0x82, 0x55, 0x81, 0xbf, 0x1f, 0x00, 0x4f, 0x0d, 0x0e, 0x00,
                                           0x00, 0x00, 0x00, 0x9c, 0x8e, 0x8f, 0x28, 0x1f, 0x96, 0xb9, 0xa3, 0xff};
  registers = {};
  registers.misc = 0x67;
  fill(registers.sequencer, kSequencer);
  fill(registers.graphics, kGraphics);
  fill(registers.crtc, kCrtc);
  registers.attribute.set(vga::kAttributeMode, 0x0c);
  registers.attribute.index = vga::kPaletteSource;
}

/// Mode 12h, as far as the processor's side goes: four planes of 64 KiB at A0000.
inline void set_planar_mode(VgaRegisters& registers) {
  static constexpr std::uint8_t kSequencer[] = {0x03, 0x01, 0x0f, 0x00, 0x06};
  static constexpr std::uint8_t kGraphics[] = {0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x05, 0x0f, 0xff};
  registers.misc = 0xe3;
  fill(registers.sequencer, kSequencer);
  fill(registers.graphics, kGraphics);
}

}  // namespace doppel::hw::test
