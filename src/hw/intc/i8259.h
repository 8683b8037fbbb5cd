// Intel 8259A programmable interrupt controllers, the PC's pair of them.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

#include "base/log.h"
#include "hw/core/device.h"
#include "hw/core/irq_line.h"
#include "hw/intc/interrupt_acknowledge.h"
#include "memory/io_handler.h"

namespace doppel::hw {

/// What is saved of one chip.
struct I8259State {
  std::uint8_t irr = 0;
  std::uint8_t imr = 0;
  std::uint8_t isr = 0;
  std::uint8_t elcr = 0;    // 1: level-triggered
  std::uint8_t inputs = 0;  // levels of the pins
  std::uint8_t base = 0;    // vector of pin 0
  std::uint8_t icw3 = 0;
  std::uint8_t lowest_priority = 7;  // the pin that comes last
  std::uint8_t init_step = 0;        // the ICW expected next, 2 to 4; 0: none
  bool needs_icw4 = false;
  bool single = false;
  bool ready = false;  // went through an initialisation sequence
  bool auto_eoi = false;
  bool rotate_on_auto_eoi = false;
  bool special_fully_nested = false;
  bool special_mask = false;
  bool read_isr = false;
  bool poll = false;

  void describe(auto& fields) {
    fields("irr", irr);
    fields("imr", imr);
    fields("isr", isr);
    fields("elcr", elcr);
    fields("inputs", inputs);
    fields("base", base);
    fields("icw3", icw3);
    fields("lowest_priority", lowest_priority);
    fields("init_step", init_step);
    fields("needs_icw4", needs_icw4);
    fields("single", single);
    fields("ready", ready);
    fields("auto_eoi", auto_eoi);
    fields("rotate_on_auto_eoi", rotate_on_auto_eoi);
    fields("special_fully_nested", special_fully_nested);
    fields("special_mask", special_mask);
    fields("read_isr", read_isr);
    fields("poll", poll);
  }
};

struct I8259PairState {
  static constexpr std::string_view kName = "i8259-pair";
  static constexpr std::uint32_t kVersion = 1;
  std::array<I8259State, 2> chips;

  void describe(auto& fields) { fields("chips", chips); }
};

/// One 8259A: its registers and priority logic, without lock or wires.
///
/// A rising edge stays latched when the line drops before the acknowledge, as devices here may pulse their lines
/// within no time at all; real chips would answer with a spurious interrupt. MCS-80 mode does not exist on a PC.
class I8259 {
 public:
  enum class Role : std::uint8_t { kMaster, kSlave };

  explicit I8259(Role role) : role_(role) {}

  void reset();
  void set_input(unsigned pin, bool level);
  /// The INT pin.
  [[nodiscard]] bool output() const { return most_urgent().has_value(); }
  /// INTA: takes a pin into service. Empty: the request is gone, and the chip answers as for pin 7.
  std::optional<unsigned> acknowledge();
  [[nodiscard]] std::uint8_t vector_of(unsigned pin) const { return static_cast<std::uint8_t>(state_.base + pin); }

  std::uint8_t read_command();
  void write_command(std::uint8_t value);
  std::uint8_t read_data();
  void write_data(std::uint8_t value);
  [[nodiscard]] std::uint8_t elcr() const { return state_.elcr; }
  void set_elcr(std::uint8_t value);

  [[nodiscard]] const I8259State& state() const { return state_; }
  /// kCorrupt if no chip could be in that state.
  Result<> set_state(const I8259State& state);

 private:
  [[nodiscard]] std::optional<unsigned> most_urgent() const;
  [[nodiscard]] unsigned priority(std::uint8_t requests) const;
  [[nodiscard]] unsigned pin_at(unsigned priority) const { return (state_.lowest_priority + 1U + priority) & 7U; }
  std::uint8_t poll();
  void begin_initialisation(std::uint8_t icw1);
  void operation(std::uint8_t ocw2);
  void end_of_interrupt(std::optional<unsigned> pin, bool rotate);

  const Role role_;
  I8259State state_;
};

/// The two 8259As of a PC, the slave's INT on the master's pin 2, with the ELCR of the PIIX3 (data sheet
/// 290550, 3.1.6).
///
/// As an IrqSink it has pins 0 to 15; pin 2 is not connected. Any thread may call any method.
class I8259Pair final : public Device, public IrqSink, public InterruptAcknowledge {
 public:
  static constexpr std::uint16_t kMasterPort = 0x20;
  static constexpr std::uint16_t kSlavePort = 0xa0;
  static constexpr std::uint16_t kElcrPort = 0x4d0;
  static constexpr std::uint64_t kPorts = 2;  // at each of them, one byte wide
  static constexpr memory::IoSizes kSizes{1, 1, false};
  static constexpr unsigned kPins = 16;

  /// INTR is the processor's INTR pin or the local APIC's LINT0.
  I8259Pair(IrqPin intr, Logger log);

  [[nodiscard]] std::string_view name() const override { return "i8259"; }
  void reset() override;
  void save(state::Writer& writer) override;
  Result<> load(state::Reader& reader) override;

  void set_irq(unsigned pin, bool level) override;
  std::uint8_t acknowledge() override;

  [[nodiscard]] memory::IoHandler& master_ports() { return master_ports_; }
  [[nodiscard]] memory::IoHandler& slave_ports() { return slave_ports_; }
  [[nodiscard]] memory::IoHandler& elcr_ports() { return elcr_ports_; }

 private:
  class ChipPorts final : public memory::IoHandler {
   public:
    ChipPorts(I8259Pair& pair, I8259& chip) : pair_(pair), chip_(chip) {}
    std::uint64_t read(std::uint64_t offset, unsigned size) override;
    void write(std::uint64_t offset, unsigned size, std::uint64_t value) override;

   private:
    I8259Pair& pair_;
    I8259& chip_;
  };
  class ElcrPorts final : public memory::IoHandler {
   public:
    explicit ElcrPorts(I8259Pair& pair) : pair_(pair) {}
    std::uint64_t read(std::uint64_t offset, unsigned size) override;
    void write(std::uint64_t offset, unsigned size, std::uint64_t value) override;

   private:
    I8259Pair& pair_;
  };

  void update();

  const Logger log_;
  I8259 master_{I8259::Role::kMaster};
  I8259 slave_{I8259::Role::kSlave};
  ChipPorts master_ports_{*this, master_};
  ChipPorts slave_ports_{*this, slave_};
  ElcrPorts elcr_ports_{*this};
  IrqLine intr_;
};

}  // namespace doppel::hw
