// System control port B, port 61h: the speaker's switches and odd bits of the board.
#pragma once

#include <cstdint>
#include <functional>

#include "hw/core/device.h"
#include "hw/timer/i8254.h"
#include "memory/io_handler.h"

namespace doppel::hw {

struct SystemControlPortBState {
  static constexpr std::string_view kName = "port61";
  static constexpr std::uint32_t kVersion = 1;
  std::uint8_t control = 0;
  void describe(auto& fields) { fields("control", control); }
};

/// Bits, as in the PIIX3 data sheet, "NMI Status and Control": 0 gate of counter 2, 1 speaker data, 2 and 3 masks of
/// SERR# and IOCHK# NMIs (kept, nothing raises them), 4 refresh toggle, 5 OUT of counter 2.
class SystemControlPortB final : public Device, public memory::IoHandler {
 public:
  static constexpr std::uint16_t kPort = 0x61;
  static constexpr std::uint64_t kPorts = 1;
  static constexpr memory::IoSizes kIoSizes{1, 1};

  /// Told, with no lock held, when the loudspeaker is switched: on when both gate and data are. What it then plays is
  /// I8254::tone().
  using SpeakerGate = std::function<void(bool on)>;

  explicit SystemControlPortB(I8254& pit, SpeakerGate speaker = {});

  [[nodiscard]] std::string_view name() const override { return "isa-pcspk"; }
  void reset() override;
  void save(state::Writer& writer) override;
  Result<> load(state::Reader& reader) override;

  [[nodiscard]] std::uint64_t read(std::uint64_t offset, unsigned size) override;
  void write(std::uint64_t offset, unsigned size, std::uint64_t value) override;

 private:
  void set_control(std::uint8_t control);

  I8254& pit_;
  const SpeakerGate speaker_;
  std::uint8_t control_ = 0;  // bits 3 to 0
};

}  // namespace doppel::hw
