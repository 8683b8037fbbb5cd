// Intel 82093AA I/O APIC (data sheet 290566), and its successor in the ICHs with an EOI register.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "base/log.h"
#include "hw/core/device.h"
#include "hw/core/irq_line.h"
#include "hw/intc/apic_message.h"
#include "hw/intc/effect_guard.h"
#include "memory/io_handler.h"

namespace doppel::hw {

enum class IoapicVersion : std::uint8_t {
  k11 = 0x11,  // the 82093AA
  k20 = 0x20,  // with the EOI register at offset 0x40
};

struct Ioapic82093State {
  static constexpr std::string_view kName = "ioapic";
  static constexpr std::uint32_t kVersion = 1;
  std::uint8_t select = 0;
  std::uint8_t id = 0;
  std::uint32_t lines = 0;  // bit N: pin N is asserted
  std::array<std::uint64_t, 24> redirection{};

  void describe(auto& fields) {
    fields("select", select);
    fields("id", id);
    fields("lines", lines);
    fields("redirection", redirection);
  }
};

/// 24 pins, each sent to the local APICs as its redirection entry says.
///
/// An input's level means asserted or not: the polarity bit is kept for the guest but changes nothing, as the board
/// tells us assertions and not voltages. Any thread may call any method.
class Ioapic82093 final : public Device, public memory::IoHandler, public IrqSink, public EoiListener {
 public:
  static constexpr unsigned kPins = 24;
  static constexpr std::uint64_t kDefaultAddress = 0xfec00000;
  static constexpr std::uint64_t kSize = 0x1000;
  static constexpr memory::IoSizes kSizes{4, 4, false};

  Ioapic82093(IoapicVersion version, ApicMessageSink& bus, Logger log);

  [[nodiscard]] std::string_view name() const override { return "ioapic"; }
  void reset() override;
  void save(state::Writer& writer) override;
  Result<> load(state::Reader& reader) override;

  void set_irq(unsigned pin, bool level) override;
  /// A local APIC has served VECTOR: level-triggered entries of that vector may fire again, and do so if their pin is
  /// still asserted.
  void end_of_interrupt(std::uint8_t vector) override;

  std::uint64_t read(std::uint64_t offset, unsigned size) override;
  void write(std::uint64_t offset, unsigned size, std::uint64_t value) override;

 private:
  friend class EffectGuard<Ioapic82093>;
  struct Effects {
    std::array<ApicMessage, kPins> messages;
    unsigned count = 0;
  };
  void perform(const Effects& effects);

  [[nodiscard]] std::uint32_t read_window() const;
  void write_window(std::uint32_t value);
  void write_redirection(unsigned pin, bool high, std::uint32_t value);
  void serve_level(unsigned pin);
  void send(unsigned pin);
  void finish(std::uint8_t vector);

  const IoapicVersion version_;
  ApicMessageSink& bus_;
  const Logger log_;
  Effects effects_;  // of the guard in force
  Ioapic82093State state_;
};

}  // namespace doppel::hw
