#include "hw/machine/interrupt_board.h"

namespace doppel::hw {

namespace {

constexpr unsigned kIsaIrqs = 16;
constexpr unsigned kCascade = 2;
constexpr unsigned kTimerPin = 2;  // of the I/O APIC: the MADT overrides ISA interrupt 0 to it
constexpr int kOverPci = 10;       // region priority: above RAM and PCI

}  // namespace

void InterruptBoard::MessageForwarder::deliver(const ApicMessage& message) {
  const MsiWrite msi = encode_msi(message);
  sink_.signal(msi.address, msi.data);
}

InterruptBoard::InterruptBoard(const MachineParts& parts) : wiring_(parts.interrupts), log_(parts.log) {}

Result<std::unique_ptr<InterruptBoard>> InterruptBoard::create(const MachineParts& parts, PortMap& ports) {
  std::unique_ptr<InterruptBoard> board(new InterruptBoard(parts));
  if (parts.interrupts.local_apics) board->bus_ = std::make_unique<ApicBus>(parts.log.named("apic"));
  if (parts.interrupts.pic_and_ioapic) {
    DOPPEL_TRY(board->build_pic_and_ioapic(parts, ports));
  } else {
    for (const std::uint16_t port : {I8259Pair::kMasterPort, I8259Pair::kSlavePort, I8259Pair::kElcrPort})
      DOPPEL_TRY(ports.reserve("pic", port, I8259Pair::kPorts));
  }
  if (parts.interrupts.local_apics) DOPPEL_TRY(board->build_local_apics(parts));
  return board;
}

Result<> InterruptBoard::build_pic_and_ioapic(const MachineParts& parts, PortMap& ports) {
  // With our own local APICs, INTR is LINT0 of the boot processor: set_irq() below asks for it at each edge.
  const IrqPin intr = parts.interrupts.local_apics ? IrqPin{this, kGsiCount} : parts.interrupts.accelerator_intr;
  pic_ = std::make_unique<I8259Pair>(intr, parts.log.named("i8259"));
  constexpr std::uint64_t kPorts = I8259Pair::kPorts;
  DOPPEL_TRY(ports.add("pic-master", I8259Pair::kMasterPort, kPorts, pic_->master_ports(), {1, 1}));
  DOPPEL_TRY(ports.add("pic-slave", I8259Pair::kSlavePort, kPorts, pic_->slave_ports(), {1, 1}));
  DOPPEL_TRY(ports.add("elcr", I8259Pair::kElcrPort, kPorts, pic_->elcr_ports(), {1, 1}));

  ApicMessageSink* messages = bus_.get();
  if (messages == nullptr) {
    forwarder_ = std::make_unique<MessageForwarder>(*wiring_.accelerator_msi);
    messages = forwarder_.get();
  }
  ioapic_ = std::make_unique<Ioapic82093>(IoapicVersion::k20, *messages, parts.log.named("ioapic"));
  if (bus_) DOPPEL_TRY(bus_->attach(*ioapic_));
  parts.memory.root().add(parts.topology.io("ioapic", Ioapic82093::kSize, *ioapic_, Ioapic82093::kSizes),
                          Ioapic82093::kDefaultAddress, kOverPci);
  return {};
}

Result<> InterruptBoard::build_local_apics(const MachineParts& parts) {
  for (std::size_t i = 0; i < parts.interrupts.cpus.size(); ++i) {
    const LocalApicConfig config{.id = parts.cpus[i].apic_id,
                                 .bootstrap = i == 0,
                                 .physical_bits = parts.physical_address_bits,
                                 .tsc_hz = parts.tsc_hz};
    auto apic = std::make_unique<LocalApic>(config, *bus_, *parts.interrupts.cpus[i], parts.clock, parts.tsc_now,
                                            i == 0 ? pic_.get() : nullptr, parts.log.named("apic"));
    DOPPEL_TRY(bus_->attach(*apic));
    local_apics_.push_back(std::move(apic));
  }
  return {};
}

void InterruptBoard::set_irq(unsigned gsi, bool level) {
  if (gsi == kGsiCount) {  // the 8259s' own output
    if (!local_apics_.empty()) local_apics_.front()->set_irq(0, level);
    return;
  }
  if (wiring_.accelerator_gsi != nullptr) return wiring_.accelerator_gsi->set_irq(gsi, level);
  if (gsi < kIsaIrqs && gsi != kCascade) pic_->set_irq(gsi, level);
  if (gsi != kCascade) ioapic_->set_irq(gsi == 0 ? kTimerPin : gsi, level);
}

void InterruptBoard::signal(std::uint64_t address, std::uint32_t data) {
  if (wiring_.accelerator_msi != nullptr)
    wiring_.accelerator_msi->signal(address, data);
  else
    bus_->deliver_msi(address, data);
}

void InterruptBoard::end_of_interrupt(std::uint8_t vector) {
  if (ioapic_) ioapic_->end_of_interrupt(vector);
}

std::vector<Device*> InterruptBoard::devices() {
  std::vector<Device*> devices;
  if (pic_) devices.push_back(pic_.get());
  if (ioapic_) devices.push_back(ioapic_.get());
  for (const auto& apic : local_apics_) devices.push_back(apic.get());
  return devices;
}

}  // namespace doppel::hw
