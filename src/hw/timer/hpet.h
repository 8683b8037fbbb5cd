// High precision event timers: IA-PC HPET specification 1.0a.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "base/log.h"
#include "event/clock.h"
#include "hw/core/device.h"
#include "hw/core/irq_line.h"
#include "hw/core/property.h"
#include "memory/io_handler.h"

namespace doppel::hw {

struct HpetConfig {
  std::uint8_t timers = 3;  // 3 to 32
  bool msi = false;
  std::uint32_t intcap = 0x00ff0104;  // the global interrupts each timer may be routed to
};

inline const PropertyTable<HpetConfig> kHpetProperties = {
    {"timers", &HpetConfig::timers, "number of comparators, 3 to 32"},
    {"msi", &HpetConfig::msi, "can the timers send messages instead of using a wire?"},
    {"hpet-intcap", &HpetConfig::intcap, "mask of the interrupts a timer can be routed to"},
};

struct HpetTimerState {
  std::uint64_t configuration = 0;  // the writable bits
  std::uint64_t comparator = ~std::uint64_t{0};
  std::uint64_t period = 0;
  std::uint64_t fsb_route = 0;
  bool high_half_expected = false;  // of an accumulator written in two halves
  bool due = false;                 // TARGET is valid
  std::uint64_t target = 0;         // when the comparator matches next, in the clock's ticks

  void describe(auto& fields) {
    fields("configuration", configuration);
    fields("comparator", comparator);
    fields("period", period);
    fields("fsb_route", fsb_route);
    fields("high_half_expected", high_half_expected);
    fields("due", due);
    fields("target", target);
  }
};

struct HpetState {
  static constexpr std::string_view kName = "hpet";
  static constexpr std::uint32_t kVersion = 1;
  std::uint64_t configuration = 0;
  std::uint64_t status = 0;
  std::uint64_t counter = 0;     // while halted; while running, when the clock read STARTED_AT
  std::uint64_t started_at = 0;  // in the clock's ticks
  std::uint32_t held_pins = 0;   // wires that an edge left high
  std::vector<HpetTimerState> timers;

  void describe(auto& fields) {
    fields("configuration", configuration);
    fields("status", status);
    fields("counter", counter);
    fields("started_at", started_at);
    fields("held_pins", held_pins);
    fields("timers", timers);
  }
};

/// A 64-bit counter at 100 MHz, as QEMU's, and 3 to 32 comparators, all of them 64 bits wide and periodic.
/// Nothing is counted: counter and matches follow from the clock's reading. A host timer runs only for a comparator
/// whose interrupt is enabled, and never more often than kMinimumTimerIntervalNs; matches in between become one.
/// A comparator written with a value that has just gone by matches at once, for on a virtual machine it was in the
/// future when the guest worked it out.
class Hpet final : public Device, public memory::IoHandler {
 public:
  static constexpr std::uint64_t kBase = 0xfed00000;
  static constexpr std::uint64_t kSize = 0x400;
  static constexpr memory::IoSizes kIoSizes{4, 8};
  static constexpr std::uint64_t kFrequencyHz = 100'000'000;
  static constexpr unsigned kMinTimers = 3;
  static constexpr unsigned kMaxTimers = 32;

  /// What the board does for the chip. Functions are called with no lock held.
  struct Board {
    IrqSink* interrupts = nullptr;  // pins 0 and 8 (legacy) and those in intcap, numbered as global interrupts
    std::function<void(bool on)> legacy_route;  // on: IRQ0 and IRQ8 are ours, silence the 8254 and the RTC
    std::function<void(std::uint64_t address, std::uint32_t data)> send_message;
  };

  Hpet(event::Clock& clock, const HpetConfig& config, Board board, Logger log = {});

  [[nodiscard]] std::string_view name() const override { return "hpet"; }
  void reset() override;
  void save(state::Writer& writer) override;
  Result<> load(state::Reader& reader) override;

  [[nodiscard]] std::uint64_t read(std::uint64_t offset, unsigned size) override;
  void write(std::uint64_t offset, unsigned size, std::uint64_t value) override;

  /// The capability register; its low half is the ACPI table's event timer block ID.
  [[nodiscard]] std::uint64_t capabilities() const;

 private:
  struct Comparator {
    HpetTimerState state;
    std::uint64_t fired_at = 0;  // the clock's tick of the last interrupt
    std::unique_ptr<event::Timer> timer;
  };
  struct Message {
    std::uint64_t address;
    std::uint32_t data;
  };
  /// What is to be told to others once the lock is gone.
  struct Outbox {
    std::optional<bool> legacy_route;
    std::vector<Message> messages;
  };
  class Entry;

  [[nodiscard]] std::uint64_t now_ticks() const;
  [[nodiscard]] bool enabled() const;
  [[nodiscard]] bool legacy() const;
  [[nodiscard]] std::uint64_t counter(std::uint64_t now) const;
  [[nodiscard]] std::uint64_t timer_configuration(const Comparator& comparator) const;
  [[nodiscard]] unsigned route(unsigned index) const;

  [[nodiscard]] std::uint64_t read_register(std::uint64_t reg, std::uint64_t now);
  [[nodiscard]] std::uint64_t read_timer(const Comparator& comparator, std::uint64_t reg) const;
  void write_register(std::uint64_t reg, std::uint64_t mask, std::uint64_t value, std::uint64_t now);
  void write_configuration(std::uint64_t value, std::uint64_t now);
  void write_timer(unsigned index, std::uint64_t reg, std::uint64_t mask, std::uint64_t value, std::uint64_t now);
  void write_comparator(Comparator& comparator, std::uint64_t mask, std::uint64_t value, std::uint64_t now);

  void aim(Comparator& comparator, std::uint64_t now, bool just_written);
  void catch_up(std::uint64_t now);
  void match(unsigned index, std::uint64_t now);
  void interrupt(unsigned index, std::uint64_t now);
  void drive();
  void arm(Comparator& comparator);
  void deliver(const Outbox& outbox) const;
  void on_timer();

  event::Clock& clock_;
  const HpetConfig config_;
  const Board board_;
  Logger log_;
  std::deque<IrqLine> lines_;
  std::array<IrqLine*, 32> line_of_pin_{};
  std::uint32_t held_pins_ = 0;  // left high by an edge

  std::uint64_t configuration_ = 0;
  std::uint64_t status_ = 0;
  std::uint64_t counter_ = 0;  // see HpetState
  std::uint64_t started_at_ = 0;
  std::vector<Comparator> comparators_;
  Outbox outbox_;
};

}  // namespace doppel::hw
