// The 8259s' request line into the boot processor, where only the local APIC is the accelerator's (split controller).
#pragma once

#include <atomic>
#include <functional>

#include "hw/core/irq_line.h"
#include "hw/intc/interrupt_acknowledge.h"
#include "vm/interrupt_port.h"

namespace doppel::vm {

/// As IrqSink called from any thread; as InterruptPort from the vCPU's.
class PicPort final : public InterruptPort, public hw::IrqSink {
 public:
  /// WAKE gets the vCPU's thread out of the guest. Set before the vCPU runs.
  void connect(hw::InterruptAcknowledge& pic) { pic_ = &pic; }
  void set_wake(std::function<void()> wake) { wake_ = std::move(wake); }

  void set_irq(unsigned /*pin*/, bool level) override {
    pending_.store(level, std::memory_order_release);
    if (level && wake_) wake_();
  }

  [[nodiscard]] bool has_local_apic() const override { return false; }
  [[nodiscard]] bool has_work() const override { return false; }
  std::optional<CpuSignalEvent> take_signal() override { return std::nullopt; }
  [[nodiscard]] bool has_interrupt() const override { return pending_.load(std::memory_order_acquire); }
  std::optional<std::uint8_t> acknowledge() override { return pic_->acknowledge(); }
  [[nodiscard]] std::uint8_t tpr() const override { return 0; }
  void set_tpr(std::uint8_t /*tpr*/) override {}
  [[nodiscard]] std::uint64_t apic_base() const override { return 0; }
  [[nodiscard]] memory::IoHandler* page_at(memory::GuestPhysAddr /*address*/) override { return nullptr; }
  bool read_msr(std::uint32_t /*index*/, std::uint64_t& /*value*/) override { return false; }
  bool write_msr(std::uint32_t /*index*/, std::uint64_t /*value*/) override { return false; }

 private:
  hw::InterruptAcknowledge* pic_ = nullptr;
  std::function<void()> wake_;
  std::atomic<bool> pending_{false};
};

}  // namespace doppel::vm
