// Reading and writing a processor's state; moving a running guest to another machine.
#include <algorithm>

#include "base/endian.h"
#include "tests/contract/contract.h"

namespace doppel::test {
namespace {

using x86::StateParts;

using StateTest = ContractTest;

constexpr StateParts kPartsToMove = StateParts::kAll;

/// Moves everything from one machine to another, as a snapshot would.
void move(TestMachine& from, TestMachine& to) {
  ASSERT_TRUE(from.vcpu().complete_exit());
  const x86::CpuState state = from.state(kPartsToMove);
  std::ranges::copy(from.memory().bytes(), to.memory().bytes().begin());
  const auto loaded = to.vcpu().set_state(state, kPartsToMove);
  ASSERT_TRUE(loaded) << loaded.error().describe();
}

TEST_P(StateTest, RegistersRoundTrip) {
  TestMachine machine(accelerator());
  machine.start(Mode::kLong64, {0xf4});
  x86::CpuState state = machine.state(StateParts::kRegisters);
  for (unsigned i = 0; i < x86::kGprCount; ++i) state.gpr[i] = 0x0101010101010101ULL * (i + 1);
  state.rip = tiny::kHandler;
  state.rflags = 0x8d7;  // CF PF AF ZF SF OF
  ASSERT_TRUE(machine.vcpu().set_state(state, StateParts::kRegisters));
  const x86::CpuState again = machine.state(StateParts::kRegisters);
  EXPECT_EQ(again.gpr, state.gpr);
  EXPECT_EQ(again.rip, state.rip);
  EXPECT_EQ(again.rflags, state.rflags);
}

TEST_P(StateTest, SystemRegistersRoundTrip) {
  TestMachine machine(accelerator());
  machine.start(Mode::kLong64, {0xf4});
  x86::CpuState state = machine.state(StateParts::kSystem);
  state.segment[x86::kFs].base = 0x123456789;
  state.segment[x86::kGs].base = 0xffffffff80000000;
  state.cr2 = 0xdeadbeef;
  state.cr8 = 5;
  state.idt = {.base = 0x3000, .limit = 0x7ff};
  ASSERT_TRUE(machine.vcpu().set_state(state, StateParts::kSystem));
  const x86::CpuState again = machine.state(StateParts::kSystem);
  EXPECT_EQ(again.segment[x86::kFs].base, 0x123456789U);
  EXPECT_EQ(again.segment[x86::kGs].base, 0xffffffff80000000U);
  EXPECT_EQ(again.segment[x86::kCs].selector, tiny::kCode64);
  EXPECT_TRUE(again.segment[x86::kCs].long_mode);
  EXPECT_EQ(again.cr0, state.cr0);
  EXPECT_EQ(again.cr2, state.cr2);
  EXPECT_EQ(again.cr3, state.cr3);
  EXPECT_EQ(again.cr4, state.cr4);
  EXPECT_EQ(again.cr8, 5U);
  EXPECT_EQ(again.efer, state.efer);
  EXPECT_EQ(again.gdt, state.gdt);
  EXPECT_EQ(again.idt, state.idt);
}

TEST_P(StateTest, ImpossibleControlRegistersAreRefused) {
  TestMachine machine(accelerator());
  machine.start(Mode::kLong64, {0xf4});
  x86::CpuState state = machine.state(StateParts::kSystem);
  state.cr4 &= ~std::uint64_t{0x20};  // long mode without PAE
  EXPECT_FALSE(machine.vcpu().set_state(state, StateParts::kSystem));
}

TEST_P(StateTest, PartsNotNamedStay) {
  TestMachine machine(accelerator());
  machine.start(Mode::kLong64, {0xf4}, {{x86::kRbx, 42}});
  ASSERT_TRUE(machine.vcpu().set_state({}, StateParts::kDebug));
  EXPECT_EQ(machine.state().gpr[x86::kRbx], 42U);
  EXPECT_EQ(machine.state(StateParts::kSystem).cr3, tiny::kPml4);
}

TEST_P(StateTest, DebugRegistersRoundTrip) {
  TestMachine machine(accelerator());
  x86::CpuState state;
  state.dr = {0x1000, 0x2000, 0x3000, 0x4000};
  state.dr7 = 0x402;
  ASSERT_TRUE(machine.vcpu().set_state(state, StateParts::kDebug));
  const x86::CpuState again = machine.state(StateParts::kDebug);
  EXPECT_EQ(again.dr, state.dr);
  EXPECT_EQ(again.dr7, state.dr7);
}

TEST_P(StateTest, EventsRoundTrip) {
  TestMachine machine(accelerator());
  machine.start(Mode::kLong64, {0xf4});
  x86::CpuState state;
  state.events.exception = {.injected = true, .vector = 13, .has_error_code = true, .error_code = 0x18};
  state.events.nmi.masked = true;
  ASSERT_TRUE(machine.vcpu().set_state(state, StateParts::kEvents));
  const x86::PendingEvents again = machine.state(StateParts::kEvents).events;
  EXPECT_TRUE(again.exception.injected);
  EXPECT_EQ(again.exception.vector, 13);
  EXPECT_EQ(again.exception.error_code, 0x18U);
  EXPECT_TRUE(again.nmi.masked);
}

TEST_P(StateTest, FloatingPointRoundTrip) {
  constexpr std::size_t kXmm0 = 160, kXstateBv = 512;  // SDM 1, 13.4
  TestMachine machine(accelerator());
  x86::CpuState state = machine.state(StateParts::kFpu);
  ASSERT_GE(state.xsave.size(), 576U);
  store_le<std::uint64_t>(&state.xsave[kXmm0], 0x1122334455667788);
  store_le<std::uint64_t>(&state.xsave[kXstateBv], load_le<std::uint64_t>(&state.xsave[kXstateBv]) | 3);
  ASSERT_TRUE(machine.vcpu().set_state(state, StateParts::kFpu));
  const x86::CpuState again = machine.state(StateParts::kFpu);
  EXPECT_EQ(load_le<std::uint64_t>(&again.xsave[kXmm0]), 0x1122334455667788U);
  EXPECT_EQ(again.xcr0, state.xcr0);
  state.xsave.resize(100);
  EXPECT_FALSE(machine.vcpu().set_state(state, StateParts::kFpu));
}

TEST_P(StateTest, EmptyFloatingPointStateIsTheInitialOne) {
  constexpr std::size_t kMxcsr = 24;
  TestMachine machine(accelerator());
  ASSERT_TRUE(machine.vcpu().set_state({}, StateParts::kFpu));
  const x86::CpuState again = machine.state(StateParts::kFpu);
  EXPECT_EQ(load_le<std::uint16_t>(again.xsave.data()), 0x37fU);
  EXPECT_EQ(load_le<std::uint32_t>(&again.xsave[kMxcsr]), 0x1f80U);
}

TEST_P(StateTest, LapicRoundTrip) {
  DOPPEL_NEEDS(capabilities().irqchip, "no local APIC in the accelerator");
  constexpr std::size_t kTaskPriority = 0x80;
  TestMachine machine(accelerator(), {.irqchip = IrqchipMode::kKernel});
  x86::CpuState state = machine.state(StateParts::kLapic);
  ASSERT_EQ(state.lapic.size(), x86::kLapicPageSize);
  store_le<std::uint32_t>(&state.lapic[kTaskPriority], 0x50);
  ASSERT_TRUE(machine.vcpu().set_state(state, StateParts::kLapic));
  EXPECT_EQ(load_le<std::uint32_t>(&machine.state(StateParts::kLapic).lapic[kTaskPriority]), 0x50U);
  state.lapic.resize(10);
  EXPECT_FALSE(machine.vcpu().set_state(state, StateParts::kLapic));
}

/// Counts in a register, the counter going out at each turn.
struct Counter {
  Mode mode;
  Code code;
};

const std::vector<Counter> kCounters = {
    // again: inc bx; mov ax, bx; out 0x80, ax; jmp again
    {Mode::kReal16, {0x43, 0x89, 0xd8, 0xe7, 0x80, 0xeb, 0xf9}},
    // again: inc ebx; mov eax, ebx; out 0x80, eax; jmp again
    {Mode::kProtected32, {0x43, 0x89, 0xd8, 0xe7, 0x80, 0xeb, 0xf9}},
    // again: inc ebx; mov eax, ebx; out 0x80, eax; jmp again
    {Mode::kLong64, {0xff, 0xc3, 0x89, 0xd8, 0xe7, 0x80, 0xeb, 0xf8}},
};

TEST_P(StateTest, GuestGoesOnInAnotherMachine) {
  for (const Counter& counter : kCounters) {
    SCOPED_TRACE(static_cast<int>(counter.mode));
    auto machine = std::make_unique<TestMachine>(accelerator());
    machine->start(counter.mode, counter.code);
    std::uint64_t expected = 0;
    for (int hop = 0; hop < 3; ++hop) {
      for (int turn = 0; turn < 5; ++turn) {
        const auto exit = expect<IoExit>(machine->run());
        EXPECT_EQ(load_le_sized(exit.data.data(), exit.data.size()), ++expected);
      }
      auto next = std::make_unique<TestMachine>(accelerator());
      move(*machine, *next);
      machine = std::move(next);
    }
  }
}

TEST_P(StateTest, UserModeWithVectorRegistersGoesOnInAnotherMachine) {
  DOPPEL_NEEDS(traits().user_mode_port_io, "no port I/O at CPL 3");
  // mov eax, 1; movd xmm1, eax; again: paddd xmm0, xmm1; movd eax, xmm0; out 0x80, eax; jmp again
  const Code code = {0xb8, 0x01, 0x00, 0x00, 0x00, 0x66, 0x0f, 0x6e, 0xc8, 0x66, 0x0f,
                     0xfe, 0xc1, 0x66, 0x0f, 0x7e, 0xc0, 0xe7, 0x80, 0xeb, 0xf4};
  auto machine = std::make_unique<TestMachine>(accelerator());
  machine->start(Mode::kUser64, code);
  std::uint64_t expected = 0;
  for (int hop = 0; hop < 3; ++hop) {
    for (int turn = 0; turn < 5; ++turn) {
      const auto exit = expect<IoExit>(machine->run());
      ASSERT_EQ(load_le_sized(exit.data.data(), exit.data.size()), ++expected);
    }
    auto next = std::make_unique<TestMachine>(accelerator());
    move(*machine, *next);
    machine = std::move(next);
  }
}

TEST_P(StateTest, MachineWithInterruptControllersGoesOnInAnother) {
  DOPPEL_NEEDS(capabilities().irqchip && capabilities().pit, "no interrupt controllers in the accelerator");
  const TestMachine::Options options = {.irqchip = IrqchipMode::kKernel, .pit = true};
  TestMachine first(accelerator(), options);
  // As in the PIT's own test, but every tick goes out: inc ebp; mov al, 0x20; out 0x20, al; out 0x80, al; iretq
  first.handle(Mode::kLong64, 0x20, {0xff, 0xc5, 0xb0, 0x20, 0xe6, 0x20, 0xe6, 0x80, 0x48, 0xcf});
  first.start(Mode::kLong64, {0xb0, 0x11, 0xe6, 0x20, 0xb0, 0x20, 0xe6, 0x21, 0xb0, 0x04, 0xe6, 0x21,
                              0xb0, 0x01, 0xe6, 0x21, 0xb0, 0xfe, 0xe6, 0x21, 0xb0, 0x34, 0xe6, 0x43,
                              0xb0, 0xa9, 0xe6, 0x40, 0xb0, 0x04, 0xe6, 0x40, 0xfb, 0xf4, 0xeb, 0xfd});
  for (int i = 0; i < 3; ++i) EXPECT_EQ(expect<IoExit>(first.run()).port, 0x80);
  TestMachine second(accelerator(), options);
  ASSERT_TRUE(second.vm().load_irqchip(*first.vm().save_irqchip()));
  move(first, second);
  const std::uint64_t ticks = second.state().gpr[x86::kRbp];
  for (int i = 0; i < 3; ++i) EXPECT_EQ(expect<IoExit>(second.run()).port, 0x80);
  EXPECT_EQ(second.state().gpr[x86::kRbp], ticks + 3);
}

TEST_P(StateTest, GuestCodeGoesFromRealToProtectedToLongMode) {
  constexpr std::uint64_t kGdtPointer = 0x7000;
  TestMachine machine(accelerator());
  machine.memory().write<std::uint16_t>(kGdtPointer, 0x4f);
  machine.memory().write<std::uint32_t>(kGdtPointer + 2, tiny::kGdt);
  const Code code = {
      // 16 bits
      0xb0, 0x16, 0xe6, 0x80,        // mov al, 0x16; out 0x80, al
      0x0f, 0x01, 0x16, 0x00, 0x70,  // lgdt [0x7000]
      0x0f, 0x20, 0xc0, 0x0c, 0x01,  // mov eax, cr0; or al, 1
      0x0f, 0x22, 0xc0,              // mov cr0, eax
      0xea, 0x16, 0x40, 0x08, 0x00,  // jmp 0x08:0x4016
      // 32 bits, at 0x4016
      0xb8, 0x10, 0x00, 0x00, 0x00, 0x8e, 0xd8,  // mov eax, 0x10; mov ds, eax
      0x8e, 0xd0,                                // mov ss, eax
      0xb0, 0x32, 0xe6, 0x80,                    // mov al, 0x32; out 0x80, al
      0x0f, 0x20, 0xe0, 0x83, 0xc8, 0x20,        // mov eax, cr4; or eax, 0x20
      0x0f, 0x22, 0xe0,                          // mov cr4, eax
      0xb8, 0x00, 0x00, 0x01, 0x00,              // mov eax, 0x10000
      0x0f, 0x22, 0xd8,                          // mov cr3, eax
      0xb9, 0x80, 0x00, 0x00, 0xc0, 0x0f, 0x32,  // mov ecx, 0xc0000080; rdmsr
      0x0d, 0x00, 0x01, 0x00, 0x00, 0x0f, 0x30,  // or eax, 0x100; wrmsr
      0x0f, 0x20, 0xc0,                          // mov eax, cr0
      0x0d, 0x00, 0x00, 0x00, 0x80,              // or eax, 0x80000000
      0x0f, 0x22, 0xc0,                          // mov cr0, eax
      0xea, 0x54, 0x40, 0x00, 0x00, 0x18, 0x00,  // jmp 0x18:0x4054
      // 64 bits, at 0x4054
      0xb0, 0x64, 0xe6, 0x80,                                      // mov al, 0x64; out 0x80, al
      0x48, 0xb8, 0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11,  // mov rax, 0x1122334455667788
      0xf4,                                                        // hlt
  };
  static_assert(tiny::kCode == 0x4000 && tiny::kPml4 == 0x10000);
  machine.start(Mode::kReal16, code);
  for (const unsigned stage : {0x16U, 0x32U, 0x64U}) {
    const auto exit = expect<IoExit>(machine.run());
    ASSERT_EQ(exit.data.size(), 1U);
    EXPECT_EQ(std::to_integer<unsigned>(exit.data[0]), stage);
  }
  expect<HaltExit>(machine.run());
  EXPECT_EQ(machine.state().gpr[x86::kRax], 0x1122334455667788U);
  const x86::CpuState state = machine.state(StateParts::kSystem);
  EXPECT_EQ(state.efer & 0x500, 0x500U);
  EXPECT_TRUE(state.segment[x86::kCs].long_mode);
}

TEST_P(StateTest, ResetStateIsTheProcessors) {
  const auto vm = accelerator().create_vm();
  ASSERT_TRUE(vm);
  const auto vcpu = (*vm)->create_vcpu(0);
  ASSERT_TRUE(vcpu);
  x86::CpuState state;
  ASSERT_TRUE((*vcpu)->get_state(state, StateParts::kRegisters | StateParts::kSystem));
  EXPECT_EQ(state.rip, 0xfff0U);
  EXPECT_EQ(state.rflags, 2U);
  EXPECT_EQ(state.segment[x86::kCs].base, 0xffff0000U);
  EXPECT_EQ(state.segment[x86::kCs].selector, 0xf000);
  EXPECT_EQ(state.cr0, 0x60000010U);
}

DOPPEL_CONTRACT_SUITE(StateTest);

}  // namespace
}  // namespace doppel::test
