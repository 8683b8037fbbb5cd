#include "hw/display/vga_memory.h"

#include <array>
#include <optional>

#include "base/bits.h"

namespace doppel::hw {

namespace {

using namespace vga;

constexpr unsigned kPlanes = 4;

/// The part of A0000-BFFFF that the miscellaneous register's memory map bits choose.
struct Window {
  std::uint32_t start;  // from A0000
  std::uint32_t size;
};
constexpr std::array<Window, 4> kWindows = {{{0, 0x20000}, {0, 0x10000}, {0x10000, 0x8000}, {0x18000, 0x8000}}};

/// The offset in the window, if the VGA answers there.
std::optional<std::uint32_t> decode(const VgaRegisters& registers, std::uint32_t offset) {
  const Window& window = kWindows.at(registers.graphics[kMiscellaneous] >> 2U & 3U);
  if ((registers.misc & kMiscRamEnable) == 0 || offset - window.start >= window.size) return std::nullopt;
  return offset - window.start;
}

bool chains_four(const VgaRegisters& registers) {
  return (registers.sequencer[kMemoryMode] & kChain4) != 0;
}

/// The four bytes, one of each plane, at the plane address that OFFSET stands for.
std::span<std::byte> planes_at(const VgaRegisters& registers, const VgaMemory& memory, std::uint32_t offset) {
  std::uint32_t address = memory.bank + offset;
  if (chains_four(registers))
    address >>= 2U;
  else if ((registers.graphics[kMiscellaneous] & kChainOddEven) != 0)
    address &= ~1U;  // bit 0 chooses the plane; its place is taken by the page select bit, of which there is no use
  if (!memory.has_svga_mode) address &= 0xffffU;
  return memory.bytes.subspan((std::size_t{address} * kPlanes) & (memory.bytes.size() - kPlanes), kPlanes);
}

std::uint8_t mask_of(unsigned bit) {
  return bit != 0 ? 0xff : 0x00;
}

// ---- Reading

unsigned plane_to_read(const VgaRegisters& registers, std::uint32_t offset) {
  const std::uint8_t map = registers.graphics[kReadMap];
  if (chains_four(registers)) return offset & 3U;
  if ((registers.graphics[kMode] & kOddEvenRead) != 0) return (map & 2U) | (offset & 1U);
  return map;
}

/// Read mode 1: ones where every plane that is cared for has the colour compared with.
std::uint8_t compare(const VgaRegisters& registers) {
  std::uint8_t equal = 0xff;
  for (unsigned plane = 0; plane < kPlanes; ++plane) {
    if (!test_bit(registers.graphics[kColourDontCare], plane)) continue;
    equal &= static_cast<std::uint8_t>(
        ~(registers.latches.at(plane) ^ mask_of(registers.graphics[kColourCompare] >> plane & 1U)));
  }
  return equal;
}

// ---- Writing

std::uint8_t rotated(const VgaRegisters& registers, std::uint8_t value) {
  const unsigned count = registers.graphics[kDataRotate] & 7U;
  return static_cast<std::uint8_t>(value >> count | value << (8 - count));
}

/// The function select bits: replace, AND, OR, XOR with the latch.
std::uint8_t combine(const VgaRegisters& registers, std::uint8_t value, std::uint8_t latch) {
  switch (registers.graphics[kDataRotate] >> 3U & 3U) {
    case 1: return value & latch;
    case 2: return value | latch;
    case 3: return value ^ latch;
    default: return value;
  }
}

/// What PLANE is given when the processor writes VALUE.
std::uint8_t byte_for(const VgaRegisters& registers, unsigned plane, std::uint8_t value) {
  const std::uint8_t latch = registers.latches.at(plane);
  const std::uint8_t set_reset = mask_of(registers.graphics[kSetReset] >> plane & 1U);
  std::uint8_t bit_mask = registers.graphics[kBitMask];
  std::uint8_t data = 0;
  switch (registers.graphics[kMode] & kWriteModes) {
    case 0: data = test_bit(registers.graphics[kEnableSetReset], plane) ? set_reset : rotated(registers, value); break;
    case 1: return latch;
    case 2: data = mask_of(value >> plane & 1U); break;
    default:
      data = set_reset;
      bit_mask &= rotated(registers, value);
      break;
  }
  return static_cast<std::uint8_t>((combine(registers, data, latch) & bit_mask) | (latch & ~bit_mask));
}

unsigned planes_to_write(const VgaRegisters& registers, std::uint32_t offset) {
  const unsigned map_mask = registers.sequencer[kMapMask];
  if (chains_four(registers)) return map_mask & 1U << (offset & 3U);
  if ((registers.sequencer[kMemoryMode] & kSequential) == 0) return map_mask & ((offset & 1U) != 0 ? 0xaU : 0x5U);
  return map_mask;
}

}  // namespace

std::uint8_t read_vga_memory(VgaRegisters& registers, const VgaMemory& memory, std::uint32_t offset) {
  const auto inside = decode(registers, offset);
  if (!inside) return 0xff;
  const auto planes = planes_at(registers, memory, *inside);
  for (unsigned plane = 0; plane < kPlanes; ++plane)
    registers.latches.at(plane) = std::to_integer<std::uint8_t>(planes[plane]);
  if ((registers.graphics[kMode] & kReadMode1) != 0) return compare(registers);
  return registers.latches.at(plane_to_read(registers, *inside));
}

std::optional<std::size_t> write_vga_memory(VgaRegisters& registers, const VgaMemory& memory, std::uint32_t offset,
                                            std::uint8_t value) {
  const auto inside = decode(registers, offset);
  if (!inside) return std::nullopt;
  const auto planes = planes_at(registers, memory, *inside);
  const unsigned enabled = planes_to_write(registers, *inside);
  for (unsigned plane = 0; plane < kPlanes; ++plane)
    if (test_bit(enabled, plane)) planes[plane] = std::byte{byte_for(registers, plane, value)};
  return static_cast<std::size_t>(planes.data() - memory.bytes.data());
}

}  // namespace doppel::hw
