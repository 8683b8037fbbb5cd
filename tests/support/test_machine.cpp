#include "tests/support/test_machine.h"

#include <gtest/gtest.h>

#include <chrono>

#include "base/endian.h"

namespace doppel::test {

namespace {

constexpr std::chrono::seconds kPatience{10};

/// The value of RESULT; a failed one ends the test program's current test by an exception.
template <class T>
T must(Result<T> result) {
  if (!result) throw std::runtime_error(result.error().describe());
  if constexpr (!std::is_void_v<T>) return std::move(*result);
}

}  // namespace

Watchdog::Watchdog(std::function<void()> expired)
    : thread_([this, expired = std::move(expired)] {
        std::unique_lock lock(mutex_);
        while (!changed_.wait_for(lock, kPatience, [this] { return done_; })) expired();
      }) {}

Watchdog::~Watchdog() {
  {
    const std::scoped_lock lock(mutex_);
    done_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

TestMachine::TestMachine(accel::Accelerator& accelerator, Options options) {
  accel::tiny::write_tables(memory_.bytes());
  vm_ = must(accelerator.create_vm());
  if (options.irqchip != accel::IrqchipMode::kOff) must(vm_->create_irqchip(options.irqchip));
  if (options.pit) must(vm_->create_pit());
  must(vm_->set_memory_slot(
      {.slot = 0, .address = {0}, .size = memory_.size(), .host = memory_.data(), .flags = accel::SlotFlags::kNone}));
  const x86::CpuidTable cpuid = must(accelerator.supported_cpuid());
  for (unsigned id = 0; id < options.vcpus; ++id) {
    vcpus_.push_back(must(vm_->create_vcpu(id)));
    must(vcpus_.back()->set_cpuid(cpuid));
  }
  watchdog_ = std::make_unique<Watchdog>([this] {
    for (const auto& vcpu : vcpus_) vcpu->kick();
  });
}

TestMachine::~TestMachine() {
  watchdog_.reset();
  vcpus_.clear();
}

void TestMachine::start(accel::tiny::Mode mode, const Code& code, const Registers& registers, unsigned id) {
  memory_.write_bytes(accel::tiny::kCode, code);
  must(accel::tiny::start(vcpu(id), mode));
  if (registers.empty()) return;
  x86::CpuState state = this->state(x86::StateParts::kRegisters, id);
  for (const auto& [index, value] : registers) state.gpr[index] = value;
  must(vcpu(id).set_state(state, x86::StateParts::kRegisters));
}

void TestMachine::handle(accel::tiny::Mode mode, std::uint8_t vector, const Code& handler, std::uint64_t offset) {
  memory_.write_bytes(accel::tiny::kHandler + offset, handler);
  accel::tiny::write_gate(memory_.bytes(), mode, vector, accel::tiny::kHandler + offset);
}

accel::VcpuExit TestMachine::run(unsigned id) {
  Result<accel::VcpuExit> exit = vcpu(id).run();
  if (exit) return std::move(*exit);
  ADD_FAILURE() << exit.error().describe();
  return accel::InterruptedExit{};
}

x86::CpuState TestMachine::state(x86::StateParts parts, unsigned id) {
  x86::CpuState state;
  must(vcpu(id).get_state(state, parts));
  return state;
}

accel::VcpuExit ByteDevice::serve(TestMachine& machine) {
  while (true) {
    accel::VcpuExit exit = machine.run();
    const auto* mmio = std::get_if<accel::MmioExit>(&exit);
    if (mmio == nullptr) return exit;
    const std::uint64_t offset = mmio->address.value - base_;
    if (mmio->address.value < base_ || offset + mmio->data.size() > bytes_.size()) return exit;
    const bool is_write = mmio->direction == accel::IoDirection::kOut;
    accesses_.push_back({mmio->address.value, mmio->data.size(), is_write});
    std::byte* here = &bytes_[offset];
    if (is_write)
      std::ranges::copy(mmio->data, here);
    else
      std::ranges::copy_n(here, static_cast<std::ptrdiff_t>(mmio->data.size()), mmio->data.begin());
  }
}

std::uint64_t ByteDevice::read(std::uint64_t address, std::size_t size) const {
  return load_le_sized(&bytes_[address - base_], size);
}

void ByteDevice::write(std::uint64_t address, std::size_t size, std::uint64_t value) {
  store_le_sized(&bytes_[address - base_], size, value);
}

void report_unexpected(const accel::VcpuExit& exit) {
  ADD_FAILURE() << "unexpected exit: " << describe(exit);
}

}  // namespace doppel::test
