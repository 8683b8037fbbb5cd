// Intel 8254 programmable interval timer, as a PC wires it.
#pragma once

#include <array>
#include <cstdint>
#include <memory>

#include "base/log.h"
#include "event/clock.h"
#include "hw/core/device.h"
#include "hw/core/irq_line.h"
#include "hw/timer/i8254_counter.h"
#include "memory/io_handler.h"

namespace doppel::hw {

struct I8254State {
  static constexpr std::string_view kName = "i8254";
  static constexpr std::uint32_t kVersion = 1;
  std::array<I8254CounterState, 3> counters;
  bool irq_enabled = true;
  bool refresh_toggle = false;
  std::uint32_t lost_ticks = 0;

  void describe(auto& fields) {
    fields("counters", counters);
    fields("irq_enabled", irq_enabled);
    fields("refresh_toggle", refresh_toggle);
    fields("lost_ticks", lost_ticks);
  }
};

/// Counter 0 interrupts, counter 1 paces memory refresh (seen in port 61h only), counter 2 sounds the speaker.
/// All counters are functions of the clock's reading, so nothing drifts. In modes 2 and 3 OUT0 reaches IRQ0 as one edge
/// a period and the line stays high between; in the other modes it follows OUT. Ticks that the host served late are
/// made up for at twice the rate, up to kMaxLostTicks; more are dropped.
class I8254 final : public Device, public memory::IoHandler {
 public:
  static constexpr std::uint16_t kPort = 0x40;
  static constexpr std::uint64_t kPorts = 4;
  static constexpr memory::IoSizes kIoSizes{1, 1};
  static constexpr std::uint64_t kFrequencyHz = 1'193'182;
  static constexpr std::uint32_t kMaxLostTicks = 20;

  I8254(event::Clock& clock, IrqPin irq0, Logger log = {});

  [[nodiscard]] std::string_view name() const override { return "isa-pit"; }
  void reset() override;
  void save(state::Writer& writer) override;
  Result<> load(state::Reader& reader) override;

  [[nodiscard]] std::uint64_t read(std::uint64_t offset, unsigned size) override;
  void write(std::uint64_t offset, unsigned size, std::uint64_t value) override;

  // Any thread. What port 61h sees and drives.
  void set_gate2(bool level);
  [[nodiscard]] bool out2();
  /// Toggles with each period of counter 1.
  [[nodiscard]] bool refresh_toggle();

  /// Any thread. False while an HPET takes over IRQ0.
  void set_irq_enabled(bool enabled);

  /// What a loudspeaker on OUT2 would play. Any thread.
  struct Tone {
    std::uint8_t mode = 3;
    bool counting = false;
    double frequency_hz = 0;  // of OUT2 in modes 2 and 3
  };
  [[nodiscard]] Tone tone();

 private:
  using Tick = I8254Counter::Tick;

  [[nodiscard]] Tick now_ticks() const;
  [[nodiscard]] Tick settle();
  [[nodiscard]] bool catch_up(Tick now);
  void drive(Tick now);
  [[nodiscard]] bool clear_of_ticks(Tick when, Tick next) const;
  void tick_irq0(Tick now);
  void control(std::uint8_t word, Tick now);
  void read_back(std::uint8_t command, Tick now);
  void on_timer();

  event::Clock& clock_;
  Logger log_;
  IrqLine irq0_;
  std::array<I8254Counter, 3> counters_;
  bool irq_enabled_ = true;
  bool refresh_toggle_ = false;
  std::uint32_t lost_ticks_ = 0;
  Tick replay_at_ = 0;             // when the next lost tick is made up for
  std::int64_t last_tick_ns_ = 0;  // of IRQ0
  std::unique_ptr<event::Timer> timer_;
};

}  // namespace doppel::hw
