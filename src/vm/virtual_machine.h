// The composition root: builds a machine from a VmConfig, and runs, pauses, resets and ends it.
//
// Threads: made, run and destroyed on the loop's thread, and so is every public member called, unless a line says
// otherwise. What devices and vCPUs report comes in on their threads; it stops the vCPUs at once and is acted on by the
// loop.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "accel/accelerator.h"
#include "accel/slot_table.h"
#include "base/log.h"
#include "chardev/create.h"
#include "event/loop.h"
#include "hw/machine/machine.h"
#include "memory/address_space.h"
#include "vm/config.h"
#include "vm/guest_memory.h"
#include "vm/run_state.h"
#include "vm/vcpu_thread.h"

namespace doppel::vm {

class AcceleratorIrqs;
class ApicPort;
class PicPort;

class VirtualMachine final : private VcpuObserver, private hw::MachineEvents {
 public:
  static Result<std::unique_ptr<VirtualMachine>> create(VmConfig config, event::Loop& loop, LogSink& sink);
  ~VirtualMachine() override;

  /// Runs the loop until the machine ends; the process's exit status.
  int run();

  void resume();
  /// Sets going only some CPUs, one entry in PLAN for each. kStep: one instruction without interrupts, then a DebugExit
  /// with DR6.BS; ask for single steps by Vcpu::set_debug() before. Guest time stands still unless a CPU is to kRun.
  void resume(std::span<const CpuRun> plan);
  void pause(RunState state = RunState::kPaused);
  /// Resets all devices and processors, then runs on as before.
  void reset();
  void power_button();
  /// Ends run() with STATUS. Any thread.
  void quit(int status);

  [[nodiscard]] RunState state() const { return state_; }
  [[nodiscard]] bool running() const { return state_ == RunState::kRunning; }
  [[nodiscard]] const VmConfig& config() const { return config_; }
  [[nodiscard]] accel::Accelerator& accelerator() { return *accelerator_; }
  [[nodiscard]] accel::Vm& accelerator_vm() { return *vm_; }
  [[nodiscard]] memory::AddressSpace& memory() { return *memory_; }
  [[nodiscard]] memory::AddressSpace& ports() { return *ports_; }
  [[nodiscard]] hw::Machine& machine() { return *machine_; }
  [[nodiscard]] std::size_t vcpu_count() const { return vcpus_.size(); }
  [[nodiscard]] VcpuThread& vcpu(std::size_t index) { return *vcpus_[index]; }
  [[nodiscard]] event::Loop& loop() { return loop_; }
  [[nodiscard]] chardev::ChardevSet& chardevs() { return *chardevs_; }

  /// Told on the loop's thread, all vCPUs paused, of each DebugExit; one listener at a time.
  using DebugListener = std::function<void(unsigned cpu, const accel::DebugExit& exit)>;
  void set_debug_listener(DebugListener listener) { debug_listener_ = std::move(listener); }
  /// Told on the loop's thread of each change of state.
  using StateListener = std::function<void(RunState state)>;
  void set_state_listener(StateListener listener) { state_listener_ = std::move(listener); }

 private:
  friend class VirtualMachineBuilder;
  VirtualMachine(VmConfig config, event::Loop& loop, LogSink& sink);

  // VcpuObserver, on vCPU threads.
  void guest_triple_fault(unsigned cpu) override;
  void guest_system_event(unsigned cpu, const accel::SystemEventExit& event) override;
  void guest_debug(unsigned cpu, const accel::DebugExit& exit) override;
  void vcpu_stuck(unsigned cpu, const std::string& why, const std::string& registers) override;
  void ioapic_eoi(std::uint8_t vector) override;
  void before_exit() override;

  // hw::MachineEvents, on any thread.
  void reset_requested() override;
  void power_off_requested() override;
  void suspend_requested() override;
  void exit_requested(int status) override;
  void guest_panicked() override;

  /// Stops all vCPUs before their next instruction and lets ACT run on the loop's thread. Any thread. Of several such
  /// requests before the loop gets to them, the first wins.
  void stop_and(std::function<void()> act);
  void wait_until_paused();
  void set_state(RunState state);
  void reset_vcpus();
  void reset_or_exit();
  void power_off();
  void panicked();

  const VmConfig config_;
  event::Loop& loop_;
  const Logger log_;
  RunState state_ = RunState::kPrelaunch;
  std::atomic<bool> stop_requested_{false};
  std::optional<int> exit_status_;
  DebugListener debug_listener_;
  StateListener state_listener_;

  // In the order of making; destroyed in reverse.
  std::unique_ptr<accel::Accelerator> accelerator_;
  std::unique_ptr<accel::Vm> vm_;
  memory::Topology topology_;
  GuestMemory guest_memory_;
  std::unique_ptr<memory::AddressSpace> memory_;
  std::unique_ptr<memory::AddressSpace> ports_;
  std::unique_ptr<accel::SlotTable> slots_;
  std::unique_ptr<chardev::ChardevSet> chardevs_;
  std::unique_ptr<AcceleratorIrqs> accelerator_irqs_;
  std::vector<std::unique_ptr<ApicPort>> apic_ports_;  // empty when the accelerator has the local APICs
  std::unique_ptr<PicPort> pic_port_;                  // only with a split interrupt controller
  std::unique_ptr<hw::Machine> machine_;
  std::vector<std::unique_ptr<VcpuThread>> vcpus_;
};

}  // namespace doppel::vm
