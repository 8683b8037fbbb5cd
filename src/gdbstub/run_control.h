// Going and stopping under a debugger: all-stop, one wish of the client at a time, and the step off a breakpoint before
// the machine runs on.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/log.h"
#include "gdbstub/breakpoints.h"
#include "gdbstub/debug_target.h"

namespace doppel::gdbstub {

/// gdb's numbers of the signals that stops are told as.
enum class Signal : std::uint8_t { kInterrupt = 2, kQuit = 3, kTrap = 5, kAbort = 6 };

/// Why the machine stands.
struct Stop {
  unsigned cpu = 0;
  Signal signal = Signal::kTrap;
  std::optional<Breakpoints::Hit> hit;
  std::string message;  // for the user's eyes, if not empty
};

/// Loop's thread.
class RunControl {
 public:
  /// REPORT is called once for each go() that succeeded; possibly before go() returns.
  RunControl(DebugTarget& target, std::function<void(const Stop&)> report);
  ~RunControl();
  RunControl(const RunControl&) = delete;
  RunControl& operator=(const RunControl&) = delete;

  /// A client came: halts the machine.
  void attach();
  /// The client left: takes all out of the guest. RUN_ON sets the machine going if it stands.
  void detach(bool run_on);

  /// One entry in PLAN per CPU, at least one of them to move.
  Result<> go(const std::vector<vm::CpuRun>& plan);
  /// The client's Ctrl-C.
  void interrupt();
  /// A go() has not been answered yet.
  [[nodiscard]] bool is_going() const { return phase_ != Phase::kStopped; }
  [[nodiscard]] const Stop& last_stop() const { return stop_; }
  [[nodiscard]] Breakpoints& breakpoints() { return breakpoints_; }

 private:
  enum class Phase : std::uint8_t {
    kStopped,
    kSteppingOff,  // one CPU leaves the breakpoint it stands at, then plan_ is for all
    kGoing,
  };

  void debug_exit(unsigned cpu, const accel::DebugExit& exit);
  void state_changed(vm::RunState state);
  Result<> check_can_go(const std::vector<vm::CpuRun>& plan);
  /// The CPU that stands at a breakpoint it has told of already.
  [[nodiscard]] std::optional<unsigned> cpu_to_step_off(const std::vector<vm::CpuRun>& plan);
  Result<> step_off(unsigned cpu);
  Result<> start(const std::vector<vm::CpuRun>& plan, Phase phase);
  Result<> apply_debug(const std::vector<vm::CpuRun>& plan);
  void stop_at(unsigned cpu, std::optional<Breakpoints::Hit> hit);
  void stop(Stop stop);
  [[nodiscard]] std::optional<std::uint64_t> pc_of(unsigned cpu);

  DebugTarget& target_;
  const std::function<void(const Stop&)> report_;
  Breakpoints breakpoints_;
  bool attached_ = false;
  Phase phase_ = Phase::kStopped;
  std::vector<vm::CpuRun> plan_;
  Stop stop_;
  std::optional<std::uint64_t> stop_pc_;  // linear
};

}  // namespace doppel::gdbstub
