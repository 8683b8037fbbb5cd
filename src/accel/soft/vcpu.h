// One virtual processor: the interpreter and its CPU behind the accelerator's contract.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "accel/accelerator.h"
#include "accel/soft/interpreter/cpu_trace.h"
#include "accel/soft/interpreter/interpreter.h"
#include "accel/soft/runtime/low_memory.h"
#include "accel/soft/translator/translation_log.h"
#include "accel/soft/translator/translator.h"
#include "accel/soft/vm.h"

namespace doppel::accel::soft {

/// An instruction that accesses something outside of RAM leaves run() at each access and is executed again from its
/// start with the answers so far (bus_log.h). So RIP stays before it until run() or complete_exit() has finished it.
class SoftVcpu final : public Vcpu {
 public:
  SoftVcpu(VmShared& vm, unsigned id);
  /// Logs what the vCPU did (-d accel).
  ~SoftVcpu() override;
  SoftVcpu(const SoftVcpu&) = delete;
  SoftVcpu& operator=(const SoftVcpu&) = delete;

  [[nodiscard]] unsigned id() const override { return cpu_.id; }
  Result<VcpuExit> run() override;
  void kick() override;
  Result<> complete_exit() override;
  Result<> get_state(x86::CpuState& state, x86::StateParts parts) override;
  Result<> set_state(const x86::CpuState& state, x86::StateParts parts) override;
  Result<> set_cpuid(const x86::CpuidTable& table) override;
  Result<x86::CpuidTable> get_cpuid() override { return cpu_.cpuid; }
  Result<> inject(const Injection& injection) override;
  [[nodiscard]] bool ready_for_interrupt() const override { return interpreter_.accepts_interrupt(); }
  void request_interrupt_window(bool wanted) override { cpu_.irq_window_wanted = wanted; }
  [[nodiscard]] std::uint64_t tsc_offset() override { return cpu_.msrs.tsc_offset; }
  [[nodiscard]] std::uint8_t tpr() const override { return static_cast<std::uint8_t>(cpu_.cr8 & 0xf); }
  void set_tpr(std::uint8_t tpr) override { cpu_.cr8 = tpr & 0xfU; }
  Result<> set_debug(const DebugRequest& request) override;
  Result<memory::GuestPhysAddr> translate(std::uint64_t linear) override;

 private:
  void start_translator();
  void start_trace();
  void log_statistics() const;

  // Running.
  VcpuExit run_inside();
  std::optional<VcpuExit> hand_out();
  bool rings_doorbell(const BusAccess& access) const;
  void take_answer();
  void forget_access();

  // The parts of the state.
  void reset();
  Result<> check_system(const x86::CpuState& state) const;
  void get_msrs(std::vector<x86::Msr>& msrs) const;
  Result<> set_msrs(const std::vector<x86::Msr>& msrs);
  Result<> set_fpu(const x86::CpuState& state);
  void reload_page_directory_pointers();

  VmShared& vm_;
  const LowPointer<Cpu> cpu_owner_;
  Cpu& cpu_;
  std::optional<CpuTrace> trace_;
  std::optional<TranslationLog> translation_log_;
  std::unique_ptr<Translator> translator_;  // null: none; outlives the blocks that it keeps something with
  std::optional<TracedCode> traced_;
  Interpreter interpreter_;

  bool handed_out_ = false;  // cpu_.bus.pending() left as an exit, whose answer lies in what follows
  alignas(std::uint64_t) std::array<std::byte, 8> data_{};
  std::uint64_t msr_value_ = 0;
  std::uint8_t msr_fault_ = 0;

  x86::MpState mp_state_ = x86::MpState::kRunnable;
};

}  // namespace doppel::accel::soft
