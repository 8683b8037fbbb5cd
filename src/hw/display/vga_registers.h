// The registers of a VGA: IBM PS/2 Hardware Interface Technical Reference, "Video Subsystem".
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace doppel::hw::vga {

// Ports. Those of the CRTC and beside it are at 3Bx instead while the miscellaneous output register says monochrome.
inline constexpr std::uint16_t kAttributeIndex = 0x3c0;
inline constexpr std::uint16_t kAttributeData = 0x3c1;
inline constexpr std::uint16_t kMiscWrite = 0x3c2;  // read: input status 0
inline constexpr std::uint16_t kEnable = 0x3c3;
inline constexpr std::uint16_t kSequencerIndex = 0x3c4;
inline constexpr std::uint16_t kSequencerData = 0x3c5;
inline constexpr std::uint16_t kDacMask = 0x3c6;
inline constexpr std::uint16_t kDacReadIndex = 0x3c7;  // read: what the DAC does
inline constexpr std::uint16_t kDacWriteIndex = 0x3c8;
inline constexpr std::uint16_t kDacData = 0x3c9;
inline constexpr std::uint16_t kFeatureRead = 0x3ca;
inline constexpr std::uint16_t kMiscRead = 0x3cc;
inline constexpr std::uint16_t kGraphicsIndex = 0x3ce;
inline constexpr std::uint16_t kGraphicsData = 0x3cf;
inline constexpr std::uint16_t kCrtcIndex = 0x3d4;
inline constexpr std::uint16_t kCrtcData = 0x3d5;
inline constexpr std::uint16_t kStatus1 = 0x3da;    // write: feature control
inline constexpr std::uint16_t kMonochrome = 0x20;  // 3Dx - 3Bx

// Miscellaneous output.
inline constexpr std::uint8_t kMiscColour = 0x01;
inline constexpr std::uint8_t kMiscRamEnable = 0x02;

// Input status.
inline constexpr std::uint8_t kStatus0SwitchSense = 0x10;
inline constexpr std::uint8_t kStatus1NoDisplay = 0x01;
inline constexpr std::uint8_t kStatus1Retrace = 0x08;

// Sequencer.
inline constexpr unsigned kClockingMode = 1;
inline constexpr unsigned kMapMask = 2;
inline constexpr unsigned kCharacterMap = 3;
inline constexpr unsigned kMemoryMode = 4;
inline constexpr std::uint8_t kScreenOff = 0x20;
inline constexpr std::uint8_t kSequential = 0x04;  // memory mode: no odd/even
inline constexpr std::uint8_t kChain4 = 0x08;

// Graphics controller.
inline constexpr unsigned kSetReset = 0;
inline constexpr unsigned kEnableSetReset = 1;
inline constexpr unsigned kColourCompare = 2;
inline constexpr unsigned kDataRotate = 3;
inline constexpr unsigned kReadMap = 4;
inline constexpr unsigned kMode = 5;
inline constexpr unsigned kMiscellaneous = 6;
inline constexpr unsigned kColourDontCare = 7;
inline constexpr unsigned kBitMask = 8;
inline constexpr std::uint8_t kWriteModes = 0x03;
inline constexpr std::uint8_t kReadMode1 = 0x08;
inline constexpr std::uint8_t kOddEvenRead = 0x10;
inline constexpr std::uint8_t kShift256 = 0x40;
inline constexpr std::uint8_t kGraphicsMode = 0x01;
inline constexpr std::uint8_t kChainOddEven = 0x02;

// Attribute controller.
inline constexpr unsigned kAttributeMode = 0x10;
inline constexpr std::uint8_t kPaletteSource = 0x20;  // of the index: the screen is on
inline constexpr std::uint8_t kBlink = 0x08;
inline constexpr std::uint8_t kHalfPixelClock = 0x40;

// CRT controller.
inline constexpr unsigned kHorizontalDisplayEnd = 0x01;
inline constexpr unsigned kOverflow = 0x07;
inline constexpr unsigned kMaximumScanLine = 0x09;
inline constexpr unsigned kCursorStart = 0x0a;
inline constexpr unsigned kCursorEnd = 0x0b;
inline constexpr unsigned kStartHigh = 0x0c;
inline constexpr unsigned kStartLow = 0x0d;
inline constexpr unsigned kCursorHigh = 0x0e;
inline constexpr unsigned kCursorLow = 0x0f;
inline constexpr unsigned kRetraceEnd = 0x11;
inline constexpr unsigned kVerticalDisplayEnd = 0x12;
inline constexpr unsigned kOffset = 0x13;
inline constexpr unsigned kUnderline = 0x14;
inline constexpr unsigned kCrtcMode = 0x17;
inline constexpr unsigned kLineCompare = 0x18;
inline constexpr std::uint8_t kProtect = 0x80;          // retrace end: 0 to 7 are read-only,
inline constexpr std::uint8_t kLineCompareBit8 = 0x10;  // but for this bit of 7
inline constexpr std::uint8_t kDoubleScan = 0x80;       // maximum scan line
inline constexpr std::uint8_t kCursorOff = 0x20;        // cursor start
inline constexpr std::uint8_t kDoubleWord = 0x40;       // underline
inline constexpr std::uint8_t kHalfLineClock = 0x04;    // mode
inline constexpr std::uint8_t kWrapAtBit15 = 0x20;
inline constexpr std::uint8_t kByteMode = 0x40;

/// The bits that each register has.
inline constexpr std::array<std::uint8_t, 5> kSequencerBits = {0x03, 0x3d, 0x0f, 0x3f, 0x0e};
inline constexpr std::array<std::uint8_t, 9> kGraphicsBits = {0x0f, 0x0f, 0x0f, 0x1f, 0x03, 0x7b, 0x0f, 0x0f, 0xff};
inline constexpr std::array<std::uint8_t, 21> kAttributeBits = {0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f,
                                                                0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f,
                                                                0x3f, 0x3f, 0xef, 0xff, 0x3f, 0x0f, 0x0f};
inline constexpr std::array<std::uint8_t, 25> kCrtcBits = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f,
                                                           0xff, 0x3f, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                                                           0xff, 0xff, 0x7f, 0xff, 0xff, 0xef, 0xff};

}  // namespace doppel::hw::vga

