// A vCPU's side of our own local APIC: what the APIC tells the processor waits here for the vCPU's thread.
#pragma once

#include <atomic>
#include <functional>

#include "hw/intc/local_apic.h"
#include "vm/interrupt_port.h"

namespace doppel::vm {

/// As LocalApicClient called from any thread; as InterruptPort from the vCPU's.
class ApicPort final : public InterruptPort, public hw::LocalApicClient {
 public:
  /// WAKE gets the vCPU's thread out of the guest or its sleep. Both are set before the vCPU runs.
  void connect(hw::LocalApic& apic) { apic_ = &apic; }
  void set_wake(std::function<void()> wake) { wake_ = std::move(wake); }

  [[nodiscard]] bool has_local_apic() const override { return true; }
  [[nodiscard]] bool has_work() const override { return signals_.load(std::memory_order_acquire) != 0; }
  std::optional<CpuSignalEvent> take_signal() override;
  [[nodiscard]] bool has_interrupt() const override { return apic_->has_interrupt(); }
  std::optional<std::uint8_t> acknowledge() override { return apic_->acknowledge(); }
  [[nodiscard]] std::uint8_t tpr() const override { return apic_->cr8(); }
  void set_tpr(std::uint8_t tpr) override {
    if (tpr != apic_->cr8()) apic_->set_cr8(tpr);
  }
  [[nodiscard]] std::uint64_t apic_base() const override { return apic_->apic_base(); }
  [[nodiscard]] memory::IoHandler* page_at(memory::GuestPhysAddr address) override;
  bool read_msr(std::uint32_t index, std::uint64_t& value) override;
  bool write_msr(std::uint32_t index, std::uint64_t value) override;

  void interrupt_pending() override { wake(); }
  void nmi() override { post(kNmiBit); }
  void smi() override { post(kSmiBit); }
  void init() override { post(kInitBit); }
  void start_up(std::uint8_t vector) override { post(kStartupBit | vector); }
  /// Machine reset: forgets what waits. vCPUs paused.
  void clear() { signals_ = 0; }

 private:
  // signals_: which wait, and in the low byte the start-up vector.
  static constexpr std::uint32_t kNmiBit = 1U << 8U;
  static constexpr std::uint32_t kSmiBit = 1U << 9U;
  static constexpr std::uint32_t kInitBit = 1U << 10U;
  static constexpr std::uint32_t kStartupBit = 1U << 11U;

  void post(std::uint32_t signal);
  void wake() const {
    if (wake_) wake_();
  }

  hw::LocalApic* apic_ = nullptr;
  std::function<void()> wake_;
  std::atomic<std::uint32_t> signals_{0};
};

}  // namespace doppel::vm
