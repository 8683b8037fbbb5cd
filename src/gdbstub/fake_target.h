// A machine for the tests of the stub: memory as an array, CPUs as plain state, stops as the test pleases.
#pragma once

#include <algorithm>
#include <cstddef>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "gdbstub/debug_target.h"
#include "x86/descriptor.h"
#include "x86/registers.h"

namespace doppel::gdbstub {

/// Linear addresses from kHigh on are mapped to physical 0; those at kUnmapped and above are nowhere.
class FakeTarget : public DebugTarget {
 public:
  static constexpr std::uint64_t kSize = 64 * 1024;
  static constexpr std::uint64_t kHigh = 0xffff'8000'0000'0000;
  static constexpr std::uint64_t kUnmapped = 0x4000'0000;

  explicit FakeTarget(unsigned count = 2) : cpus(count), debug(count) {
    for (auto& cpu : cpus) {
      cpu.cr0 = x86::cr0::kPe;
      cpu.segment[x86::kCs] = x86::flat_segment(8, true);
      cpu.segment[x86::kSs] = x86::flat_segment(16, false);
      cpu.xsave.resize(832);
      cpu.msrs = {{0x10, 12345}, {0xc0000102, 0x77}};
    }
  }

  void set_listener(Listener wanted) override { listener = std::move(wanted); }
  unsigned cpu_count() const override { return static_cast<unsigned>(cpus.size()); }
  vm::RunState state() const override { return run_state; }
  const accel::Traits& traits() override { return the_traits; }
  bool has_avx() override { return true; }

  void run(std::span<const vm::CpuRun> plan) override {
    runs.emplace_back(plan.begin(), plan.end());
    debug_at_run = debug;
    memory_at_run = memory;
    set_state(vm::RunState::kRunning);
  }
  void pause() override { set_state(vm::RunState::kPaused); }
  void reset() override { ++resets; }
  void quit() override { ++quits; }

  Result<x86::CpuState> read_state(unsigned cpu, x86::StateParts) override { return cpus[cpu]; }
  Result<> write_state(unsigned cpu, const x86::CpuState& state, x86::StateParts parts) override {
    written_parts = parts;
    cpus[cpu] = state;
    return {};
  }
  Result<> set_debug(unsigned cpu, const accel::DebugRequest& request) override {
    debug[cpu] = request;
    return {};
  }
  Result<> inject_breakpoint(unsigned) override {
    ++injected;
    return {};
  }
  Result<memory::GuestPhysAddr> translate(unsigned, std::uint64_t linear) override {
    if (linear >= kHigh) return memory::GuestPhysAddr{linear - kHigh};
    if (linear >= kUnmapped) return fail(ErrorKind::kNotFound, "not mapped");
    return memory::GuestPhysAddr{linear};
  }
  Result<> read_memory(memory::GuestPhysAddr address, std::span<std::byte> out) override {
    if (address.value > kSize || out.size() > kSize - address.value) return fail(ErrorKind::kNotFound, "nothing there");
    std::copy_n(memory.begin() + static_cast<std::ptrdiff_t>(address.value), out.size(), out.begin());
    return {};
  }
  Result<> write_memory(memory::GuestPhysAddr address, std::span<const std::byte> data) override {
    if (address.value > kSize || data.size() > kSize - address.value)
      return fail(ErrorKind::kNotFound, "nothing there");
    if (address.value < read_only_below) return {};
    std::ranges::copy(data, memory.begin() + static_cast<std::ptrdiff_t>(address.value));
    return {};
  }

  // What tests make happen.

  void set_state(vm::RunState state) {
    run_state = state;
    if (listener.state_changed) listener.state_changed(state);
  }
  /// CPU stops with RIP at PC.
  void stop_at(unsigned cpu, std::uint64_t pc, std::uint64_t dr6, std::uint8_t vector = x86::kDebug) {
    cpus[cpu].rip = pc - cpus[cpu].segment[x86::kCs].base;
    run_state = vm::RunState::kDebug;
    listener.debug_exit(cpu, {.vector = vector, .pc = pc, .dr6 = dr6, .dr7 = 0x400});
  }
  void step_to(unsigned cpu, std::uint64_t pc) { stop_at(cpu, pc, x86::dr6::kBs); }
  unsigned byte_at(std::uint64_t address) const { return std::to_integer<unsigned>(memory[address]); }

  std::vector<x86::CpuState> cpus;
  std::vector<accel::DebugRequest> debug;
  accel::Traits the_traits;
  Listener listener;
  vm::RunState run_state = vm::RunState::kPaused;
  std::vector<std::byte> memory = std::vector<std::byte>(kSize);
  std::uint64_t read_only_below = 0;
  int resets = 0;
  int quits = 0;
  int injected = 0;
  x86::StateParts written_parts{};

  std::vector<std::vector<vm::CpuRun>> runs;  // every plan
  std::vector<accel::DebugRequest> debug_at_run;
  std::vector<std::byte> memory_at_run;
};

}  // namespace doppel::gdbstub
