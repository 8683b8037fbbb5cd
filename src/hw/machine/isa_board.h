// The ISA devices that every PC board has, and those a user adds.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "hw/input/i8042.h"
#include "hw/isa/i8237.h"
#include "hw/isa/port92.h"
#include "hw/isa/post_code.h"
#include "hw/machine/interrupt_board.h"
#include "hw/machine/machine.h"
#include "hw/machine/pc_config.h"
#include "hw/machine/port_map.h"
#include "hw/serial/uart16550.h"
#include "hw/timer/cmos_layout.h"
#include "hw/timer/hpet.h"
#include "hw/timer/i8254.h"
#include "hw/timer/mc146818.h"
#include "hw/timer/speaker.h"

namespace doppel::hw {

/// Which of them a board has.
struct IsaBoardConfig {
  bool pit = true;
  bool rtc = true;
  bool hpet = true;
  bool dma = true;
  bool i8042 = true;
  std::int64_t rtc_start_ns = 0;  // what the clock shows when the machine is built, since 1970
  bool rtc_slew = false;
  CmosSetup cmos;
};

/// A serial port as the ACPI tables describe it.
struct SerialPort {
  std::uint32_t index = 0;  // 0 is COM1
  std::uint16_t port = 0;
  unsigned irq = 0;
};

/// Built before the machine runs; afterwards only its devices are reached, from any thread.
class IsaBoard {
 public:
  static Result<std::unique_ptr<IsaBoard>> create(const MachineParts& parts, const IsaBoardConfig& config,
                                                  InterruptBoard& interrupts, PortMap& ports);

  Result<> add_serial(IsaSerialConfig config, chardev::Chardev* chardev);
  /// Takes DEVICE over; it has been put on the bus.
  void own(std::unique_ptr<Device> device) { devices_.push_back(std::move(device)); }

  [[nodiscard]] const std::vector<SerialPort>& serial_ports() const { return serial_ports_; }
  [[nodiscard]] Mc146818* rtc() { return rtc_; }
  [[nodiscard]] I8237* dma() { return dma_; }
  [[nodiscard]] I8042* keyboard_controller() { return i8042_; }
  /// Every device, in the order of saving.
  [[nodiscard]] std::vector<Device*> devices();

 private:
  IsaBoard(const MachineParts& parts, InterruptBoard& interrupts, PortMap& ports);

  Result<> build_timers();
  Result<> build_rtc(const IsaBoardConfig& config);
  Result<> build_hpet();
  Result<> build_controllers(const IsaBoardConfig& config);
  template <class T, class... Args>
  T* make(Args&&... args);

  const MachineParts& parts_;
  IrqFunction reset_pin_;  // of the keyboard controller
  InterruptBoard& interrupts_;
  PortMap& ports_;
  std::vector<std::unique_ptr<Device>> devices_;
  std::vector<SerialPort> serial_ports_;
  I8254* pit_ = nullptr;
  Mc146818* rtc_ = nullptr;
  I8237* dma_ = nullptr;
  I8042* i8042_ = nullptr;
};

}  // namespace doppel::hw
