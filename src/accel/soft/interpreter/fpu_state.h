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

  /// As after RESET (SDM 1 13.6): FCW 037f... is INIT's; reset leaves 0040. All else zero, MXCSR 1f80.
  void reset();
};

}  // namespace doppel::accel::soft
