// The Bochs display interface: SVGA modes by a few 16-bit registers, as QEMU's "VGA" has them (Bochs' VBE display
// interface, "vbe_display_api.txt"; QEMU's docs/specs/standard-vga).
#pragma once

#include <array>
#include <cstdint>

namespace doppel::hw {

namespace dispi {

inline constexpr unsigned kId = 0x0;
inline constexpr unsigned kWidth = 0x1;
inline constexpr unsigned kHeight = 0x2;
inline constexpr unsigned kBitsPerPixel = 0x3;
inline constexpr unsigned kEnable = 0x4;
inline constexpr unsigned kBank = 0x5;
inline constexpr unsigned kVirtualWidth = 0x6;
inline constexpr unsigned kVirtualHeight = 0x7;
inline constexpr unsigned kXOffset = 0x8;
inline constexpr unsigned kYOffset = 0x9;
inline constexpr unsigned kMemory64k = 0xa;  // read-only: the memory's size in units of 64 KiB
inline constexpr unsigned kRegisters = 0xb;

inline constexpr std::uint16_t kId0 = 0xb0c0;
inline constexpr std::uint16_t kId5 = 0xb0c5;

// kEnable.
inline constexpr std::uint16_t kEnabled = 0x01;
inline constexpr std::uint16_t kGetCapabilities = 0x02;  // width, height and depth read as the most there can be
inline constexpr std::uint16_t kEightBitDac = 0x20;
inline constexpr std::uint16_t kKeepMemory = 0x80;

inline constexpr std::uint16_t kMostWidth = 16000;
inline constexpr std::uint16_t kMostHeight = 12000;
inline constexpr std::uint16_t kMostBits = 32;

}  // namespace dispi

struct BochsDispiState {
  std::uint16_t index = 0;
  std::array<std::uint16_t, dispi::kRegisters> values{};
  void describe(auto& fields) {
    fields("index", index);
    fields("values", values);
  }
};

/// No lock: the VGA's guards it.
class BochsDispi {
 public:
  /// MEMORY_SIZE in bytes, up to 4 GiB.
  explicit BochsDispi(std::uint64_t memory_size);

  void reset();
  [[nodiscard]] std::uint16_t index() const { return state_.index; }
  void set_index(std::uint16_t index) { state_.index = index; }

  /// Register INDEX; one that there is not reads as 0 and is not written.
  [[nodiscard]] std::uint16_t read(unsigned index) const;
  /// True if the write has switched a graphics mode on.
  bool write(unsigned index, std::uint16_t value);

  [[nodiscard]] bool enabled() const { return (state_.values[dispi::kEnable] & dispi::kEnabled) != 0; }
  [[nodiscard]] bool keeps_memory() const { return (state_.values[dispi::kEnable] & dispi::kKeepMemory) != 0; }
  [[nodiscard]] bool has_eight_bit_dac() const { return (state_.values[dispi::kEnable] & dispi::kEightBitDac) != 0; }
  [[nodiscard]] unsigned width() const { return state_.values[dispi::kWidth]; }
  [[nodiscard]] unsigned height() const { return state_.values[dispi::kHeight]; }
  [[nodiscard]] unsigned bits_per_pixel() const { return state_.values[dispi::kBitsPerPixel]; }
  /// Where the window's 64 KiB are in the memory, in bytes; 0 outside of graphics modes.
  [[nodiscard]] std::uint32_t bank() const { return enabled() ? state_.values[dispi::kBank] * 0x10000U : 0; }

  [[nodiscard]] const BochsDispiState& state() const { return state_; }
  /// Values that no guest could have written are brought to such as it could.
  void restore(const BochsDispiState& state);

 private:
  [[nodiscard]] std::uint16_t limit(unsigned index, std::uint16_t value) const;
  bool enable(std::uint16_t value);

  const std::uint16_t memory_64k_;
  BochsDispiState state_;
};

}  // namespace doppel::hw