namespace doppel::hw {

/// Registers behind an index port and a data port. One that the chip lacks reads as 0 and is not written.
template <const auto& Bits>
struct VgaIndexed {
  static constexpr std::size_t kCount = Bits.size();
  std::uint8_t index = 0;
  std::array<std::uint8_t, kCount> values{};

  std::uint8_t operator[](unsigned number) const { return values.at(number); }
  [[nodiscard]] std::uint8_t get(unsigned number) const { return number < kCount ? values.at(number) : 0; }
  void set(unsigned number, std::uint8_t value) {
    if (number < kCount) values.at(number) = static_cast<std::uint8_t>(value & Bits.at(number));
  }
  void describe(auto& fields) {
    fields("index", index);
    fields("values", values);
  }
};

/// The DAC: 256 colours of three components, reached one after the other.
struct VgaDac {
  std::uint8_t mask = 0xff;
  std::uint8_t read_index = 0;
  std::uint8_t write_index = 0;
  std::uint8_t component = 0;  // 0 to 2
  bool reading = false;
  std::array<std::uint8_t, 3> latch{};
  std::array<std::uint8_t, 768> palette{};
  void describe(auto& fields) {
    fields("mask", mask);
    fields("read_index", read_index);
    fields("write_index", write_index);
    fields("component", component);
    fields("reading", reading);
    fields("latch", latch);
    fields("palette", palette);
  }
};

struct VgaRegisters {
  std::uint8_t misc = 0;
  std::uint8_t feature_control = 0;
  std::uint8_t status1 = 0;
  VgaIndexed<vga::kSequencerBits> sequencer;
  VgaIndexed<vga::kGraphicsBits> graphics;
  VgaIndexed<vga::kAttributeBits> attribute;
  bool attribute_data_next = false;  // the flip-flop at 3C0
  VgaIndexed<vga::kCrtcBits> crtc;
  VgaDac dac;
  std::array<std::uint8_t, 4> latches{};  // a byte of each plane, as last read
  void describe(auto& fields) {
    fields("misc", misc);
    fields("feature_control", feature_control);
    fields("status1", status1);
    fields("sequencer", sequencer);
    fields("graphics", graphics);
    fields("attribute", attribute);
    fields("attribute_data_next", attribute_data_next);
    fields("crtc", crtc);
    fields("dac", dac);
    fields("latches", latches);
  }
};

}  // namespace doppel::hw
