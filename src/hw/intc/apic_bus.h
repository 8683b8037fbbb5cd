// What connects local APICs, I/O APICs and devices that send MSIs.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "base/error.h"
#include "base/log.h"
#include "hw/intc/apic_message.h"

namespace doppel::hw {

class LocalApic;

/// Finds the local APICs that a message is for. Holds no lock, ever: the table of APICs only grows, and what APICs are
/// asked for while looking they answer from atomics. Any thread may call any method, but attach() and detach() only one
/// at a time, and detach() only with no vCPU running.
class ApicBus final : public ApicMessageSink {
 public:
  static constexpr unsigned kMaxLocalApics = 1024;
  static constexpr unsigned kMaxIoapics = 8;

  explicit ApicBus(Logger log) : log_(std::move(log)) {}

  /// Both outlive the bus's use, or are detached.
  Result<> attach(LocalApic& apic);
  Result<> attach(EoiListener& ioapic);
  void detach(LocalApic& apic);
  void detach(EoiListener& ioapic);

  void deliver(const ApicMessage& message) override { deliver(message, nullptr); }
  /// To all it is for except SPARED, which may be null.
  void deliver(const ApicMessage& message, const LocalApic* spared);
  /// A device's write of DATA to ADDRESS in 0xFEExxxxx. What is not an MSI is dropped.
  void deliver_msi(std::uint64_t address, std::uint32_t data);
  /// A local APIC has served the level-triggered VECTOR.
  void broadcast_eoi(std::uint8_t vector);

 private:
  [[nodiscard]] LocalApic* find(std::uint32_t id) const;
  [[nodiscard]] LocalApic* arbitrate(const ApicMessage& message, const LocalApic* spared);
  [[nodiscard]] unsigned count() const { return count_.load(std::memory_order_acquire); }
  [[nodiscard]] LocalApic* at(unsigned slot) const { return apics_[slot].load(std::memory_order_acquire); }

  const Logger log_;
  std::atomic<unsigned> count_{0};  // slots in use; a detached one is null
  std::array<std::atomic<LocalApic*>, kMaxLocalApics> apics_{};
  std::array<std::atomic<EoiListener*>, kMaxIoapics> ioapics_{};
  std::atomic<unsigned> turn_{0};  // where the next arbitration begins
};

}  // namespace doppel::hw
