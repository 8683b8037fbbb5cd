// One virtual machine of the software accelerator.
#pragma once

#include <memory>
#include <mutex>
#include <set>
#include <vector>

#include "accel/accelerator.h"
#include "accel/soft/doorbells.h"
#include "accel/soft/interpreter/cpu.h"
#include "accel/soft/soft.h"
#include "accel/soft/translator/translation_observer.h"
#include "base/log.h"

namespace doppel::accel::soft {

/// What local APIC ids of 8 bits and their firmware tables have room for.
inline constexpr unsigned kMaxVcpus = 255;
inline constexpr unsigned kMaxMemorySlots = 4096;

/// What a VM's vCPUs need of it. Outlives them.
struct VmShared {
  Machine machine;
  Doorbells doorbells;
  const std::vector<std::uint32_t>& saved_msrs;
  const x86::FeatureSet supported;
  const Logger log;
  const TranslationOptions translation;
  const std::vector<std::unique_ptr<TranslationObserver>> profiles;
};

/// Any thread; what vCPUs look at changes while they stand still.
class SoftVm final : public Vm {
 public:
  /// Both outlive the VM. CPUID is what vCPUs have until they are given a table.
  SoftVm(const std::vector<std::uint32_t>& saved_msrs, const x86::CpuidTable& cpuid, const Options& options);

  Result<> set_memory_slot(const MemorySlot& slot) override;
  Result<std::vector<std::uint64_t>> take_dirty_log(unsigned slot) override;

  Result<> create_irqchip(IrqchipMode mode, unsigned ioapic_pins) override;
  Result<> create_pit() override;
  Result<std::vector<std::byte>> save_irqchip() override;
  Result<> load_irqchip(std::span<const std::byte> saved) override;

  Result<std::unique_ptr<Vcpu>> create_vcpu(unsigned id) override;

  Result<> set_irq_line(std::uint32_t gsi, bool level) override;
  Result<> set_irq_routing(std::span<const IrqRoute> routes) override;
  Result<> signal_msi(const MsiMessage& message) override;

  Result<> attach_ioeventfd(const IoEventSpec& spec, const event::EventFd& event) override;
  Result<> detach_ioeventfd(const IoEventSpec& spec, const event::EventFd& event) override;
  Result<> attach_irqfd(std::uint32_t gsi, const event::EventFd& event, const event::EventFd* resample) override;
  Result<> detach_irqfd(std::uint32_t gsi, const event::EventFd& event) override;

  Result<> coalesce(memory::GuestPhysAddr address, std::uint64_t size, bool is_port) override;
  Result<> uncoalesce(memory::GuestPhysAddr address, std::uint64_t size, bool is_port) override;
  void drain_coalesced(const CoalescedWrite& write) override;

  Result<> exit_on_msrs(std::span<const std::uint32_t> indexes, bool unknown) override;

  Result<std::uint64_t> get_clock() override;
  Result<> set_clock(std::uint64_t ns) override;

  /// Never needed: there is nothing that the interpreter leaves to others.
  void set_fallback(InstructionFallback* fallback) override;

 private:
  const x86::CpuidTable& cpuid_;
  VmShared shared_;

  std::mutex mutex_;  // guards what follows
  std::set<unsigned> vcpu_ids_;
};

}  // namespace doppel::accel::soft
