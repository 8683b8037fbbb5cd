#include "hw/pci/config_space.h"

namespace doppel::hw {

std::uint32_t ConfigSpace::read(unsigned offset, unsigned size) const {
  std::uint32_t value = 0;
  for (unsigned i = 0; i < size && i < 4; ++i) {
    const std::uint32_t byte = offset + i < kSize ? bytes_[offset + i] : 0xffU;
    value |= byte << (8 * i);
  }
  return value;
}

void ConfigSpace::write(unsigned offset, unsigned size, std::uint32_t value) {
  for (unsigned i = 0; i < size && i < 4 && offset + i < kSize; ++i) {
    const std::uint8_t written = byte_of(value, i);
    const std::uint8_t writable = writable_[offset + i];
    std::uint8_t& byte = bytes_[offset + i];
    byte = static_cast<std::uint8_t>((byte & ~writable) | (written & writable));
    byte = static_cast<std::uint8_t>(byte & ~(written & clear_by_one_[offset + i]));
  }
}

void ConfigSpace::define_byte(unsigned offset, std::uint8_t value, std::uint8_t writable, std::uint8_t clear_by_one) {
  bytes_[offset] = value;
  reset_[offset] = value;
  writable_[offset] = writable;
  clear_by_one_[offset] = clear_by_one;
}

}  // namespace doppel::hw
