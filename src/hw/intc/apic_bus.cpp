#include "hw/intc/apic_bus.h"

#include "hw/intc/local_apic.h"

namespace doppel::hw {

Result<> ApicBus::attach(LocalApic& apic) {
  const unsigned used = count();
  for (unsigned slot = 0; slot < kMaxLocalApics; ++slot) {
    if (slot < used && at(slot) != nullptr) continue;
    apics_[slot].store(&apic, std::memory_order_release);
    if (slot == used) count_.store(used + 1, std::memory_order_release);
    return {};
  }
  return fail(ErrorKind::kNoSpace, "there are {} local APICs already", kMaxLocalApics);
}

Result<> ApicBus::attach(EoiListener& ioapic) {
  for (auto& slot : ioapics_) {
    if (slot.load(std::memory_order_relaxed) != nullptr) continue;
    slot.store(&ioapic, std::memory_order_release);
    return {};
  }
  return fail(ErrorKind::kNoSpace, "there are {} I/O APICs already", kMaxIoapics);
}

void ApicBus::detach(LocalApic& apic) {
  for (unsigned slot = 0; slot < count(); ++slot)
    if (at(slot) == &apic) apics_[slot].store(nullptr, std::memory_order_release);
}

void ApicBus::detach(EoiListener& ioapic) {
  for (auto& slot : ioapics_)
    if (slot.load(std::memory_order_relaxed) == &ioapic) slot.store(nullptr, std::memory_order_release);
}

void ApicBus::deliver(const ApicMessage& message, const LocalApic* spared) {
  if (message.delivery_mode == DeliveryMode::kLowestPriority) {
    if (LocalApic* apic = arbitrate(message, spared); apic != nullptr) apic->accept(message);
    return;
  }
  if (message.destination_mode == DestinationMode::kPhysical && message.destination != kApicBroadcast) {
    if (LocalApic* apic = find(message.destination); apic != nullptr && apic != spared) apic->accept(message);
    return;
  }
  for (unsigned slot = 0; slot < count(); ++slot)
    if (LocalApic* apic = at(slot); apic != nullptr && apic != spared && apic->matches(message)) apic->accept(message);
}

void ApicBus::deliver_msi(std::uint64_t address, std::uint32_t data) {
  if (const auto message = decode_msi({address, data}))
    deliver(*message);
  else
    log_.guest_error("write of {:#x} to {:#x} is no MSI", data, address);
}

void ApicBus::broadcast_eoi(std::uint8_t vector) {
  for (auto& slot : ioapics_)
    if (EoiListener* ioapic = slot.load(std::memory_order_acquire); ioapic != nullptr) ioapic->end_of_interrupt(vector);
}

/// APICs are attached in the order of their ids, so the first guess is nearly always right.
LocalApic* ApicBus::find(std::uint32_t id) const {
  ApicMessage probe;
  probe.destination = id;
  const unsigned used = count();
  if (id < used)
    if (LocalApic* apic = at(id); apic != nullptr && apic->matches(probe)) return apic;
  for (unsigned slot = 0; slot < used; ++slot)
    if (LocalApic* apic = at(slot); apic != nullptr && apic->matches(probe)) return apic;
  return nullptr;
}

/// The focus processor if there is one, else the one of lowest priority; equals take turns.
LocalApic* ApicBus::arbitrate(const ApicMessage& message, const LocalApic* spared) {
  const unsigned used = count();
  if (used == 0) return nullptr;
  const unsigned first = turn_.fetch_add(1, std::memory_order_relaxed) % used;
  LocalApic* lowest = nullptr;
  unsigned lowest_priority = 0;
  for (unsigned i = 0; i < used; ++i) {
    LocalApic* apic = at((first + i) % used);
    if (apic == nullptr || apic == spared || !apic->matches(message) || !apic->takes_part()) continue;
    if (apic->is_focus(message.vector)) return apic;
    const unsigned priority = apic->arbitration_priority();
    if (lowest != nullptr && priority >= lowest_priority) continue;
    lowest = apic;
    lowest_priority = priority;
  }
  return lowest;
}

}  // namespace doppel::hw
