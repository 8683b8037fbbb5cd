// The board's interrupt wires where the accelerator has the chips at their other end.
#pragma once

#include <cstdint>
#include <vector>

#include "accel/accelerator.h"
#include "base/log.h"
#include "hw/core/irq_line.h"
#include "hw/pci/msi_output.h"

namespace doppel::vm {

/// GSIs and MSIs into an accel::Vm. Any thread.
class AcceleratorIrqs final : public hw::IrqSink, public hw::MsiSink {
 public:
  AcceleratorIrqs(accel::Vm& vm, Logger log) : vm_(vm), log_(std::move(log)) {}
  void set_irq(unsigned gsi, bool level) override;
  void signal(std::uint64_t address, std::uint32_t data) override;

 private:
  accel::Vm& vm_;
  const Logger log_;
};

/// The PC's wiring: GSI 0 to 15 are the ISA interrupts, at the 8259s and the I/O APIC (0 at its pin 2), 16 to 23 at the
/// I/O APIC alone.
std::vector<accel::IrqRoute> pc_irq_routes();

}  // namespace doppel::vm
