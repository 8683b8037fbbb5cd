#include "hw/pci/piix4_smbus.h"

namespace doppel::hw {

namespace {

constexpr unsigned kHostStatus = 0x00;    // SMBHSTSTS
constexpr unsigned kSlaveStatus = 0x01;   // SMBSLVSTS
constexpr unsigned kHostControl = 0x02;   // SMBHSTCNT
constexpr unsigned kLastWritable = 0x0b;  // SMBSLVEVT and below; SMBSLVDAT is the bus's

constexpr std::uint8_t kDeviceError = 0x04;
constexpr std::uint8_t kStatusClearable = 0x1e;
constexpr std::uint8_t kStart = 0x40;
constexpr std::uint8_t kControlWritable = 0x1f;

}  // namespace

void Piix4Smbus::write(unsigned offset, std::uint8_t value) {
  if (offset > kLastWritable) return;
  std::uint8_t& target = registers_[offset];
  switch (offset) {
    case kHostStatus: target = static_cast<std::uint8_t>(target & ~(value & kStatusClearable)); break;
    case kSlaveStatus: break;
    case kHostControl:
      target = value & kControlWritable;
      if ((value & kStart) != 0) registers_[kHostStatus] |= kDeviceError;
      break;
    default: target = value; break;
  }
}

}  // namespace doppel::hw
