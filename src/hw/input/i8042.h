// The keyboard controller of a PC, Intel's 8042, with its keyboard and mouse plugged in.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string_view>

#include "base/log.h"
#include "event/clock.h"
#include "hw/core/device.h"
#include "hw/core/irq_line.h"
#include "hw/input/i8042_registers.h"
#include "hw/input/ps2_keyboard.h"
#include "hw/input/ps2_mouse.h"
#include "memory/io_handler.h"

namespace doppel::hw {

struct I8042Pins {
  IrqPin keyboard_irq;  // IRQ 1
  IrqPin aux_irq;       // IRQ 12
  IrqPin a20;           // the level of address line 20: high after reset
  IrqPin reset;         // pulses high when the guest asks for a reset of the processor
};

struct I8042State {
  static constexpr std::string_view kName = "i8042";
  static constexpr std::uint32_t kVersion = 1;
  std::array<std::uint8_t, i8042::kRamSize> ram{};
  std::uint8_t status = 0;
  std::uint8_t output = 0;
  std::uint8_t output_source = 0;
  std::uint8_t pending_command = 0;
  bool translating_break = false;
  bool a20 = true;
  std::vector<std::uint8_t> replies{};
  Ps2KeyboardState keyboard{};
  Ps2MouseState mouse{};
  void describe(auto& fields) {
    fields("ram", ram);
    fields("status", status);
    fields("output", output);
    fields("output_source", output_source);
    fields("pending_command", pending_command);
    fields("translating_break", translating_break);
    fields("a20", a20);
    fields("replies", replies);
    fields("keyboard", keyboard);
    fields("mouse", mouse);
  }
};

/// Ports 60 (data) and 64 (status and command), a handler each. The input functions may be called from any thread; the
/// lights are told on the thread that writes them, with no lock held.
class I8042 final : public Device {
 public:
  static constexpr memory::IoSizes kIoSizes{.min = 1, .max = 1};

  /// CLOCK, the guest's, times the keyboard's repetition.
  I8042(const I8042Pins& pins, event::Clock& clock, Logger log = {});

  [[nodiscard]] std::string_view name() const override { return "i8042"; }
  void reset() override;
  void save(state::Writer& writer) override;
  Result<> load(state::Reader& reader) override;

  /// Port 0x60 and port 0x64, one port each.
  [[nodiscard]] memory::IoHandler& data_port() { return data_port_; }
  [[nodiscard]] memory::IoHandler& command_port() { return command_port_; }

  void key_event(KeyCode code, bool pressed);
  /// In counts: DX to the right, DY down, DZ the wheel towards the user.
  void mouse_move(std::int32_t dx, std::int32_t dy, std::int32_t dz = 0);
  void mouse_button(MouseButton button, bool pressed);
  /// LIGHTS gets bit 0 scroll lock, 1 num lock, 2 caps lock. Before the machine runs.
  void on_leds(std::function<void(std::uint8_t)> lights) { lights_ = std::move(lights); }

 private:
  void power_on();
  enum class Source : std::uint8_t { kController, kKeyboard, kAux };

  class DataPort final : public memory::IoHandler {
   public:
    explicit DataPort(I8042& chip) : chip_(chip) {}
    [[nodiscard]] std::uint64_t read(std::uint64_t offset, unsigned size) override;
    void write(std::uint64_t offset, unsigned size, std::uint64_t value) override;

   private:
    I8042& chip_;
  };
  class CommandPort final : public memory::IoHandler {
   public:
    explicit CommandPort(I8042& chip) : chip_(chip) {}
    [[nodiscard]] std::uint64_t read(std::uint64_t offset, unsigned size) override;
    void write(std::uint64_t offset, unsigned size, std::uint64_t value) override;

   private:
    I8042& chip_;
  };

  [[nodiscard]] std::uint8_t& config() { return ram_[0]; }
  std::uint8_t read_data();
  void write_data(std::uint8_t value);
  void write_command(std::uint8_t command);
  void write_ram(std::uint8_t address, std::uint8_t value);
  void write_output_port(std::uint8_t value);
  void request_reset();
  [[nodiscard]] std::uint8_t read_output_port() const;
  void reply(std::uint8_t value, Source source = Source::kController);
  void set_output(std::uint8_t value, Source source);
  void fill_output();
  bool fill_from_keyboard();
  void update();
  void repeat_key();
  void tell_lights(std::uint8_t leds);

  struct Reply {
    std::uint8_t value;
    Source source;
  };

  const Logger log_;
  event::Clock& clock_;
  DataPort data_port_{*this};
  CommandPort command_port_{*this};

  IrqLine keyboard_irq_;
  IrqLine aux_irq_;
  IrqLine a20_;
  IrqLine reset_;
  std::function<void(std::uint8_t)> lights_;

  std::array<std::uint8_t, i8042::kRamSize> ram_{};
  std::uint8_t status_ = 0;
  std::uint8_t output_ = 0;
  Source output_source_ = Source::kController;
  std::uint8_t pending_command_ = 0;  // that waits for its byte at port 60; 0 if none
  bool translating_break_ = false;    // set 2's break prefix has been swallowed
  std::deque<Reply> replies_;
  Ps2Keyboard keyboard_;
  Ps2Mouse mouse_;
  std::unique_ptr<event::Timer> repeat_timer_;
};

}  // namespace doppel::hw
