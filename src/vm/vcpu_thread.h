// One vCPU's thread: enters the guest, carries out its exits, and stops where the machine asks it to.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "accel/accelerator.h"
#include "base/log.h"
#include "memory/address_space.h"
#include "vm/interrupt_port.h"
#include "x86/cpu_reset.h"

namespace doppel::vm {

/// What the thread tells the machine, on its own thread. Each callee asks for a pause of all vCPUs where the guest must
/// not run on; the thread obeys before its next entry.
class VcpuObserver {
 public:
  virtual ~VcpuObserver() = default;
  virtual void guest_triple_fault(unsigned cpu) = 0;
  virtual void guest_system_event(unsigned cpu, const accel::SystemEventExit& event) = 0;
  virtual void guest_debug(unsigned cpu, const accel::DebugExit& exit) = 0;
  /// The vCPU cannot go on: WHY is one sentence, REGISTERS a dump.
  virtual void vcpu_stuck(unsigned cpu, const std::string& why, const std::string& registers) = 0;
  virtual void ioapic_eoi(std::uint8_t vector) = 0;
};

/// Where a vCPU's accesses go.
struct VcpuBuses {
  memory::AddressSpace& memory;
  memory::AddressSpace& ports;
};

struct VcpuThreadConfig {
  explicit VcpuThreadConfig(VcpuBuses where) : buses(where) {}

  VcpuBuses buses;
  InterruptPort* interrupts = nullptr;  // null when the accelerator has all controllers
  x86::ResetParameters reset;
  bool name_threads = true;
  Logger log;
};

/// Starts paused. Members may be called from any thread but the vCPU's own, except request_pause() and wake(), which
/// may be called from everywhere.
class VcpuThread {
 public:
  VcpuThread(std::unique_ptr<accel::Vcpu> vcpu, VcpuObserver& observer, VcpuThreadConfig config);
  /// Stops the thread.
  ~VcpuThread();
  VcpuThread(const VcpuThread&) = delete;
  VcpuThread& operator=(const VcpuThread&) = delete;

  [[nodiscard]] unsigned id() const { return id_; }
  /// The host's thread id, as in /proc/PID/task.
  [[nodiscard]] int host_thread_id() const { return host_thread_id_; }

  /// After request_pause(), whether or not the thread has come to rest.
  void resume();
  /// Like resume(), for one instruction that ends in guest_debug(). Interrupts wait. A halted CPU stays where it is.
  void step();
  void request_pause();
  /// Returns once the thread is out of the guest and idle. After request_pause().
  void wait_until_paused();
  /// Runs WORK on the vCPU's thread, between two entries, and waits for it. Works paused or not.
  void call(const std::function<void(accel::Vcpu&)>& work);
  /// An interrupt, NMI, INIT or SIPI may be pending.
  void wake();
  /// The vCPU's state between two instructions. With a local APIC of ours this thread knows whether the CPU is halted
  /// or waits for SIPI (kInitReceived); messages on their way to it are taken first where kMpState is asked for, as
  /// they are kept nowhere else.
  Result<> get_state(x86::CpuState& state, x86::StateParts parts);
  Result<> set_state(const x86::CpuState& state, x86::StateParts parts);
  /// RESET: the power-on state, or ENTRY's registers on top of it. While paused.
  Result<> reset(const x86::CpuState* entry);

 private:
  struct ExitHandler;

  void main();
  void begin(bool step);
  void begin_step();
  void finish_step();
  Result<> complete_access();
  bool serve_requests();
  void wait_for_event();
  /// Moves what the local APIC has into the vCPU. False: nothing to run (halted or waiting for SIPI).
  bool prepare_entry();
  [[nodiscard]] x86::StateParts kept_by_vcpu(x86::StateParts parts) const;
  [[nodiscard]] x86::MpState activity() const;
  void set_activity(x86::MpState activity);
  void take_signals();
  void take_signal(CpuSignalEvent event);
  void enter_init();
  void start_up(std::uint8_t page);
  void inject(accel::Injection::Kind kind, std::uint8_t vector);
  void carry_out(accel::VcpuExit& exit);
  void stuck(const std::string& why);

  const unsigned id_;
  const std::unique_ptr<accel::Vcpu> vcpu_;
  VcpuObserver& observer_;
  const VcpuThreadConfig config_;
  const VcpuBuses buses_;
  InterruptPort* const interrupts_;
  const bool own_local_apic_;
  const Logger log_;

  std::atomic<bool> attention_{true};  // something below asks the thread to leave its fast path
  std::mutex mutex_;                   // guards the requests
  std::condition_variable changed_;    // a request came, or was served
  bool pause_requested_ = true;
  bool paused_ = false;
  bool step_requested_ = false;
  bool exit_requested_ = false;
  std::deque<const std::function<void(accel::Vcpu&)>*> calls_;
  bool woken_ = false;
  bool asleep_ = false;  // in wait_for_event(), not in the guest

  // Of the vCPU's thread alone.
  bool halted_ = false;
  bool waiting_for_sipi_ = false;
  bool stepping_ = false;
  std::uint64_t step_from_ = 0;  // RIP
  std::atomic<int> host_thread_id_{0};
  std::atomic<std::thread::id> runner_{};  // the thread, once it runs
  std::thread thread_;
};

}  // namespace doppel::vm
