// Interrupt controllers and timer in the accelerator: MSIs, routes, irqfds, the PIT, application processors.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>

#include "base/endian.h"
#include "tests/contract/contract.h"

namespace doppel::test {
namespace {

using accel::IrqRoute;
using accel::MsiMessage;

class IrqchipTest : public ContractTest {
 protected:
  void SetUp() override {
    ContractTest::SetUp();
    if (IsSkipped()) return;
    DOPPEL_NEEDS(capabilities().irqchip, "no interrupt controllers in the accelerator");
  }
};
class SmpTest : public IrqchipTest {};
using ParallelTest = ContractTest;
using ClockTest = ContractTest;
class SplitIrqchipTest : public ContractTest {};

constexpr std::uint8_t kVector = 0x41;
constexpr MsiMessage kMsi = {.address = 0xfee00000, .data = kVector};

// mov ebx, 0xfee00000; mov dword [rbx+0xf0], 0x1ff (enable the local APIC); out 0x80, al; sti; jmp $
const Code kWaitForInterrupts = {0xbb, 0x00, 0x00, 0xe0, 0xfe, 0xc7, 0x83, 0xf0, 0x00, 0x00,
                                 0x00, 0xff, 0x01, 0x00, 0x00, 0xe6, 0x80, 0xfb, 0xeb, 0xfe};
// out 0x81, al; mov dword [rbx+0xb0], 0 (EOI); iretq
const Code kHandler = {0xe6, 0x81, 0xc7, 0x83, 0xb0, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x48, 0xcf};

/// A machine whose guest has its local APIC enabled and waits with a handler for kVector.
void start_waiting(TestMachine& machine) {
  machine.handle(Mode::kLong64, kVector, kHandler);
  machine.start(Mode::kLong64, kWaitForInterrupts);
  EXPECT_EQ(expect<IoExit>(machine.run()).port, 0x80);
}

/// The guest takes an interrupt by running its handler.
void expect_interrupt(TestMachine& machine) {
  EXPECT_EQ(expect<IoExit>(machine.run()).port, 0x81);
}

TEST_P(IrqchipTest, SignalledMsi) {
  DOPPEL_NEEDS(capabilities().signal_msi, "no MSIs");
  TestMachine machine(accelerator(), {.irqchip = IrqchipMode::kKernel});
  start_waiting(machine);
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(machine.vm().signal_msi(kMsi));
    expect_interrupt(machine);
  }
}

TEST_P(IrqchipTest, RouteToMsi) {
  TestMachine machine(accelerator(), {.irqchip = IrqchipMode::kKernel});
  const IrqRoute routes[] = {{.gsi = 30, .target = IrqRoute::Target::kMsi, .msi = kMsi}};
  ASSERT_TRUE(machine.vm().set_irq_routing(routes));
  start_waiting(machine);
  ASSERT_TRUE(machine.vm().set_irq_line(30, true));
  expect_interrupt(machine);
  ASSERT_TRUE(machine.vm().set_irq_line(30, false));
}

TEST_P(IrqchipTest, Irqfd) {
  DOPPEL_NEEDS(capabilities().irqfd, "no irqfds");
  TestMachine machine(accelerator(), {.irqchip = IrqchipMode::kKernel});
  const IrqRoute routes[] = {{.gsi = 30, .target = IrqRoute::Target::kMsi, .msi = kMsi}};
  ASSERT_TRUE(machine.vm().set_irq_routing(routes));
  const auto event = event::EventFd::create();
  ASSERT_TRUE(machine.vm().attach_irqfd(30, *event, nullptr));
  start_waiting(machine);
  event->signal();
  expect_interrupt(machine);
  ASSERT_TRUE(machine.vm().detach_irqfd(30, *event));
  event->signal();
  EXPECT_EQ(event->drain(), 1U);  // ours again
}

TEST_P(IrqchipTest, LevelTriggeredIrqfdAsksForTheNextSample) {
  DOPPEL_NEEDS(capabilities().irqfd, "no irqfds");
  constexpr std::uint32_t kPin = 16;
  TestMachine machine(accelerator(), {.irqchip = IrqchipMode::kKernel});
  const IrqRoute routes[] = {{.gsi = kPin, .target = IrqRoute::Target::kIoapic, .pin = kPin, .msi = {}}};
  ASSERT_TRUE(machine.vm().set_irq_routing(routes));
  const auto event = event::EventFd::create();
  const auto resample = event::EventFd::create();
  ASSERT_TRUE(machine.vm().attach_irqfd(kPin, *event, &*resample));
  machine.handle(Mode::kLong64, kVector, kHandler);
  // I/O APIC pin 16 to vector 0x41, level-triggered; enable the local APIC; out 0x80, al; sti; jmp $
  //   mov esi, 0xfec00000; mov dword [rsi], 0x31; mov dword [rsi+0x10], 0; mov dword [rsi], 0x30;
  //   mov dword [rsi+0x10], 0x8041; then kWaitForInterrupts
  Code code = {0xbe, 0x00, 0x00, 0xc0, 0xfe, 0xc7, 0x06, 0x31, 0x00, 0x00, 0x00, 0xc7, 0x46, 0x10, 0x00, 0x00,
               0x00, 0x00, 0xc7, 0x06, 0x30, 0x00, 0x00, 0x00, 0xc7, 0x46, 0x10, 0x41, 0x80, 0x00, 0x00};
  code.insert(code.end(), kWaitForInterrupts.begin(), kWaitForInterrupts.end());
  machine.start(Mode::kLong64, code);
  EXPECT_EQ(expect<IoExit>(machine.run()).port, 0x80);
  event->signal();
  expect_interrupt(machine);
  machine.vcpu().kick();
  while (std::holds_alternative<IoExit>(machine.run())) {  // the handler may run twice where EOI is automatic
  }
  std::uint64_t samples = resample->drain();
  for (int i = 0; i < 100 && samples == 0; ++i) {
    std::thread kicker([&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
      machine.vcpu().kick();
    });
    machine.run();
    kicker.join();
    samples = resample->drain();
  }
  EXPECT_GT(samples, 0U);
}

TEST_P(IrqchipTest, PitTicksThroughThePic) {
  DOPPEL_NEEDS(capabilities().pit, "no PIT in the accelerator");
  TestMachine machine(accelerator(), {.irqchip = IrqchipMode::kKernel, .pit = true});
  // inc ebp; mov al, 0x20; out 0x20, al (EOI); cmp ebp, 5; jne done; out 0x80, al; done: iretq
  machine.handle(Mode::kLong64, 0x20,
                 {0xff, 0xc5, 0xb0, 0x20, 0xe6, 0x20, 0x83, 0xfd, 0x05, 0x75, 0x02, 0xe6, 0x80, 0x48, 0xcf});
  // 8259: 0x11, 0x20, 4, 1; only IRQ 0 unmasked.  8254: channel 0, mode 2, 1193 counts = 1 kHz.  sti; again: hlt; jmp
  // again
  machine.start(Mode::kLong64, {0xb0, 0x11, 0xe6, 0x20, 0xb0, 0x20, 0xe6, 0x21, 0xb0, 0x04, 0xe6, 0x21,
                                0xb0, 0x01, 0xe6, 0x21, 0xb0, 0xfe, 0xe6, 0x21, 0xb0, 0x34, 0xe6, 0x43,
                                0xb0, 0xa9, 0xe6, 0x40, 0xb0, 0x04, 0xe6, 0x40, 0xfb, 0xf4, 0xeb, 0xfd});
  EXPECT_EQ(expect<IoExit>(machine.run()).port, 0x80);
  EXPECT_GE(machine.state().gpr[x86::kRbp], 5U);
}

TEST_P(IrqchipTest, SavedChipsLoad) {
  TestMachine first(accelerator(), {.irqchip = IrqchipMode::kKernel, .pit = capabilities().pit});
  // program the master 8259: vectors from 0x58, mask 0x5a; hlt by way of a port
  first.start(Mode::kLong64, {0xb0, 0x11, 0xe6, 0x20, 0xb0, 0x58, 0xe6, 0x21, 0xb0, 0x04, 0xe6,
                              0x21, 0xb0, 0x01, 0xe6, 0x21, 0xb0, 0x5a, 0xe6, 0x21, 0xe6, 0x80});
  expect<IoExit>(first.run());
  const auto saved = first.vm().save_irqchip();
  ASSERT_TRUE(saved) << saved.error().describe();

  TestMachine second(accelerator(), {.irqchip = IrqchipMode::kKernel, .pit = capabilities().pit});
  const auto loaded = second.vm().load_irqchip(*saved);
  ASSERT_TRUE(loaded) << loaded.error().describe();
  second.start(Mode::kLong64, {0xe4, 0x21, 0xe6, 0x80});  // in al, 0x21; out 0x80, al
  const auto mask = expect<IoExit>(second.run());
  ASSERT_EQ(mask.data.size(), 1U);
  EXPECT_EQ(mask.data[0], std::byte{0x5a});
}

TEST_P(IrqchipTest, DamagedSavedChipsAreRefused) {
  TestMachine machine(accelerator(), {.irqchip = IrqchipMode::kKernel});
  std::vector<std::byte> saved = *machine.vm().save_irqchip();
  for (const std::size_t size : {std::size_t{0}, std::size_t{3}, std::size_t{20}, saved.size() - 1})
    EXPECT_FALSE(machine.vm().load_irqchip(std::span(saved).first(size))) << size;
  saved.push_back(std::byte{0});
  EXPECT_FALSE(machine.vm().load_irqchip(saved));
  saved.pop_back();
  saved[0] ^= std::byte{1};
  EXPECT_FALSE(machine.vm().load_irqchip(saved));
  saved[0] ^= std::byte{1};
  EXPECT_TRUE(machine.vm().load_irqchip(saved));
}

TEST_P(IrqchipTest, ComesBeforeTheFirstVcpu) {
  TestMachine machine(accelerator());
  EXPECT_FALSE(machine.vm().create_irqchip(IrqchipMode::kKernel));
  EXPECT_FALSE(machine.vm().create_pit());
}

TEST_P(ClockTest, GoesOnFromWhatItIsSetTo) {
  TestMachine machine(accelerator());
  ASSERT_TRUE(machine.vm().set_clock(5'000'000'000));
  const auto now = machine.vm().get_clock();
  ASSERT_TRUE(now);
  EXPECT_GE(*now, 5'000'000'000U);
  EXPECT_LT(*now, 15'000'000'000U);
}

TEST_P(SmpTest, InitAndStartupWakeAnApplicationProcessor) {
  constexpr std::uint64_t kTrampoline = 0x5000;
  TestMachine machine(accelerator(), {.irqchip = IrqchipMode::kKernel, .vcpus = 2});
  EXPECT_EQ(machine.state(x86::StateParts::kMpState, 1).mp_state, x86::MpState::kUninitialized);
  machine.memory().write_bytes(kTrampoline, Code{0xb0, 0x77, 0xe6, 0x90});  // mov al, 0x77; out 0x90, al
  // enable the local APIC; INIT to all others; SIPI with page 5 to all others; out 0x80, al
  //   mov ebx, 0xfee00000; mov dword [rbx+0xf0], 0x1ff; mov dword [rbx+0x300], 0xc4500;
  //   mov dword [rbx+0x300], 0xc4605; out 0x80, al
  machine.start(Mode::kLong64, {0xbb, 0x00, 0x00, 0xe0, 0xfe, 0xc7, 0x83, 0xf0, 0x00, 0x00, 0x00, 0xff, 0x01,
                                0x00, 0x00, 0xc7, 0x83, 0x00, 0x03, 0x00, 0x00, 0x00, 0x45, 0x0c, 0x00, 0xc7,
                                0x83, 0x00, 0x03, 0x00, 0x00, 0x05, 0x46, 0x0c, 0x00, 0xe6, 0x80});
  std::thread other([&] {
    const auto exit = expect<IoExit>(machine.run(1));
    EXPECT_EQ(exit.port, 0x90);
    if (!exit.data.empty()) {
      EXPECT_EQ(exit.data[0], std::byte{0x77});
    }
    EXPECT_EQ(machine.state(x86::StateParts::kSystem, 1).segment[x86::kCs].base, kTrampoline);
  });
  EXPECT_EQ(expect<IoExit>(machine.run(0)).port, 0x80);
  other.join();
  EXPECT_EQ(machine.state(x86::StateParts::kMpState, 1).mp_state, x86::MpState::kRunnable);
}

TEST_P(SmpTest, StateOfAWaitingProcessorSurvivesAKick) {
  TestMachine machine(accelerator(), {.irqchip = IrqchipMode::kKernel, .vcpus = 2});
  x86::CpuState state = machine.state(x86::StateParts::kRegisters, 1);
  state.gpr[x86::kRbx] = 0x4711;
  ASSERT_TRUE(machine.vcpu(1).set_state(state, x86::StateParts::kRegisters));
  machine.vcpu(1).kick();
  expect<InterruptedExit>(machine.run(1));
  EXPECT_EQ(machine.state(x86::StateParts::kRegisters, 1).gpr[x86::kRbx], 0x4711U);
  EXPECT_EQ(machine.state(x86::StateParts::kMpState, 1).mp_state, x86::MpState::kUninitialized);
}

TEST_P(ParallelTest, LockedIncrementsAddUp) {
  DOPPEL_NEEDS(capabilities().max_vcpus > 1, "one vCPU at most");
  constexpr std::uint64_t kRounds = 20000;
  for (const Mode mode : {Mode::kLong64, Mode::kUser64}) {
    if (mode == Mode::kUser64 && !traits().user_mode_port_io) continue;
    TestMachine machine(accelerator(), {.irqchip = IrqchipMode::kOff, .vcpus = 2});
    // again: lock inc dword [rdi]; dec ecx; jnz again; out 0x80, al
    const Code code = {0xf0, 0xff, 0x07, 0xff, 0xc9, 0x75, 0xf9, 0xe6, 0x80};
    for (unsigned id = 0; id < 2; ++id) machine.start(mode, code, {{x86::kRcx, kRounds}, {x86::kRdi, tiny::kData}}, id);
    std::thread other([&] { expect<IoExit>(machine.run(1)); });
    expect<IoExit>(machine.run(0));
    other.join();
    EXPECT_EQ(machine.memory().read<std::uint32_t>(tiny::kData), 2 * kRounds);
  }
}

TEST_P(SplitIrqchipTest, MsiAndEndOfInterrupt) {
  DOPPEL_NEEDS(capabilities().split_irqchip, "no split interrupt controller");
  TestMachine machine(accelerator(), {.irqchip = IrqchipMode::kSplit});
  // An MSI that is level-triggered (bit 15) and asserted (bit 14) stands for a pin of the I/O APIC.
  const IrqRoute routes[] = {
      {.gsi = 5, .target = IrqRoute::Target::kMsi, .msi = {.address = 0xfee00000, .data = kVector | 0xc000U}}};
  ASSERT_TRUE(machine.vm().set_irq_routing(routes));
  start_waiting(machine);
  ASSERT_TRUE(machine.vm().set_irq_line(5, true));
  bool handled = false, ended = false;
  for (int i = 0; i < 4 && !(handled && ended); ++i) {
    const VcpuExit exit = machine.run();
    if (const auto* end = std::get_if<accel::IoapicEoiExit>(&exit)) {
      EXPECT_EQ(end->vector, kVector);
      ended = true;
    } else {
      EXPECT_EQ(expect<IoExit>(exit).port, 0x81);
      handled = true;
    }
  }
  EXPECT_TRUE(handled && ended);
}

TEST_P(SplitIrqchipTest, ExternalInterruptFromUserSpace) {
  DOPPEL_NEEDS(capabilities().split_irqchip, "no split interrupt controller");
  TestMachine machine(accelerator(), {.irqchip = IrqchipMode::kSplit});
  start_waiting(machine);
  machine.vcpu().request_interrupt_window(true);
  expect<IrqWindowExit>(machine.run());
  machine.vcpu().request_interrupt_window(false);
  ASSERT_TRUE(machine.vcpu().inject({.kind = accel::Injection::Kind::kInterrupt, .vector = kVector, .error_code = {}}));
  expect_interrupt(machine);
}

DOPPEL_CONTRACT_SUITE(IrqchipTest);
DOPPEL_CONTRACT_SUITE(SmpTest);
DOPPEL_CONTRACT_SUITE(ParallelTest);
DOPPEL_CONTRACT_SUITE(ClockTest);
DOPPEL_CONTRACT_SUITE(SplitIrqchipTest);

}  // namespace
}  // namespace doppel::test
