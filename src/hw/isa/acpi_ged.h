// The registers by which a hardware-reduced ACPI machine sleeps and resets (ACPI 6.4, 4.8.3.7 and 4.8.3.6), as QEMU's
// generic event device has them.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>

#include "base/bits.h"
#include "hw/core/device.h"
#include "memory/io_handler.h"

namespace doppel::hw {

/// Without state of its own: SLP_EN reads as zero, and the status register never says that the machine woke up.
class AcpiGed final : public Device, public memory::IoHandler {
 public:
  static constexpr std::uint64_t kSleepControl = 0;
  static constexpr std::uint64_t kSleepStatus = 1;
  static constexpr std::uint64_t kReset = 2;
  static constexpr std::uint64_t kSize = 3;
  static constexpr std::uint8_t kResetValue = 0x42;
  static constexpr std::uint8_t kSleepTypeS5 = 5;
  static constexpr memory::IoSizes kIoSizes{1, 1};

  /// Called on the thread of the access, with no lock held.
  struct Requests {
    std::function<void()> power_off;
    std::function<void()> reset;
  };

  explicit AcpiGed(Requests requests) : requests_(std::move(requests)) {}

  [[nodiscard]] std::string_view name() const override { return "acpi-ged"; }
  void reset() override {}

  [[nodiscard]] std::uint64_t read(std::uint64_t /*offset*/, unsigned /*size*/) override { return 0; }
  void write(std::uint64_t offset, unsigned /*size*/, std::uint64_t value) override {
    constexpr unsigned kSleepEnable = 5;
    if (offset == kSleepControl && test_bit(value, kSleepEnable) && bits(value, 4, 2) == kSleepTypeS5)
      requests_.power_off();
    if (offset == kReset && value == kResetValue) requests_.reset();
  }

 private:
  const Requests requests_;
};

}  // namespace doppel::hw
