// One counter of an 8254, as arithmetic on ticks: it knows no clock, no lock and no pins.
#pragma once

#include <cstdint>
#include <limits>

#include "base/error.h"

namespace doppel::hw {

/// What a counter remembers; saved as it is.
struct I8254CounterState {
  std::uint8_t mode = 3;
  std::uint8_t access = 3;  // 1: low byte, 2: high byte, 3: low then high
  bool bcd = false;
  bool gate = true;
  bool programmed = false;      // a whole count was written since the control word
  bool running = false;         // counting, or about to with the next pulse
  bool reload_pending = false;  // RELOAD waits: modes 2 and 3 for RELOAD_AT, modes 1 and 5 for a trigger
  std::uint32_t count = 65536;  // being counted, 1 to 65536 (16665 in BCD)
  std::uint32_t reload = 65536;
  std::int64_t start = 0;      // the tick that loaded COUNT
  std::int64_t reload_at = 0;  // tick
  std::int64_t frozen = 0;     // ticks since START when the gate fell, modes 0 and 4
  std::int64_t seen = 0;       // the tick of the last advance()
  std::uint16_t held = 0;      // the counting element while not running
  std::uint8_t low_byte = 0;   // written, waiting for its high byte
  bool write_high = false;
  bool read_high = false;
  bool count_latched = false;
  bool status_latched = false;
  std::uint16_t latched_count = 0;
  std::uint8_t latched_status = 0;

  void describe(auto& fields) {
    fields("mode", mode);
    fields("access", access);
    fields("bcd", bcd);
    fields("gate", gate);
    fields("programmed", programmed);
    fields("running", running);
    fields("reload_pending", reload_pending);
    fields("count", count);
    fields("reload", reload);
    fields("start", start);
    fields("reload_at", reload_at);
    fields("frozen", frozen);
    fields("seen", seen);
    fields("held", held);
    fields("low_byte", low_byte);
    fields("write_high", write_high);
    fields("read_high", read_high);
    fields("count_latched", count_latched);
    fields("status_latched", status_latched);
    fields("latched_count", latched_count);
    fields("latched_status", latched_status);
  }
};

/// Intel 8254 data sheet, "Mode Definitions". NOW is a count of CLK pulses that never goes back. A written count is
/// loaded by the next pulse, so counting starts at NOW + 1. Everything that changes a counter wants advance(now) first.
/// Externally locked.
class I8254Counter {
 public:
  using Tick = std::int64_t;
  static constexpr Tick kNever = std::numeric_limits<Tick>::max();

  /// As the firmware would leave it: counting MODE with COUNT, 0 standing for 65536.
  void reset(std::uint8_t mode, std::uint16_t count, bool gate, Tick now);

  /// Catches up with NOW and returns how many times OUT rose since the last call.
  std::uint64_t advance(Tick now);

  /// The low six bits of a control word whose access field is not 0.
  void control(std::uint8_t word, Tick now);
  void write(std::uint8_t value, Tick now);
  [[nodiscard]] std::uint8_t read(Tick now);
  void latch_count(Tick now);
  void latch_status(Tick now);
  void set_gate(bool level, Tick now);

  [[nodiscard]] bool out(Tick now) const;
  /// The tick after NOW at which OUT rises or its course changes, or kNever. The one-pulse dip of modes 2, 4 and 5 is
  /// not announced, only the rise that ends it.
  [[nodiscard]] Tick next_event(Tick now) const;
  [[nodiscard]] bool periodic() const { return state_.mode == 2 || state_.mode == 3; }
  /// Ticks of one period in modes 2 and 3.
  [[nodiscard]] std::uint32_t period() const { return state_.count; }
  [[nodiscard]] bool gate() const { return state_.gate; }
  [[nodiscard]] bool running() const { return state_.running; }
  [[nodiscard]] std::uint8_t mode() const { return state_.mode; }

  [[nodiscard]] const I8254CounterState& state() const { return state_; }
  Result<> set_state(const I8254CounterState& state);

 private:
  [[nodiscard]] bool paused() const { return !state_.gate && (state_.mode == 0 || state_.mode == 4); }
  [[nodiscard]] Tick elapsed(Tick now) const { return paused() ? state_.frozen : now - state_.start; }
  [[nodiscard]] Tick periods(Tick now) const;
  [[nodiscard]] Tick single_rise() const;
  [[nodiscard]] Tick reload_boundary(Tick now) const;
  [[nodiscard]] std::uint16_t value(Tick now) const;
  [[nodiscard]] std::uint16_t encode(Tick count) const;
  [[nodiscard]] std::uint32_t decode(std::uint16_t written) const;
  void load(std::uint16_t written, Tick now);
  void begin(Tick now);
  void apply_reload();

  I8254CounterState state_;
};

}  // namespace doppel::hw
