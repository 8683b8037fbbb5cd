// A software processor that runs whatever bytes it is given: random code, registers, control bits and page tables, and
// devices that answer anything. It may end in any state that a processor can be in, but must end, and in such a state.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "accel/soft/interpreter/test_cpu.h"
#include "accel/soft/runtime/low_memory.h"
#include "fuzz/fuzz_input.h"

namespace doppel::fuzz {

class RandomGuest {
 public:
  explicit RandomGuest(FuzzInput& input)
      : input_(input),
        rig_(
            accel::soft::make_low<accel::soft::TestCpu>(kModes[input.below(kModes.size())], features(input.below(3)))) {
    randomise_tables();
    randomise_state();
    fill_code();
  }

  virtual ~RandomGuest() = default;
  RandomGuest(const RandomGuest&) = delete;
  RandomGuest& operator=(const RandomGuest&) = delete;

  /// Runs for a bounded time, answering what the guest asks.
  void run() {
    constexpr unsigned kExits = 64;
    for (unsigned exits = 0; exits < kExits; ++exits) {
      StopReason reason = resume();
      while (reason == StopReason::kBus && exits++ < kExits) reason = answer();
      check_state();
      if (reason != StopReason::kBus && reason != StopReason::kNone) return;
    }
  }

 protected:
  using StopReason = accel::soft::StopReason;

  virtual StopReason resume() {
    constexpr unsigned kInstructions = 500;
    return rig_->resume(kInstructions);
  }
  [[nodiscard]] accel::soft::TestCpu& rig() { return *rig_; }
  /// The processor goes, before what it was made to depend on does.
  void end() { rig_.reset(); }

 private:
  using Mode = accel::tiny::Mode;
  static constexpr std::array kModes = {Mode::kReal16, Mode::kProtected32, Mode::kPaged32, Mode::kLong64,
                                        Mode::kUser64};

  static x86::FeatureSet features(unsigned kind) { return kind == 0 ? x86::FeatureSet{} : x86::named_features(); }

  /// Gates for half of the guests; some page table entries and descriptors of any sort.
  void randomise_tables() {
    if (input_.take_bool())
      for (unsigned vector = 0; vector < 32; ++vector) rig_->catch_vector(static_cast<std::uint8_t>(vector));
    for (unsigned count = input_.below(8); count > 0; --count) {
      const std::uint64_t address = input_.below(accel::tiny::kMemorySize) & ~7U;
      const std::uint64_t page = input_.below(64) << 12U;
      rig_->poke<std::uint64_t>(address, input_.take_bool() ? page | input_.below(512) : input_.take<std::uint64_t>());
    }
  }
  void randomise_state() {
    accel::soft::Cpu& cpu = rig_->cpu;
    for (std::uint64_t& value : cpu.gpr)
      if (input_.take_bool()) value = input_.below(rig_->kMemorySize);
    constexpr std::uint64_t kFlags = 0x257fd5 & ~x86::rflags::kVm;
    cpu.rflags = (input_.take<std::uint32_t>() & kFlags) | x86::rflags::kFixed;
    constexpr std::uint64_t kCr0 =
        x86::cr0::kMp | x86::cr0::kEm | x86::cr0::kTs | x86::cr0::kNe | x86::cr0::kWp | x86::cr0::kAm;
    cpu.cr0 ^= input_.take<std::uint32_t>() & kCr0;
    constexpr std::uint64_t kCr4 = x86::cr4::kVme | x86::cr4::kPvi | x86::cr4::kTsd | x86::cr4::kDe | x86::cr4::kPge |
                                   x86::cr4::kOsfxsr | x86::cr4::kUmip | x86::cr4::kOsxsave | x86::cr4::kSmep |
                                   x86::cr4::kSmap;
    cpu.cr4 |= input_.take<std::uint32_t>() & kCr4;
    for (x86::Segment& segment : cpu.segment) {
      if (input_.below(8) == 0) segment.limit = input_.take<std::uint16_t>();
      if (input_.below(8) == 0) segment.default_big = !segment.default_big;
      if (input_.below(8) == 0) segment.type ^= 4;  // expand-down, conforming
    }
    x86::CpuState state;
    save_core_state(cpu, state, x86::StateParts::kAll);
    load_core_state(cpu, state, x86::StateParts::kAll);
  }
  /// The rest of the input, over and over, where execution and handlers begin.
  void fill_code() {
    const auto code = input_.take_bytes(256);
    if (code.empty()) return;
    for (std::uint64_t at = accel::tiny::kCode; at < accel::tiny::kData; at += code.size())
      std::ranges::copy(code, rig_->memory().begin() + static_cast<std::ptrdiff_t>(at));
    rig_->interpreter.forget_code();
  }

  StopReason answer() {
    accel::soft::BusLog& bus = rig_->cpu.bus;
    bus.pending().value = input_.take<std::uint64_t>();
    bus.pending().fault = input_.below(4) == 0 ? 1 : 0;
    std::ranges::fill(bus.block(), static_cast<std::byte>(input_.take<std::uint8_t>()));
    bus.answered();
    return rig_->finish();
  }

  void check_state() {
    accel::soft::Cpu& cpu = rig_->cpu;
    constexpr std::uint64_t kReserved = ~std::uint64_t{0x3f7fd7};
    require((cpu.rflags & kReserved) == 0 && (cpu.rflags & x86::rflags::kFixed) != 0, "RFLAGS has its fixed bits");
    require((cpu.rip & ~cpu.rip_mask) == 0, "RIP is as wide as the mode");
    require(!cpu.long_mode || (cpu.paging() && (cpu.cr4 & x86::cr4::kPae) != 0), "long mode has paging");
    require(!cpu.paging() || cpu.protected_mode, "paging is for protected mode");
    const auto before = std::tuple(cpu.code_mode, cpu.cpl, cpu.mmu_index, cpu.alignment_mask, cpu.vm86);
    cpu.update_mode();
    require(before == std::tuple(cpu.code_mode, cpu.cpl, cpu.mmu_index, cpu.alignment_mask, cpu.vm86),
            "the mode follows from the registers");
  }

  FuzzInput& input_;
  accel::soft::LowPointer<accel::soft::TestCpu> rig_;
};

}  // namespace doppel::fuzz
