// One virtual processor: a descriptor and the page that the kernel shares through it.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "accel/accelerator.h"
#include "accel/kvm/kvm_abi.h"
#include "accel/kvm/mapped_pages.h"
#include "accel/kvm/system_info.h"
#include "base/unique_fd.h"

namespace doppel::accel::kvm {

/// What a VM's vCPUs need of it. Outlives them.
struct VmShared {
  const SystemInfo& info;
  std::size_t xsave_size = sizeof(kvm_xsave);
  std::atomic<IrqchipMode> irqchip{IrqchipMode::kOff};
  std::atomic<InstructionFallback*> fallback{nullptr};
};

/// Which register classes KVM_RUN should leave in the shared page. Each costs the kernel time at every exit, fetching
/// one by ioctl costs more; so a class is asked for once somebody has read it, until nobody has for a while.
class SyncPolicy {
 public:
  explicit SyncPolicy(std::uint64_t supported) : supported_(supported) {}

  /// CLASSES (KVM_SYNC_X86_*) were read after an exit.
  void used(std::uint64_t classes) {
    wanted_ |= classes & supported_;
    idle_runs_ = 0;
  }
  /// What to ask for at this entry.
  std::uint64_t for_next_run() {
    if (wanted_ != 0 && ++idle_runs_ > kForgetAfter) wanted_ = 0;
    return wanted_;
  }

 private:
  static constexpr unsigned kForgetAfter = 64;
  const std::uint64_t supported_;
  std::uint64_t wanted_ = 0;
  unsigned idle_runs_ = 0;
};

class KvmVcpu final : public Vcpu {
 public:
  static Result<std::unique_ptr<KvmVcpu>> create(VmShared& vm, unsigned id, UniqueFd fd);
  ~KvmVcpu() override;

  [[nodiscard]] unsigned id() const override { return id_; }
  Result<VcpuExit> run() override;
  void kick() override;
  Result<> complete_exit() override;
  Result<> get_state(x86::CpuState& state, x86::StateParts parts) override;
  Result<> set_state(const x86::CpuState& state, x86::StateParts parts) override;
  Result<> set_cpuid(const x86::CpuidTable& table) override;
  Result<x86::CpuidTable> get_cpuid() override;
  Result<> inject(const Injection& injection) override;
  [[nodiscard]] bool ready_for_interrupt() const override;
  void request_interrupt_window(bool wanted) override { run_->request_interrupt_window = wanted; }
  [[nodiscard]] std::uint64_t tsc_offset() override;
  [[nodiscard]] std::uint8_t tpr() const override { return static_cast<std::uint8_t>(run_->cr8 & 0xf); }
  void set_tpr(std::uint8_t tpr) override { run_->cr8 = tpr & 0xf; }
  Result<> set_debug(const DebugRequest& request) override;
  Result<memory::GuestPhysAddr> translate(std::uint64_t linear) override;

  [[nodiscard]] int fd() const { return fd_.get(); }

 private:
  KvmVcpu(VmShared& vm, unsigned id, UniqueFd fd, MappedPages pages);

  // Running.
  void adopt_thread();
  int enter();
  InterruptedExit take_kick();
  Result<VcpuExit> host_error(int error);
  Result<bool> try_fallback();
  Result<> write_back(const x86::CpuState& state, const x86::PendingEvents& events_before);
  [[nodiscard]] bool halted_here() const;

  // The shared page as a cache of registers: what is fresh there is what the vCPU has.
  Result<> fetch(std::uint64_t classes);
  Result<> load_missing(std::uint64_t classes);
  Result<> flush_dirty();
  void forget() { fresh_ = 0; }
  Result<> update_readiness();
  [[nodiscard]] std::uint32_t event_flags() const;

  // The parts of the state.
  Result<> get_fpu(x86::CpuState& state);
  Result<> set_fpu(const x86::CpuState& state);
  Result<> get_msrs(std::vector<x86::Msr>& msrs);
  Result<> set_msrs(const std::vector<x86::Msr>& msrs);
  Result<> get_debug_registers(x86::CpuState& state);
  Result<> set_debug_registers(const x86::CpuState& state);
  Result<> get_lapic(x86::CpuState& state);
  Result<> set_lapic(const x86::CpuState& state);
  Result<> get_mp_state(x86::CpuState& state);
  Result<> set_mp_state(x86::MpState mp_state);
  Result<> set_system(const x86::CpuState& state);
  Result<> set_events(const x86::PendingEvents& events);
  Result<> inject_exception(const Injection& injection);
  [[nodiscard]] bool lapic_in_kernel() const;

  VmShared& vm_;
  const unsigned id_;
  const UniqueFd fd_;
  const MappedPages pages_;
  kvm_run* const run_;  // in pages_

  // kick() may come from any thread; the rest belongs to the thread that runs the vCPU.
  std::atomic<bool> kicked_{false};
  std::atomic<pid_t> runner_{0};  // the thread that ran last

  SyncPolicy sync_;
  std::uint64_t fresh_ = 0;    // KVM_SYNC_X86_* that run_->s.regs holds
  bool ran_ = false;           // the last entry reached the guest: dirty registers will be taken
  bool incomplete_ = false;    // the last exit's instruction is not finished
  bool exit_waiting_ = false;  // run_ holds an exit that nobody has seen
  x86::MpState user_mp_state_ = x86::MpState::kRunnable;  // with no local APIC in the kernel
  std::uint64_t fallbacks_ = 0;                           // instructions carried out by the fallback
  x86::CpuState fallback_state_;                          // kept for its allocations
};

}  // namespace doppel::accel::kvm
