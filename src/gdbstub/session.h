// One client's conversation: takes packets' payloads, answers them ("Debugging with GDB", appendix E.2 to E.6 and
// E.12). Threads are CPUs, counted from 1. Knows neither framing nor sockets.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/log.h"
#include "gdbstub/debug_target.h"
#include "gdbstub/monitor_commands.h"
#include "gdbstub/packet.h"
#include "gdbstub/registers.h"
#include "gdbstub/run_control.h"
#include "gdbstub/target_description.h"

namespace doppel::gdbstub {

/// Loop's thread, as is all that it calls.
class Session {
 public:
  struct Outlet {
    std::function<void(std::string_view payload)> send;
    /// From the next packet on, neither side acknowledges.
    std::function<void()> stop_acknowledging;
  };
  Session(DebugTarget& target, Outlet outlet, Logger log = {});

  /// A client connected: the machine halts.
  void opened();
  /// It went without a word: breakpoints go, the machine stays as it is.
  void closed();
  void packet(std::string_view payload);
  void interrupt();
  /// The process is about to end.
  void ending(int status);

 private:
  /// What to send; nothing if the answer comes later, or there is none.
  using Reply = std::optional<std::string>;
  using Handler = Reply (Session::*)(Arguments arguments);
  struct Command {
    std::string_view name;
    Handler handle;
  };
  static std::span<const Command> commands();

  Reply answer(std::string_view payload);

  // Going and stopping.
  Reply why_stopped(Arguments arguments);
  Reply resume_current(Arguments arguments);
  Reply resume_with_signal(Arguments arguments);
  Reply step_current(Arguments arguments);
  Reply step_with_signal(Arguments arguments);
  Reply vcont(Arguments arguments);
  Reply vcont_offer(Arguments arguments);
  Reply detach(Arguments arguments);
  Reply kill(Arguments arguments);
  Reply kill_politely(Arguments arguments);
  Reply restart(Arguments arguments);
  Reply set_breakpoint(Arguments arguments);
  Reply remove_breakpoint(Arguments arguments);

  // Registers and memory.
  Reply read_all_registers(Arguments arguments);
  Reply write_all_registers(Arguments arguments);
  Reply read_one_register(Arguments arguments);
  Reply write_one_register(Arguments arguments);
  Reply read_memory(Arguments arguments);
  Reply write_memory(Arguments arguments);
  Reply write_binary_memory(Arguments arguments);
  Reply physical_mode(Arguments arguments);
  Reply set_physical_mode(Arguments arguments);

  // Threads and the rest.
  Reply select_thread(Arguments arguments);
  Reply is_thread_alive(Arguments arguments);
  Reply current_thread(Arguments arguments);
  Reply first_threads(Arguments arguments);
  Reply more_threads(Arguments arguments);
  Reply thread_info(Arguments arguments);
  Reply supported(Arguments arguments);
  Reply features(Arguments arguments);
  Reply attached(Arguments arguments);
  Reply qemu_supported(Arguments arguments);
  Reply no_acknowledgements(Arguments arguments);
  Reply extended_mode(Arguments arguments);
  Reply monitor_command(Arguments arguments);

  Reply go(const std::vector<vm::CpuRun>& plan);
  Result<> move_pc(Arguments& arguments);
  Reply resume_at(Arguments arguments, vm::CpuRun how);
  Result<> write_memory_at(std::uint64_t address, std::span<const std::byte> data);
  /// Calls ACCESS for each piece of [ADDRESS, +SIZE) that lies in one page, with where that is.
  Result<> for_each_page(
      std::uint64_t address, std::size_t size,
      const std::function<Result<>(memory::GuestPhysAddr, std::size_t offset, std::size_t length)>& access);
  Result<> store(const x86::CpuState& before, x86::CpuState& after);
  Reply break_reply(const Result<>& done) const;
  [[nodiscard]] std::optional<unsigned> take_cpu(Arguments& arguments) const;
  [[nodiscard]] std::string stop_reply(const Stop& stop) const;
  void stopped(const Stop& stop);
  void print(std::string_view text);

  DebugTarget& target_;
  const Outlet outlet_;
  const Logger log_;
  const RegisterTable registers_;
  const TargetDescription description_;
  RunControl control_;
  MonitorCommands monitor_;
  unsigned cpu_ = 0;                     // for registers and memory
  std::optional<unsigned> resumed_cpu_;  // for c and s; none: all
  bool physical_ = false;                // memory is addressed physically
  bool client_knows_swbreak_ = false;
  bool client_knows_hwbreak_ = false;
};

}  // namespace doppel::gdbstub
