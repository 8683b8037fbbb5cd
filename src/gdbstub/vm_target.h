// DebugTarget over a VirtualMachine.
#pragma once

#include <optional>

#include "gdbstub/debug_target.h"
#include "vm/virtual_machine.h"

namespace doppel::gdbstub {

class VmTarget final : public DebugTarget {
 public:
  /// Takes the machine's debug and state listeners.
  explicit VmTarget(vm::VirtualMachine& machine) : machine_(machine) {}
  ~VmTarget() override;

  void set_listener(Listener listener) override;
  [[nodiscard]] unsigned cpu_count() const override { return static_cast<unsigned>(machine_.vcpu_count()); }
  [[nodiscard]] vm::RunState state() const override { return machine_.state(); }
  [[nodiscard]] const accel::Traits& traits() override { return machine_.accelerator().traits(); }
  [[nodiscard]] bool has_avx() override;
  void run(std::span<const vm::CpuRun> plan) override { machine_.resume(plan); }
  void pause() override { machine_.pause(); }
  void reset() override { machine_.reset(); }
  void quit() override;

  Result<x86::CpuState> read_state(unsigned cpu, x86::StateParts parts) override;
  Result<> write_state(unsigned cpu, const x86::CpuState& state, x86::StateParts parts) override;
  Result<> set_debug(unsigned cpu, const accel::DebugRequest& request) override;
  Result<> inject_breakpoint(unsigned cpu) override;
  Result<memory::GuestPhysAddr> translate(unsigned cpu, std::uint64_t linear) override;
  Result<> read_memory(memory::GuestPhysAddr address, std::span<std::byte> out) override;
  Result<> write_memory(memory::GuestPhysAddr address, std::span<const std::byte> data) override;

 private:
  /// WORK's result, from the CPU's thread.
  template <class Work>
  auto on_cpu(unsigned cpu, Work work);

  vm::VirtualMachine& machine_;
};

}  // namespace doppel::gdbstub
