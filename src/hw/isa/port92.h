// System control port A, port 92h: fast A20 gate and fast reset.
#pragma once

#include <cstdint>
#include <functional>

#include "hw/core/device.h"
#include "memory/io_handler.h"

namespace doppel::hw {

struct Port92State {
  static constexpr std::string_view kName = "port92";
  static constexpr std::uint32_t kVersion = 1;
  std::uint8_t value = 0;
  void describe(auto& fields) { fields("value", value); }
};

/// Bit 0 resets the processor as it rises, bit 1 opens A20 (the board ORs it with the keyboard controller's).
class Port92 final : public Device, public memory::IoHandler {
 public:
  static constexpr std::uint16_t kPort = 0x92;
  static constexpr std::uint64_t kPorts = 1;
  static constexpr memory::IoSizes kIoSizes{1, 1};

  /// Called with no lock held.
  struct Board {
    std::function<void(bool open)> set_a20;  // whenever it changes; closed at first
    std::function<void()> request_reset;
  };

  explicit Port92(Board board);

  [[nodiscard]] std::string_view name() const override { return "port92"; }
  void reset() override;
  void save(state::Writer& writer) override;
  Result<> load(state::Reader& reader) override;

  [[nodiscard]] std::uint64_t read(std::uint64_t offset, unsigned size) override;
  void write(std::uint64_t offset, unsigned size, std::uint64_t value) override;

 private:
  /// Takes VALUE over and tells the board of A20. Returns what was there.
  std::uint8_t exchange(std::uint8_t value);

  const Board board_;
  std::uint8_t value_ = 0;
};

}  // namespace doppel::hw
