// A processor with flat memory in one of tiny_guest's modes, for unit tests of operations.
#pragma once

#include <sys/mman.h>

#include <cstring>
#include <initializer_list>
#include <span>
#include <vector>

#include "accel/soft/interpreter/core_state.h"
#include "accel/soft/interpreter/cpu.h"
#include "accel/soft/interpreter/interpreter.h"
#include "accel/soft/runtime/low_memory.h"
#include "accel/tiny_guest.h"
#include "x86/features.h"

namespace doppel::accel::soft {

class TestCpu {
 public:
  static constexpr std::size_t kMemorySize = 4U << 20U;  // bytes at guest-physical 0; above is MMIO

  explicit TestCpu(tiny::Mode mode, const x86::FeatureSet& features = x86::named_features()) : mode_(mode) {
    const MemorySlot slot{.slot = 0, .address = {0}, .size = kMemorySize, .host = ram_};
    machine_.rendezvous.exclusive(false, [&] { (void)machine_.ram.set(slot); });
    tiny::write_tables(memory());
    cpu.features = features;
    cpu.xcr0 = x86::xcr0_of(features);
    cpu.fpu.reset();
    interpreter.forget_code();
    start(tiny::kCode);
  }
  ~TestCpu() { ::munmap(ram_, kMemorySize); }
  TestCpu(const TestCpu&) = delete;
  TestCpu& operator=(const TestCpu&) = delete;

  [[nodiscard]] std::span<std::byte> memory() const { return {ram_, kMemorySize}; }
  template <class T>
  [[nodiscard]] T peek(std::uint64_t gpa) const {
    T value;
    std::memcpy(&value, ram_ + gpa, sizeof value);
    return value;
  }
  template <class T>
  void poke(std::uint64_t gpa, T value) {
    std::memcpy(ram_ + gpa, &value, sizeof value);
  }

  /// tiny_guest's start state at RIP.
  void start(std::uint64_t rip) {
    x86::CpuState state;
    save_core_state(cpu, state, x86::StateParts::kAll);
    tiny::set_start_state(state, mode_, rip);
    load_core_state(cpu, state, x86::StateParts::kAll);
  }
  /// Puts CODE at RIP's place (flat code segments) and runs one instruction, or COUNT.
  StopReason run(std::span<const std::uint8_t> code, unsigned count = 1) {
    std::memcpy(ram_ + cpu.segment[x86::kCs].base + cpu.rip, code.data(), code.size());
    return resume(count);
  }
  StopReason run(std::initializer_list<std::uint8_t> code, unsigned count = 1) {
    return run(std::span(code.begin(), code.size()), count);
  }
  StopReason resume(unsigned count = 1) {
    machine_.rendezvous.enter();
    const StopReason reason = interpreter.run(count);
    machine_.rendezvous.leave();
    return reason;
  }
  /// After the answer to a bus access (BusLog::answered()).
  StopReason finish() {
    machine_.rendezvous.enter();
    const StopReason reason = interpreter.finish_instruction();
    machine_.rendezvous.leave();
    return reason;
  }
  /// Makes exceptions with VECTOR land at tiny::kHandler and stay there (JMP $): a delivered fault is no instruction of
  /// run()'s budget. A test then looks at RIP and the stack.
  void catch_vector(std::uint8_t vector) {
    tiny::write_gate(memory(), mode_, vector, tiny::kHandler);
    poke<std::uint16_t>(tiny::kHandler, 0xfeeb);
  }

 private:
  const tiny::Mode mode_;
  std::byte* const ram_ =
      static_cast<std::byte*>(::mmap(nullptr, kMemorySize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  Machine machine_;

 public:
  const LowPointer<Cpu> cpu_owner = make_low<Cpu>(machine_);  // too large for the stack
  Cpu& cpu = *cpu_owner;
  Interpreter interpreter{cpu};
};

}  // namespace doppel::accel::soft
