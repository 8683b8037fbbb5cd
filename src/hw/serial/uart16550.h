// The serial port of a PC: National Semiconductor's 16550A.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>

#include "base/log.h"
#include "chardev/chardev.h"
#include "event/clock.h"
#include "hw/core/device.h"
#include "hw/core/irq_line.h"
#include "hw/core/property.h"
#include "hw/serial/uart16550_registers.h"
#include "memory/io_handler.h"

namespace doppel::hw {

/// `-device isa-serial`. What is left at its default follows from the index: COM1 to COM4.
struct IsaSerialConfig {
  std::uint32_t index = 0xffffffff;  // the next free one
  std::uint32_t iobase = 0xffffffff;
  std::uint32_t irq = 0xffffffff;
  std::string chardev;
};
extern const PropertyTable<IsaSerialConfig> kIsaSerialProperties;

/// Fills in iobase and irq from the index (0 to 3), or fails.
Result<IsaSerialConfig> resolve_isa_serial(IsaSerialConfig config, std::uint32_t next_index);

struct Uart16550State {
  static constexpr std::string_view kName = "uart16550";
  static constexpr std::uint32_t kVersion = 1;
  std::uint16_t divisor = 0;
  std::uint8_t ier = 0, fcr = 0, lcr = 0, mcr = 0, lsr = 0, msr = 0, scr = 0;
  std::uint8_t last_data = 0;
  bool thre_pending = false;
  bool timeout_pending = false;
  std::int64_t timeout_deadline_ns = -1;  // on the guest's clock; -1: not armed
  std::vector<std::uint16_t> receive_fifo;
  std::vector<std::uint8_t> transmit_fifo;
  void describe(auto& fields) {
    fields("divisor", divisor);
    fields("ier", ier);
    fields("fcr", fcr);
    fields("lcr", lcr);
    fields("mcr", mcr);
    fields("lsr", lsr);
    fields("msr", msr);
    fields("scr", scr);
    fields("last_data", last_data);
    fields("thre_pending", thre_pending);
    fields("timeout_pending", timeout_pending);
    fields("timeout_deadline_ns", timeout_deadline_ns);
    fields("receive_fifo", receive_fifo);
    fields("transmit_fifo", transmit_fifo);
  }
};

/// Eight ports. Output goes to the chardev at once, whatever the baud rate; a byte stays in the transmitter only while
/// the chardev is full. Input is taken only as far as the FIFO has room, so nothing is overrun but in loopback. The
/// interrupt pin is gated by OUT2, as on a PC's card. Chardev callbacks come on the loop's thread.
class Uart16550 final : public Device, public memory::IoHandler {
 public:
  static constexpr std::uint64_t kPortCount = 8;
  static constexpr memory::IoSizes kIoSizes{.min = 1, .max = 1};

  /// CHARDEV may be nullptr: nobody is at the other end. CLOCK is the guest's.
  Uart16550(IrqPin irq, event::Clock& clock, chardev::Chardev* chardev, Logger log = {});
  ~Uart16550() override;

  [[nodiscard]] std::string_view name() const override { return "isa-serial"; }
  void reset() override;
  void save(state::Writer& writer) override;
  Result<> load(state::Reader& reader) override;

  [[nodiscard]] std::uint64_t read(std::uint64_t offset, unsigned size) override;
  void write(std::uint64_t offset, unsigned size, std::uint64_t value) override;

  /// The modem's side of CTS, DSR, RI and DCD, as their bits in MSR. All but RI are on unless told otherwise.
  void set_modem_lines(std::uint8_t lines);

 private:
  void power_on();
  void connect();
  void timeout_fired();

  std::uint8_t read_register(uart::Register which);
  void write_register(uart::Register which, std::uint8_t value);
  std::uint8_t read_data();
  std::uint8_t read_interrupt_id();
  std::uint8_t read_line_status();
  void write_data(std::uint8_t value);
  void write_interrupt_enable(std::uint8_t value);
  void write_fifo_control(std::uint8_t value);
  void write_modem_control(std::uint8_t value);

  [[nodiscard]] bool fifos_enabled() const { return (fcr_ & uart::fcr::kEnable) != 0; }
  [[nodiscard]] bool loopback() const { return (mcr_ & uart::mcr::kLoopback) != 0; }
  [[nodiscard]] std::size_t fifo_depth() const { return fifos_enabled() ? uart::kFifoSize : 1; }
  [[nodiscard]] std::size_t trigger_level() const;
  [[nodiscard]] std::size_t room() const;
  [[nodiscard]] std::int64_t character_time_ns() const;
  [[nodiscard]] std::uint8_t interrupt_cause() const;

  void receive(std::uint8_t byte, std::uint8_t errors);
  void clear_receiver();
  void transmit();
  void transmitter_drained();
  void update_modem_lines();
  void arm_timeout();
  void update_interrupt();

  const Logger log_;
  event::Clock& clock_;
  chardev::Chardev* const chardev_;

  IrqLine irq_;
  std::uint16_t divisor_ = 0;
  std::uint8_t ier_ = 0, fcr_ = 0, lcr_ = 0, mcr_ = 0, lsr_ = 0, msr_ = 0, scr_ = 0;
  std::uint8_t modem_lines_ = 0;
  std::uint8_t last_data_ = 0;    // what an empty receiver reads as
  bool thre_pending_ = false;     // the THRE interrupt, until IIR is read or THR written
  bool timeout_pending_ = false;  // the character timeout, until the FIFO is read
  std::int64_t timeout_deadline_ns_ = -1;
  std::deque<std::uint16_t> receive_fifo_;  // each with its LSR error bits in the upper byte
  std::deque<std::uint8_t> transmit_fifo_;
  std::unique_ptr<event::Timer> timeout_timer_;
};

}  // namespace doppel::hw
