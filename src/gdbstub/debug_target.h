// What a debugger does to a machine. The stub knows no more of it than this, so that tests can put another in its
// place.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>

#include "accel/accelerator.h"
#include "base/error.h"
#include "memory/address.h"
#include "vm/run_state.h"
#include "vm/vcpu_thread.h"
#include "x86/cpu_state.h"

namespace doppel::gdbstub {

/// All members are called on the loop's thread. State and memory may be asked for while the machine runs.
class DebugTarget {
 public:
  /// Called on the loop's thread, all CPUs stopped; possibly from within one of the members below.
  struct Listener {
    std::function<void(unsigned cpu, const accel::DebugExit& exit)> debug_exit;
    std::function<void(vm::RunState state)> state_changed;
  };

  virtual ~DebugTarget() = default;
  virtual void set_listener(Listener listener) = 0;

  [[nodiscard]] virtual unsigned cpu_count() const = 0;
  [[nodiscard]] virtual vm::RunState state() const = 0;
  [[nodiscard]] virtual const accel::Traits& traits() = 0;
  /// The guest's processors have AVX.
  [[nodiscard]] virtual bool has_avx() = 0;

  /// One entry per CPU.
  virtual void run(std::span<const vm::CpuRun> plan) = 0;
  virtual void pause() = 0;
  virtual void reset() = 0;
  /// Ends the process, in order.
  virtual void quit() = 0;

  virtual Result<x86::CpuState> read_state(unsigned cpu, x86::StateParts parts) = 0;
  virtual Result<> write_state(unsigned cpu, const x86::CpuState& state, x86::StateParts parts) = 0;
  virtual Result<> set_debug(unsigned cpu, const accel::DebugRequest& request) = 0;
  /// The guest's own INT3, met while we look for ours: the guest takes #BP.
  virtual Result<> inject_breakpoint(unsigned cpu) = 0;

  virtual Result<memory::GuestPhysAddr> translate(unsigned cpu, std::uint64_t linear) = 0;
  /// Fails where nothing answers.
  virtual Result<> read_memory(memory::GuestPhysAddr address, std::span<std::byte> out) = 0;
  /// Writes ROM too.
  virtual Result<> write_memory(memory::GuestPhysAddr address, std::span<const std::byte> data) = 0;
};

}  // namespace doppel::gdbstub
