// One virtual machine: memory slots, interrupt controllers, doorbells.
#pragma once

#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "accel/accelerator.h"
#include "accel/kvm/coalesced_ring.h"
#include "accel/kvm/mapped_pages.h"
#include "accel/kvm/system_info.h"
#include "accel/kvm/vcpu.h"
#include "base/unique_fd.h"

namespace doppel::accel::kvm {

/// Any thread. The kernel orders what concerns itself; the mutex guards what we remember.
class KvmVm final : public Vm {
 public:
  static Result<std::unique_ptr<KvmVm>> create(const SystemInfo& info, UniqueFd fd);

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

  void set_fallback(InstructionFallback* fallback) override;

 private:
  KvmVm(const SystemInfo& info, UniqueFd fd) : info_(info), fd_(std::move(fd)), shared_{.info = info} {}

  Result<> prepare();
  Result<> enable(std::uint32_t capability, std::uint64_t argument);
  Result<> map_coalesced_ring(int vcpu_fd);
  Result<> clear_dirty_log(unsigned slot, std::span<std::uint64_t> bitmap, std::uint64_t pages);
  Result<> ioeventfd(const IoEventSpec& spec, const event::EventFd& event, std::uint32_t flags);
  Result<> coalesced_zone(unsigned long request, memory::GuestPhysAddr address, std::uint64_t size, bool is_port);

  const SystemInfo& info_;
  const UniqueFd fd_;
  VmShared shared_;

  std::mutex mutex_;  // guards what follows
  std::unordered_map<unsigned, std::uint64_t> slot_pages_;
  bool has_vcpus_ = false;
  bool has_pit_ = false;
  MappedPages ring_pages_;
  std::unique_ptr<CoalescedRing> owned_ring_;
  std::atomic<CoalescedRing*> ring_{nullptr};  // owned_ring_ once it is there, to be read without the mutex
};

}  // namespace doppel::accel::kvm
