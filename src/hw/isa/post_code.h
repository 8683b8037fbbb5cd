// Port 80h, where firmware shows how far it has come.
#pragma once

#include <atomic>
#include <cstdint>

#include "base/log.h"
#include "hw/core/device.h"
#include "memory/io_handler.h"

namespace doppel::hw {

/// Keeps the last code, and shows each new one with `-d power`. Kernels also write here just to lose a
/// microsecond, so it takes no lock; and nothing is saved, for a code is of no use to the guest.
class PostCode final : public Device, public memory::IoHandler {
 public:
  static constexpr std::uint16_t kPort = 0x80;
  static constexpr std::uint64_t kPorts = 1;
  static constexpr memory::IoSizes kIoSizes{1, 4};

  explicit PostCode(Logger log = {}) : log_(std::move(log)) {}

  [[nodiscard]] std::string_view name() const override { return "post-code"; }
  void reset() override { last_ = 0; }

  /// The last code. Any thread.
  [[nodiscard]] std::uint32_t last() const { return last_; }
  [[nodiscard]] std::uint64_t read(std::uint64_t /*offset*/, unsigned /*size*/) override { return last_; }
  void write(std::uint64_t /*offset*/, unsigned /*size*/, std::uint64_t value) override {
    const auto code = static_cast<std::uint32_t>(value);
    if (last_.exchange(code) != code) log_.trace(LogCategory::kPower, "POST code {:#04x}", code);
  }

 private:
  const Logger log_;
  std::atomic<std::uint32_t> last_{0};
};

}  // namespace doppel::hw
