// A VM with a little memory and a few vCPUs, to run tiny guests on whatever accelerator.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "accel/accelerator.h"
#include "accel/tiny_guest.h"
#include "tests/support/host_memory.h"

namespace doppel::test {

using Code = std::vector<std::uint8_t>;
using Registers = std::vector<std::pair<x86::Gpr, std::uint64_t>>;

/// Kicks the vCPUs when time is up, so that a guest that does not stop fails its test instead of hanging it.
class Watchdog {
 public:
  explicit Watchdog(std::function<void()> expired);
  ~Watchdog();

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool done_ = false;
  std::thread thread_;
};

class TestMachine {
 public:
  struct Options {
    accel::IrqchipMode irqchip = accel::IrqchipMode::kOff;
    unsigned vcpus = 1;
    bool pit = false;
  };

  /// Memory in slot 0 at address 0 with accel::tiny's tables; vCPUs with the supported CPUID. Fails the test on errors.
  TestMachine(accel::Accelerator& accelerator, Options options);
  explicit TestMachine(accel::Accelerator& accelerator) : TestMachine(accelerator, Options()) {}
  ~TestMachine();

  [[nodiscard]] HostMemory& memory() { return memory_; }
  [[nodiscard]] accel::Vm& vm() { return *vm_; }
  [[nodiscard]] accel::Vcpu& vcpu(unsigned id = 0) { return *vcpus_[id]; }

  /// Puts CODE at tiny::kCode and the vCPU before it.
  void start(accel::tiny::Mode mode, const Code& code, const Registers& registers = {}, unsigned id = 0);
  /// Puts HANDLER at tiny::kHandler + OFFSET and a gate for VECTOR to it.
  void handle(accel::tiny::Mode mode, std::uint8_t vector, const Code& handler, std::uint64_t offset = 0);

  /// Runs until the next exit; a failure of the test and InterruptedExit if there is none.
  accel::VcpuExit run(unsigned id = 0);
  [[nodiscard]] x86::CpuState state(x86::StateParts parts = x86::StateParts::kRegisters, unsigned id = 0);

 private:
  HostMemory memory_{accel::tiny::kMemorySize};
  std::unique_ptr<accel::Vm> vm_;
  std::vector<std::unique_ptr<accel::Vcpu>> vcpus_;
  std::unique_ptr<Watchdog> watchdog_;
};

/// A device of bytes for the exits of one program: carries accesses out on its memory and remembers them.
class ByteDevice {
 public:
  struct Access {
    std::uint64_t address = 0;
    std::size_t size = 0;
    bool write = false;
    bool operator==(const Access&) const = default;
  };

  explicit ByteDevice(std::uint64_t base) : base_(base), bytes_(0x2000) {}

  /// Runs the guest until an exit that is no MMIO, which is returned.
  accel::VcpuExit serve(TestMachine& machine);

  [[nodiscard]] std::uint64_t read(std::uint64_t address, std::size_t size) const;
  void write(std::uint64_t address, std::size_t size, std::uint64_t value);
  [[nodiscard]] const std::vector<Access>& accesses() const { return accesses_; }
  void forget() { accesses_.clear(); }

 private:
  std::uint64_t base_;
  std::vector<std::byte> bytes_;
  std::vector<Access> accesses_;
};

/// The EXIT as Kind, or a failure of the test that says what came instead, and a default-made Kind.
template <class Kind>
Kind expect(const accel::VcpuExit& exit);

void report_unexpected(const accel::VcpuExit& exit);

template <class Kind>
Kind expect(const accel::VcpuExit& exit) {
  if (const Kind* found = std::get_if<Kind>(&exit)) return *found;
  report_unexpected(exit);
  return {};
}

}  // namespace doppel::test
