// The PIIX4's SMBus host controller, on a bus with nothing on it: 82371AB (290562-001), section 7.3.
#pragma once

#include <array>
#include <cstdint>

namespace doppel::hw {

/// Every transaction ends at once with a device error, as an unanswered address does. No lock: the chip's guards it.
class Piix4Smbus {
 public:
  static constexpr unsigned kSize = 16;  // ports
  using Registers = std::array<std::uint8_t, kSize>;

  [[nodiscard]] std::uint8_t read(unsigned offset) const { return offset < kSize ? registers_[offset] : 0xff; }
  void write(unsigned offset, std::uint8_t value);
  void reset() { registers_ = {}; }

  [[nodiscard]] const Registers& registers() const { return registers_; }
  void set_registers(const Registers& registers) { registers_ = registers; }

 private:
  Registers registers_{};
};

}  // namespace doppel::hw
