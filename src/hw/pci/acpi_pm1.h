// The fixed power management registers: ACPI 6.5 section 4.8.3, PIIX4 (82371AB, 290562-001) section 7.2.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

#include "event/clock.h"

namespace doppel::hw {

/// PM1 status and enable bits.
enum class PmEvent : std::uint16_t {
  kTimer = 0x0001,
  kGlobal = 0x0020,
  kPowerButton = 0x0100,
  kRtc = 0x0400,
  kWake = 0x8000,  // status only
};

/// Status and enable (0h, 2h), control (4h), and the 24-bit, 3.579545 MHz timer (8h). The timer runs from the clock's
/// beginning and no reset stops it. No lock: the owning chip's guards all members; TIMER_DUE comes from the clock
/// without any and shall take the lock and call update().
class AcpiPm1 {
 public:
  static constexpr std::uint64_t kTimerHz = 3'579'545;
  static constexpr unsigned kSize = 12;  // bytes of registers

  struct State {
    std::uint16_t status = 0;
    std::uint16_t enable = 0;
    std::uint16_t control = 0;
    void describe(auto& fields) {
      fields("status", status);
      fields("enable", enable);
      fields("control", control);
    }
  };

  AcpiPm1(event::Clock& clock, std::function<void()> timer_due);

  /// 1, 2 or 4 bytes within an aligned dword; what lies outside reads as zero.
  [[nodiscard]] std::uint32_t read(unsigned offset, unsigned size);
  /// Returns SLP_TYP if the write set SLP_EN.
  std::optional<unsigned> write(unsigned offset, unsigned size, std::uint32_t value);

  void set_status(PmEvent event);
  /// SCI_EN, as the SMI command port sets and clears it.
  void set_acpi_mode(bool on);
  [[nodiscard]] bool acpi_mode() const;
  /// Does an enabled event ask for an interrupt?
  [[nodiscard]] bool event_pending() const;
  /// Notices a timer carry that has come, and arms the timer for the next if the guest wants to know.
  void update();

  void reset();
  [[nodiscard]] State state();
  void set_state(const State& state);

 private:
  [[nodiscard]] std::uint64_t ticks() const;
  [[nodiscard]] std::uint32_t read_dword(unsigned offset);
  void expect_next_carry();

  event::Clock& clock_;
  std::unique_ptr<event::Timer> timer_;
  State state_;
  std::uint64_t next_carry_ = 0;  // in ticks: when bit 23 next changes
};

}  // namespace doppel::hw
