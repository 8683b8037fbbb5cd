// Motorola MC146818A real-time clock with its CMOS RAM.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/log.h"
#include "event/clock.h"
#include "hw/core/device.h"
#include "hw/core/irq_line.h"
#include "hw/core/property.h"
#include "hw/timer/rtc_calendar.h"
#include "memory/io_handler.h"

namespace doppel::hw {

struct Mc146818Config {
  std::int32_t base_year = 2000;
  std::uint16_t iobase = 0x70;
  std::uint8_t irq = 8;
  std::string lost_tick_policy = "discard";
  bool extended_bank = false;  // 128 more bytes at iobase + 2, as in a PIIX3
};

inline const PropertyTable<Mc146818Config> kMc146818Properties = {
    {"base_year", &Mc146818Config::base_year, "the year that year register 0 stands for"},
    {"iobase", &Mc146818Config::iobase, "first I/O port"},
    {"irq", &Mc146818Config::irq, "ISA interrupt"},
    {"lost_tick_policy", &Mc146818Config::lost_tick_policy,
     "periodic ticks the guest missed: 'discard', or 'slew' to make up for them (-rtc driftfix=slew)"},
};

struct Mc146818State {
  static constexpr std::string_view kName = "mc146818rtc";
  static constexpr std::uint32_t kVersion = 1;
  std::array<std::uint8_t, 256> ram{};
  std::uint8_t index = 0;
  std::uint8_t extended_index = 0;
  bool nmi_masked = false;
  bool irq_enabled = true;
  std::int64_t base_seconds = 0;
  std::int64_t divider_origin_ns = 0;
  std::int64_t seen_seconds = 0;
  std::uint64_t seen_period = 0;
  std::uint32_t lost_ticks = 0;
  std::int64_t replay_at_ns = 0;

  void describe(auto& fields) {
    fields("ram", ram);
    fields("index", index);
    fields("extended_index", extended_index);
    fields("nmi_masked", nmi_masked);
    fields("irq_enabled", irq_enabled);
    fields("base_seconds", base_seconds);
    fields("divider_origin_ns", divider_origin_ns);
    fields("seen_seconds", seen_seconds);
    fields("seen_period", seen_period);
    fields("lost_ticks", lost_ticks);
    fields("replay_at_ns", replay_at_ns);
  }
};

/// Time is the clock's reading plus an offset; nothing is counted, so nothing drifts. Flags of register C are worked
/// out when somebody looks or an enabled interrupt is due, and no timer runs for an interrupt already pending. IRQ8 is
/// high while register C's IRQF is. Daylight saving and the square wave are not there. A saved state holds readings of
/// CLOCK: restore that clock too.
class Mc146818 final : public Device, public memory::IoHandler {
 public:
  static constexpr memory::IoSizes kIoSizes{1, 1};
  static constexpr std::uint32_t kMaxLostTicks = 4096;

  /// Told, with no lock held, when the guest sets the time: seconds that it is now ahead of where it would have been
  /// (QMP's RTC_CHANGE).
  using TimeSet = std::function<void(std::int64_t offset_seconds)>;

  /// START_NS is what the clock shows now, since 1970: see rtc_start_ns().
  Mc146818(event::Clock& clock, std::int64_t start_ns, Mc146818Config config, IrqPin irq8, TimeSet time_set = {},
           Logger log = {});
  /// Whether the properties hold values that make sense.
  static Result<> validate(const Mc146818Config& config);

  [[nodiscard]] std::string_view name() const override { return "mc146818rtc"; }
  /// Memory and time have a battery: only interrupts are reset.
  void reset() override;
  void save(state::Writer& writer) override;
  Result<> load(state::Reader& reader) override;

  [[nodiscard]] std::uint16_t port() const { return config_.iobase; }
  [[nodiscard]] std::uint64_t ports() const { return config_.extended_bank ? 4 : 2; }
  [[nodiscard]] std::uint64_t read(std::uint64_t offset, unsigned size) override;
  void write(std::uint64_t offset, unsigned size, std::uint64_t value) override;

  // Any thread.
  /// A CMOS byte outside of the clock's own registers, as the machine fills it in.
  void set_cmos(std::uint8_t index, std::uint8_t value);
  [[nodiscard]] std::uint8_t cmos(std::uint8_t index);
  /// What the clock's face shows, in seconds since 1970.
  [[nodiscard]] std::int64_t calendar_seconds();
  /// Bit 7 of port 70h: the guest wants no NMI.
  [[nodiscard]] bool nmi_masked();
  /// False while an HPET takes over IRQ8.
  void set_irq_enabled(bool enabled);

 private:
  using Change = std::optional<std::int64_t>;

  [[nodiscard]] bool divider_running() const;
  [[nodiscard]] bool running() const;
  [[nodiscard]] RtcFormat format() const;
  [[nodiscard]] RtcAlarm alarm() const;
  [[nodiscard]] std::int64_t divider_ns(std::int64_t now) const;
  [[nodiscard]] std::int64_t seconds(std::int64_t now) const;
  [[nodiscard]] std::int64_t register_seconds() const;
  [[nodiscard]] std::uint64_t period_ticks() const;
  [[nodiscard]] std::uint64_t period_index(std::int64_t now) const;

  [[nodiscard]] std::uint8_t read_register(std::uint8_t index, std::int64_t now);
  [[nodiscard]] std::uint8_t read_c(std::int64_t now);
  Change write_register(std::uint8_t index, std::uint8_t value, std::int64_t now);
  Change write_a(std::uint8_t value, std::int64_t now);
  Change write_b(std::uint8_t value, std::int64_t now);
  Change write_time(std::uint8_t index, std::uint8_t value, std::int64_t now);
  void freeze_time(std::int64_t now);
  Change apply_time(std::int64_t now);

  void catch_up(std::int64_t now);
  void forget_past(std::int64_t now);
  void count_periods(std::uint64_t periods);
  void drive(std::int64_t now);
  [[nodiscard]] std::int64_t next_deadline(std::int64_t now) const;
  void on_timer();

  event::Clock& clock_;
  const Mc146818Config config_;
  const bool slew_;
  const TimeSet time_set_;
  Logger log_;
  IrqLine irq_;
  const std::int64_t reference_ns_;  // the untouched clock's face, less the clock's reading

  // A register that time keeps holds its value only while the clock stands; else it is encoded when read.
  std::array<std::uint8_t, 256> ram_{};
  std::uint8_t index_ = 0;
  std::uint8_t extended_index_ = 0;
  bool nmi_masked_ = false;
  bool irq_enabled_ = true;
  std::int64_t base_seconds_ = 0;       // the face when the divider chain read zero
  std::int64_t divider_origin_ns_ = 0;  // when that was
  std::int64_t seen_seconds_ = 0;       // up to which update and alarm flags are settled
  std::uint64_t seen_period_ = 0;       // up to which the periodic flag is
  std::uint32_t lost_ticks_ = 0;
  std::int64_t replay_at_ns_ = 0;  // when the next lost tick may be made up for
  std::unique_ptr<event::Timer> timer_;
};

}  // namespace doppel::hw
