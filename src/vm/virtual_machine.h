// The composition root: builds a machine from a VmConfig, and runs, pauses, resets and ends it.
//
// Threads: made, run and destroyed on the main thread, whose loop it is given, and so is every public member called,
// unless a line says otherwise. What devices and vCPUs report comes in on their threads; it stops the vCPUs at once and
// is acted on by the loop.
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
#include "ui/curses/curses_display.h"
#include "vm/accelerators.h"
#include "vm/config.h"
#include "vm/disk_set.h"
#include "vm/guest_memory.h"
#include "vm/instruction_stepper.h"
#include "vm/iothread_set.h"
#include "vm/run_state.h"
#include "vm/vcpu_thread.h"

namespace doppel::vm {

class AcceleratorIrqs;
class ApicPort;
class PicPort;

class VirtualMachine final : private VcpuObserver, private hw::MachineEvents {
 public:
  static Result<std::unique_ptr<VirtualMachine>> create(VmConfig config, event::Loop& loop, LogSink& sink,
                                                        AcceleratorOpener opener = open_accelerator);
  ~VirtualMachine() override;

  /// Runs the loop until the machine ends; the process's exit status.
  int run();

  /// Nothing happens to a machine that must be reset first (see needs_reset()), or woken. Disk requests that the host
  /// failed at (RunState::kIoError) are tried again.
  void resume();
  /// Sets going only some CPUs, one entry in PLAN for each. kStep: one instruction without interrupts, then a DebugExit
  /// with DR6.BS; ask for single steps by Vcpu::set_debug() before. Guest time stands still unless a CPU is to kRun.
  void resume(std::span<const CpuRun> plan);
  void pause(RunState state = RunState::kPaused);
  /// Resets all devices and processors; then the machine runs on if it ran, and is paused if it was off or broken. The
  /// processors wait for disk requests from before.
  void reset();
  /// Tells the guest, or wakes it from its sleep.
  void power_button();
  /// Ends RunState::kSuspended; otherwise nothing.
  void wake();
  /// Ends run() with STATUS. Any thread.
  void quit(int status);
  /// Goes on after RunState::kIoError; otherwise nothing.
  void retry_disks();

  [[nodiscard]] RunState state() const { return state_; }
  [[nodiscard]] bool running() const { return state_ == RunState::kRunning; }
  /// Powered off, or broken: there is nothing to go on with.
  [[nodiscard]] bool needs_reset() const { return state_ == RunState::kShutdown || state_ == RunState::kInternalError; }
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

  // hw::MachineEvents, on any thread.
  void reset_requested() override;
  void power_off_requested() override;
  void suspend_requested() override;
  void exit_requested(int status) override;
  void guest_panicked() override;

  /// What stops the machine from inside.
  enum class Request : std::uint8_t { kDebug, kSuspend, kReset, kPowerOff, kExit, kPanic, kStuck };
  /// Stops all vCPUs before their next instruction and lets ACT run on the loop's thread, all vCPUs paused. Any thread.
  /// Of several requests of one KIND before the loop gets to them, the first counts; a reset voids those before it.
  void stop_and(Request kind, std::function<void()> act);
  /// The vCPUs and the guest's time, without a change of state. halt() may be called again and again.
  void halt();
  void start(std::span<const CpuRun> plan);
  void set_state(RunState state);
  using Restart = void (hw::Machine::*)();
  void restart_hardware(Restart how);
  void settle(std::vector<CpuRun> plan);
  void reset_vcpus();
  void disk_stopped(const std::string& why);
  void reset_or_exit();
  void power_off();
  void panicked();

  const VmConfig config_;
  event::Loop& loop_;
  const Logger log_;
  RunState state_ = RunState::kPrelaunch;
  std::atomic<std::uint32_t> requested_{0};  // bit N: Request N waits for the loop
  std::atomic<std::uint64_t> resets_{0};
  Restart unsettled_ = nullptr;  // a restart that found disks at work
  std::unique_ptr<event::Timer> settling_;
  const std::shared_ptr<const bool> alive_ = std::make_shared<const bool>(true);  // for what is posted to the loop
  std::optional<int> exit_status_;
  DebugListener debug_listener_;
  StateListener state_listener_;

  // In the order of making; destroyed in reverse.
  std::unique_ptr<accel::Accelerator> accelerator_;
  std::unique_ptr<accel::Vm> vm_;
  std::vector<std::byte> irqchip_at_reset_;  // if the accelerator has the chips
  memory::Topology topology_;
  GuestMemory guest_memory_;
  std::unique_ptr<memory::AddressSpace> memory_;
  std::unique_ptr<memory::AddressSpace> ports_;
  std::unique_ptr<accel::SlotTable> slots_;
  std::unique_ptr<accel::SlotTable> port_slots_;  // of these only the doorbells
  std::unique_ptr<InstructionStepper> stepper_;   // for what the accelerator cannot execute
  std::unique_ptr<chardev::ChardevSet> chardevs_;
  std::unique_ptr<IoThreadSet> iothreads_;  // running from the end of building on
  std::unique_ptr<DiskSet> disks_;
  std::unique_ptr<AcceleratorIrqs> accelerator_irqs_;
  std::vector<std::unique_ptr<ApicPort>> apic_ports_;  // empty when the accelerator has the local APICs
  std::unique_ptr<PicPort> pic_port_;                  // only with a split interrupt controller
  std::unique_ptr<hw::Machine> machine_;
  std::unique_ptr<ui::CursesDisplay> display_;
  std::vector<std::unique_ptr<VcpuThread>> vcpus_;
};

}  // namespace doppel::vm
