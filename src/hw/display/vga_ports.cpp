#include "hw/display/vga_ports.h"

namespace doppel::hw {

namespace {

using namespace vga;

constexpr std::uint8_t kNobody = 0xff;

// ---- DAC

std::uint8_t read_dac(VgaDac& dac) {
  const std::uint8_t value = dac.palette.at(dac.read_index * 3U + dac.component);
  if (++dac.component == 3) {
    dac.component = 0;
    ++dac.read_index;
  }
  return value;
}

/// A colour changes when its third component arrives.
void write_dac(VgaDac& dac, std::uint8_t value, DacWidth width) {
  dac.latch.at(dac.component) = width == DacWidth::kSixBits ? value & 0x3fU : value;
  if (++dac.component < 3) return;
  dac.component = 0;
  for (unsigned i = 0; i < 3; ++i) dac.palette.at(dac.write_index * 3U + i) = dac.latch.at(i);
  ++dac.write_index;
}

void start_dac(VgaDac& dac, std::uint8_t index, bool reading) {
  (reading ? dac.read_index : dac.write_index) = index;
  dac.component = 0;
  dac.reading = reading;
}

// ---- Attribute controller: one port takes index and data in turn, until input status 1 is read

void write_attribute(VgaRegisters& registers, std::uint8_t value) {
  auto& attribute = registers.attribute;
  if (registers.attribute_data_next)
    attribute.set(attribute.index & 0x1fU, value);
  else
    attribute.index = value & 0x3fU;
  registers.attribute_data_next = !registers.attribute_data_next;
}

/// Nothing is drawn here, so no beam moves: each look finds the next state, which ends every wait for it.
std::uint8_t read_status1(VgaRegisters& registers) {
  registers.attribute_data_next = false;
  registers.status1 ^= kStatus1NoDisplay | kStatus1Retrace;
  return registers.status1;
}

// ---- CRT controller

void write_crtc(VgaRegisters& registers, std::uint8_t value) {
  auto& crtc = registers.crtc;
  const bool is_protected = (crtc[kRetraceEnd] & kProtect) != 0 && crtc.index <= kOverflow;
  if (!is_protected) return crtc.set(crtc.index, value);
  if (crtc.index == kOverflow)
    crtc.set(kOverflow, static_cast<std::uint8_t>((crtc[kOverflow] & ~kLineCompareBit8) | (value & kLineCompareBit8)));
}

/// PORT as it is in colour modes; 0 if the VGA does not answer there in the present one.
std::uint16_t colour_port(const VgaRegisters& registers, std::uint16_t port) {
  const bool is_colour = (registers.misc & kMiscColour) != 0;
  if (port < kAttributeIndex) return is_colour ? 0 : port + kMonochrome;
  if (port >= kAttributeIndex + 0x10) return is_colour ? port : 0;
  return port;
}

}  // namespace

std::uint8_t read_vga_port(VgaRegisters& registers, std::uint16_t port) {
  switch (colour_port(registers, port)) {
    case kAttributeIndex: return registers.attribute.index;
    case kAttributeData: return registers.attribute.get(registers.attribute.index & 0x1fU);
    case kMiscWrite: return kStatus0SwitchSense;
    case kEnable: return 1;
    case kSequencerIndex: return registers.sequencer.index;
    case kSequencerData: return registers.sequencer.get(registers.sequencer.index);
    case kDacMask: return registers.dac.mask;
    case kDacReadIndex: return registers.dac.reading ? 3 : 0;
    case kDacWriteIndex: return registers.dac.write_index;
    case kDacData: return read_dac(registers.dac);
    case kFeatureRead: return registers.feature_control;
    case kMiscRead: return registers.misc;
    case kGraphicsIndex: return registers.graphics.index;
    case kGraphicsData: return registers.graphics.get(registers.graphics.index);
    case kCrtcIndex: return registers.crtc.index;
    case kCrtcData: return registers.crtc.get(registers.crtc.index);
    case kStatus1: return read_status1(registers);
    default: return kNobody;
  }
}

void write_vga_port(VgaRegisters& registers, std::uint16_t port, std::uint8_t value, DacWidth width) {
  switch (colour_port(registers, port)) {
    case kAttributeIndex: write_attribute(registers, value); break;
    case kMiscWrite: registers.misc = value; break;
    case kSequencerIndex: registers.sequencer.index = value & 0x07U; break;
    case kSequencerData: registers.sequencer.set(registers.sequencer.index, value); break;
    case kDacMask: registers.dac.mask = value; break;
    case kDacReadIndex: start_dac(registers.dac, value, true); break;
    case kDacWriteIndex: start_dac(registers.dac, value, false); break;
    case kDacData: write_dac(registers.dac, value, width); break;
    case kGraphicsIndex: registers.graphics.index = value & 0x0fU; break;
    case kGraphicsData: registers.graphics.set(registers.graphics.index, value); break;
    case kCrtcIndex: registers.crtc.index = value; break;
    case kCrtcData: write_crtc(registers, value); break;
    case kStatus1: registers.feature_control = value; break;
    default: break;
  }
}

}  // namespace doppel::hw
