// The PIIX3's PCI-to-ISA bridge (82371SB function 0, 290550-002): interrupt routing, reset control.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>
#include <vector>

#include "hw/core/irq_line.h"
#include "hw/pci/io_function.h"
#include "hw/pci/pci_function.h"

namespace doppel::hw {

/// An IrqSink with PIRQA..PIRQD as pins 0..3, for the root PciBus. Drives the ISA IRQs that PIRQRC[A:D] name, as
/// levels; PIRQs that share an IRQ are OR-ed. The interrupt controllers' ELCR must make those IRQs level-triggered:
/// firmware's job.
class Piix3 final : public PciFunction, public IrqSink {
 public:
  static constexpr unsigned kPirqs = 4;
  static constexpr unsigned kIsaIrqs = 16;

  /// ISA_IRQS has the ISA interrupts as pins 0..15. HARD_RESET is called, on the thread of the guest's write and with
  /// no lock held, when the guest asks for a reset of the machine.
  Piix3(const PciServices& services, IrqSink& isa_irqs, std::function<void()> hard_reset);

  [[nodiscard]] std::string_view name() const override { return "PIIX3"; }

  void set_irq(unsigned pirq, bool level) override;

  /// RC, the byte at CF9h; PciHost passes it on.
  [[nodiscard]] memory::IoHandler& reset_control() { return reset_control_; }

  void save(state::Writer& writer) override;
  Result<> load(state::Reader& reader) override;

 protected:
  void reset_chip() override;

 private:
  void define_registers();
  void route();
  void write_reset_control(std::uint8_t value);

  std::function<void()> hard_reset_;
  std::vector<std::unique_ptr<IrqLine>> isa_lines_;
  std::array<bool, kPirqs> pirq_levels_{};
  std::uint8_t reset_register_ = 0;
  IoFunction reset_control_;
};

}  // namespace doppel::hw
