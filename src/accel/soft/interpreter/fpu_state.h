// x87, SSE, AVX and AVX-512 registers in a layout of our own, which native stubs load and store and which CPUID leaf D
// does not matter to.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace doppel::accel::soft {

struct FpuState {
  /// An FXSAVE64 image (SDM 1 10.5.1.1, table 10-2 with 64-bit pointers): x87 and MXCSR live here, its XMM part is
  /// scratch.
  alignas(64) std::array<std::byte, 512> legacy{};
  alignas(64) std::array<std::array<std::byte, 64>, 32> vector{};  // ZMM0-31; XMM and YMM are their low parts
  std::array<std::uint64_t, 8> mask{};                             // k0-k7
  std::uint32_t pkru = 0;
  std::uint16_t fcs = 0;  // selectors of the x87 instruction and operand pointers
  std::uint16_t fds = 0;

  template <class T>
  [[nodiscard]] T legacy_field(std::size_t offset) const {
    T value;
    std::memcpy(&value, legacy.data() + offset, sizeof value);
    return value;
  }
  template <class T>
  void set_legacy_field(std::size_t offset, T value) {
    std::memcpy(legacy.data() + offset, &value, sizeof value);
  }
  // Offsets in LEGACY.
  static constexpr std::size_t kFcw = 0;     // 16 bits
  static constexpr std::size_t kFsw = 2;     // 16 bits
  static constexpr std::size_t kFtw = 4;     // 8 bits, abridged
  static constexpr std::size_t kFop = 6;     // 16 bits
  static constexpr std::size_t kFip = 8;     // 64 bits
  static constexpr std::size_t kFdp = 16;    // 64 bits
  static constexpr std::size_t kMxcsr = 24;  // 32 bits
  static constexpr std::size_t kSt0 = 32;    // 8 registers, 16 bytes each

  [[nodiscard]] std::uint32_t mxcsr() const { return legacy_field<std::uint32_t>(kMxcsr); }
  void set_mxcsr(std::uint32_t value) { set_legacy_field(kMxcsr, value); }

  static constexpr std::uint32_t kInitialMxcsr = 0x1f80;

  /// As after RESET (SDM 3A table 9-1): FCW 0040, x87 registers +0.0, MXCSR 1f80, all else zero.
  void reset();
  /// As FNINIT leaves x87 state, the registers zero: its initial configuration (SDM 1 13.6).
  void init_x87();
  /// Loads FCW and FSW as the processor does: reserved bits keep their values, ES and B follow from the exceptions.
  void set_x87_words(std::uint16_t fcw, std::uint16_t fsw);
  /// An unmasked x87 exception waits for the next waiting instruction (SDM 1 8.6).
  [[nodiscard]] bool x87_exception_pending() const { return (legacy_field<std::uint16_t>(kFsw) & 0x80U) != 0; }
};

}  // namespace doppel::accel::soft
