// The board's interrupt wires where the accelerator has the chips at their other end.
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <vector>

#include "accel/accelerator.h"
#include "base/log.h"
#include "hw/core/irq_line.h"
#include "hw/pci/msi_output.h"
#include "vm/msi_events.h"

namespace doppel::vm {

/// GSIs and MSIs into an accel::Vm. Any thread.
///
/// With a split interrupt controller the accelerator reports the EOI of a level-triggered vector only if its routing
/// table has an I/O APIC pin (a GSI below 24) that sends it. By which pin is all the same to it, so this keeps there
/// the last 24 level-triggered messages that were sent.
///
/// Messages that come often go by eventfd where the accelerator listens to such.
class AcceleratorIrqs final : public hw::IrqSink, public hw::MsiSink {
 public:
  /// HAS_IRQFDS: the accelerator has them. Its routing table is this object's; with all chips in the accelerator
  /// (kKernel) pc_irq_routes() are in it.
  AcceleratorIrqs(accel::Vm& vm, accel::IrqchipMode mode, Logger log, bool has_irqfds = false);
  void set_irq(unsigned gsi, bool level) override;
  void signal(std::uint64_t address, std::uint32_t data) override;

 private:
  void expect_end_of(const accel::MsiMessage& message);
  bool signal_event(const accel::MsiMessage& message);
  Result<> set_routing();

  accel::Vm& vm_;
  const accel::IrqchipMode mode_;
  const Logger log_;
  std::mutex mutex_;  // guards what is below
  std::vector<accel::IrqRoute> level_routes_;
  std::size_t oldest_ = 0;  // of them, once they are 24
  std::optional<MsiEvents> events_;
};

/// The PC's wiring: GSI 0 to 15 are the ISA interrupts, at the 8259s and the I/O APIC (0 at its pin 2), 16 to 23 at the
/// I/O APIC alone.
std::vector<accel::IrqRoute> pc_irq_routes();

}  // namespace doppel::vm
