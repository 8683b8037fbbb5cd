// The task file: what the guest writes before a command, and reads after it.
#pragma once

#include <array>
#include <cstdint>

#include "base/bits.h"
#include "hw/ide/ata_registers.h"

namespace doppel::hw {

/// The disk's shape as CYLINDER, HEAD and SECTOR numbers see it.
struct IdeGeometry {
  std::uint32_t cylinders = 0;
  std::uint32_t heads = 0;
  std::uint32_t sectors = 0;  // per track
  bool operator==(const IdeGeometry&) const = default;
};

/// One device's registers. Each of the five for parameters has two bytes: for 48-bit commands the one written before is
/// the high-order one (ATA/ATAPI-6, section 6.20).
struct TaskFile {
  static constexpr unsigned kParameters = 5;
  using Parameters = std::array<std::uint8_t, kParameters>;  // features, count, LBA low, mid, high

  Parameters now{};
  Parameters before{};
  std::uint8_t device = 0;
  std::uint8_t status = 0;
  std::uint8_t error = 0;

  /// REG is kFeatures to kLbaHigh.
  void write(ata::Register reg, std::uint8_t value) {
    const auto index = static_cast<unsigned>(reg) - 1U;
    before[index] = now[index];
    now[index] = value;
  }
  [[nodiscard]] std::uint8_t parameter(ata::Register reg, bool high_order = false) const {
    return (high_order ? before : now)[static_cast<unsigned>(reg) - 1U];
  }

  [[nodiscard]] std::uint8_t features() const { return now[0]; }
  [[nodiscard]] std::uint8_t count() const { return now[1]; }
  void set_count(std::uint8_t value) { now[1] = value; }
  /// LBA mid and high as one number: a byte count of ATAPI, SMART's key.
  [[nodiscard]] std::uint16_t lba_mid_high() const { return static_cast<std::uint16_t>(now[3] | now[4] << 8U); }
  void set_lba_mid_high(std::uint16_t value) {
    now[3] = static_cast<std::uint8_t>(value);
    now[4] = static_cast<std::uint8_t>(value >> 8U);
  }

  /// The device register's lower half: a head, or bits 27 to 24 of an LBA.
  [[nodiscard]] unsigned head() const { return device & ata::device::kHead; }
  void set_head(unsigned head) { device = with_bits(device, 3, 0, static_cast<std::uint8_t>(head)); }

  /// Sectors a command is to transfer: 0 stands for the most, 256 or 65536.
  [[nodiscard]] std::uint32_t sectors(bool ext) const {
    if (!ext) return now[1] == 0 ? 0x100 : now[1];
    const auto both = static_cast<std::uint32_t>(now[1] | before[1] << 8U);
    return both == 0 ? 0x10000 : both;
  }
  [[nodiscard]] std::uint64_t lba28() const {
    return now[2] | std::uint64_t{now[3]} << 8U | std::uint64_t{now[4]} << 16U | std::uint64_t{head()} << 24U;
  }
  [[nodiscard]] std::uint64_t lba48() const {
    const std::uint64_t low = now[2] | std::uint64_t{now[3]} << 8U | std::uint64_t{now[4]} << 16U;
    return low | std::uint64_t{before[2]} << 24U | std::uint64_t{before[3]} << 32U | std::uint64_t{before[4]} << 40U;
  }
  void set_lba28(std::uint64_t lba) {
    for (unsigned i = 0; i < 3; ++i) now[2 + i] = static_cast<std::uint8_t>(lba >> (8 * i));
    set_head(static_cast<unsigned>(lba >> 24U));
  }
  void set_lba48(std::uint64_t lba) {
    for (unsigned i = 0; i < 3; ++i) {
      now[2 + i] = static_cast<std::uint8_t>(lba >> (8 * i));
      before[2 + i] = static_cast<std::uint8_t>(lba >> (24 + 8 * i));
    }
  }

  void describe(auto& fields) {
    fields("now", now);
    fields("before", before);
    fields("device", device);
    fields("status", status);
    fields("error", error);
  }
};

}  // namespace doppel::hw
