// The interrupt chips of a PC and the wires between them: GSIs and MSIs in, processors out. Which chips there are
// depends on what the accelerator has.
#pragma once

#include <memory>
#include <vector>

#include "hw/intc/apic_bus.h"
#include "hw/intc/i8259.h"
#include "hw/intc/ioapic82093.h"
#include "hw/intc/local_apic.h"
#include "hw/machine/machine.h"
#include "hw/machine/port_map.h"

namespace doppel::hw {

/// Pins 0 to 15 are the ISA interrupts, seen by 8259s and I/O APIC (ISA 0 at its pin 2, as the MADT says); 16 to 23 by
/// the I/O APIC alone. As an MsiSink, where devices' messages go. Any thread.
class InterruptBoard final : public IrqSink, public MsiSink {
 public:
  static constexpr unsigned kGsiCount = 24;

  /// Adds the chips' regions to the memory space of PARTS and to PORTS, where those of an accelerator's 8259s are
  /// taken.
  static Result<std::unique_ptr<InterruptBoard>> create(const MachineParts& parts, PortMap& ports);

  void set_irq(unsigned gsi, bool level) override;
  void signal(std::uint64_t address, std::uint32_t data) override;

  [[nodiscard]] LocalApic* local_apic(std::size_t cpu) {
    return cpu < local_apics_.size() ? local_apics_[cpu].get() : nullptr;
  }
  [[nodiscard]] I8259Pair* pic() { return pic_.get(); }
  void end_of_interrupt(std::uint8_t vector);

  /// Every chip, in the order of saving.
  [[nodiscard]] std::vector<Device*> devices();

 private:
  explicit InterruptBoard(const MachineParts& parts);
  Result<> build_local_apics(const MachineParts& parts);
  Result<> build_pic_and_ioapic(const MachineParts& parts, PortMap& ports);

  /// What the I/O APIC sends where the accelerator has the local APICs.
  class MessageForwarder final : public ApicMessageSink {
   public:
    explicit MessageForwarder(MsiSink& sink) : sink_(sink) {}
    void deliver(const ApicMessage& message) override;

   private:
    MsiSink& sink_;
  };

  const InterruptHardware wiring_;
  const Logger log_;
  std::unique_ptr<ApicBus> bus_;
  std::unique_ptr<MessageForwarder> forwarder_;
  std::vector<std::unique_ptr<LocalApic>> local_apics_;
  std::unique_ptr<I8259Pair> pic_;
  std::unique_ptr<Ioapic82093> ioapic_;
};

}  // namespace doppel::hw
