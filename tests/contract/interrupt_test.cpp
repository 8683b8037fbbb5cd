// HLT, interrupts, NMIs and exceptions with the interrupt controllers in user space.
#include "tests/contract/contract.h"

namespace doppel::test {
namespace {

using accel::Injection;

using InterruptTest = ContractTest;

constexpr std::uint8_t kVector = 0x40;
constexpr Injection kInterrupt = {.kind = Injection::Kind::kInterrupt, .vector = kVector, .error_code = {}};
constexpr Injection kNmi = {.kind = Injection::Kind::kNmi, .vector = 2, .error_code = {}};

// out 0x81, al; iret (iretq in 64-bit mode)
const Code kHandler16 = {0xe6, 0x81, 0xcf};
const Code kHandler64 = {0xe6, 0x81, 0x48, 0xcf};

const Code& handler_of(Mode mode) {
  return mode == Mode::kReal16 || mode == Mode::kProtected32 ? kHandler16 : kHandler64;
}

TEST_P(InterruptTest, HltLeavesRipBehindIt) {
  TestMachine machine(accelerator());
  for (const Mode mode : {Mode::kReal16, Mode::kProtected32, Mode::kLong64}) {
    machine.start(mode, {0xf4, 0xf4});  // hlt; hlt
    expect<HaltExit>(machine.run());
    EXPECT_EQ(machine.state().rip, tiny::kCode + 1);
    expect<HaltExit>(machine.run());
    EXPECT_EQ(machine.state().rip, tiny::kCode + 2);
  }
}

TEST_P(InterruptTest, WindowOpensOnlyWithInterruptsEnabled) {
  TestMachine machine(accelerator());
  // out 0x80, al; sti; nop; nop; jmp $
  machine.start(Mode::kLong64, {0xe6, 0x80, 0xfb, 0x90, 0x90, 0xeb, 0xfe});
  machine.vcpu().request_interrupt_window(true);
  expect<IoExit>(machine.run());
  EXPECT_FALSE(machine.vcpu().ready_for_interrupt());
  expect<IrqWindowExit>(machine.run());
  EXPECT_TRUE(machine.vcpu().ready_for_interrupt());
  EXPECT_NE(machine.state().rflags & 0x200, 0U);
}

TEST_P(InterruptTest, ReadinessFollowsTheStateThatIsSet) {
  TestMachine machine(accelerator());
  machine.handle(Mode::kLong64, kVector, kHandler64);
  machine.start(Mode::kLong64, {0xf4, 0xf4, 0xeb, 0xfe});  // hlt; hlt; jmp $
  expect<HaltExit>(machine.run());
  ASSERT_FALSE(machine.vcpu().ready_for_interrupt());
  const auto ready_with = [&](std::uint64_t interrupt_flag, bool shadow, x86::StateParts parts) {
    x86::CpuState state = machine.state(x86::StateParts::kAll);
    state.rflags = (state.rflags & ~std::uint64_t{0x200}) | interrupt_flag;
    state.events.sti_shadow = shadow;
    EXPECT_TRUE(machine.vcpu().set_state(state, parts));
    return machine.vcpu().ready_for_interrupt();
  };
  using enum x86::StateParts;
  EXPECT_TRUE(ready_with(0x200, false, kRegisters));
  EXPECT_FALSE(ready_with(0, false, kRegisters));
  EXPECT_TRUE(ready_with(0x200, false, kRegisters | kSystem));
  EXPECT_FALSE(ready_with(0x200, true, kEvents));
  EXPECT_TRUE(ready_with(0x200, false, kEvents));
  EXPECT_FALSE(ready_with(0, false, kAll));
  ASSERT_TRUE(ready_with(0x200, false, kAll));
  ASSERT_TRUE(machine.vcpu().inject(kInterrupt));
  EXPECT_EQ(expect<IoExit>(machine.run()).port, 0x81);
}

TEST_P(InterruptTest, InterruptIsDeliveredAndReturnsInEveryMode) {
  TestMachine machine(accelerator());
  for (const Mode mode : {Mode::kReal16, Mode::kProtected32, Mode::kLong64, Mode::kUser64}) {
    SCOPED_TRACE(static_cast<int>(mode));
    if (mode == Mode::kProtected32 && !traits().protected_mode_iret) continue;
    machine.handle(mode, kVector, handler_of(mode));
    machine.start(mode, {0x90, 0xeb, 0xfd});  // nop; jmp back to it
    x86::CpuState state = machine.state();
    state.rflags |= 0x200;  // STI is a matter of privilege
    ASSERT_TRUE(machine.vcpu().set_state(state, x86::StateParts::kRegisters));
    for (int i = 0; i < 3; ++i) {
      machine.vcpu().request_interrupt_window(true);
      expect<IrqWindowExit>(machine.run());
      ASSERT_TRUE(machine.vcpu().ready_for_interrupt());
      machine.vcpu().request_interrupt_window(false);
      ASSERT_TRUE(machine.vcpu().inject(kInterrupt));
      EXPECT_FALSE(machine.vcpu().ready_for_interrupt());
      EXPECT_EQ(expect<IoExit>(machine.run()).port, 0x81);
    }
  }
}

TEST_P(InterruptTest, InterruptWakesHltBehindSti) {
  TestMachine machine(accelerator());
  machine.handle(Mode::kLong64, kVector, kHandler64);
  // sti; hlt; cli; out 0x82, al
  machine.start(Mode::kLong64, {0xfb, 0xf4, 0xfa, 0xe6, 0x82});
  expect<HaltExit>(machine.run());
  ASSERT_TRUE(machine.vcpu().ready_for_interrupt());
  ASSERT_TRUE(machine.vcpu().inject(kInterrupt));
  EXPECT_EQ(expect<IoExit>(machine.run()).port, 0x81);
  EXPECT_EQ(expect<IoExit>(machine.run()).port, 0x82);
}

TEST_P(InterruptTest, StackHoldsWhereTheInterruptCame) {
  TestMachine machine(accelerator());
  machine.handle(Mode::kLong64, kVector, {0xf4});  // hlt
  machine.start(Mode::kLong64, {0xfb, 0xf4});      // sti; hlt
  expect<HaltExit>(machine.run());
  ASSERT_TRUE(machine.vcpu().inject(kInterrupt));
  expect<HaltExit>(machine.run());
  const x86::CpuState state = machine.state();
  EXPECT_EQ(state.rip, tiny::kHandler + 1);
  EXPECT_EQ(state.rflags & 0x200, 0U);
  const std::uint64_t rsp = state.gpr[x86::kRsp];
  EXPECT_EQ(rsp, tiny::kStackTop - 40);
  EXPECT_EQ(machine.memory().read<std::uint64_t>(rsp), tiny::kCode + 2);
  EXPECT_EQ(machine.memory().read<std::uint64_t>(rsp + 8), tiny::kCode64);
  EXPECT_NE(machine.memory().read<std::uint64_t>(rsp + 16) & 0x200, 0U);
  EXPECT_EQ(machine.memory().read<std::uint64_t>(rsp + 24), tiny::kStackTop);
}

TEST_P(InterruptTest, NmiIgnoresTheInterruptFlagAndBlocksTheNext) {
  DOPPEL_NEEDS(capabilities().nmi, "no NMIs");
  TestMachine machine(accelerator());
  // out 0x81, al; out 0x83, al; iretq
  machine.handle(Mode::kLong64, 2, {0xe6, 0x81, 0xe6, 0x83, 0x48, 0xcf});
  // out 0x80, al; jmp $
  machine.start(Mode::kLong64, {0xe6, 0x80, 0xeb, 0xfe});
  EXPECT_EQ(expect<IoExit>(machine.run()).port, 0x80);
  ASSERT_TRUE(machine.vcpu().inject(kNmi));
  EXPECT_EQ(expect<IoExit>(machine.run()).port, 0x81);
  EXPECT_TRUE(machine.state(x86::StateParts::kEvents).events.nmi.masked);
  ASSERT_TRUE(machine.vcpu().inject(kNmi));
  EXPECT_EQ(expect<IoExit>(machine.run()).port, 0x83);  // the first handler goes on to its IRET
  EXPECT_EQ(expect<IoExit>(machine.run()).port, 0x81);
  EXPECT_EQ(expect<IoExit>(machine.run()).port, 0x83);
  machine.vcpu().kick();
  expect<InterruptedExit>(machine.run());  // there is no third
}

TEST_P(InterruptTest, InjectedExceptionPushesItsErrorCode) {
  TestMachine machine(accelerator());
  machine.handle(Mode::kLong64, 13, {0x58, 0x5b, 0xf4});  // pop rax; pop rbx; hlt
  machine.start(Mode::kLong64, {0xe6, 0x80, 0x90});       // out 0x80, al; nop
  expect<IoExit>(machine.run());
  ASSERT_TRUE(machine.vcpu().complete_exit());
  ASSERT_TRUE(machine.vcpu().inject({.kind = Injection::Kind::kException, .vector = 13, .error_code = 0x1234}));
  expect<HaltExit>(machine.run());
  const x86::CpuState state = machine.state();
  EXPECT_EQ(state.gpr[x86::kRax], 0x1234U);
  EXPECT_EQ(state.gpr[x86::kRbx], tiny::kCode + 2);
}

TEST_P(InterruptTest, TaskPriorityTravelsBothWays) {
  TestMachine machine(accelerator());
  // mov cr8, rax; out 0x80, al; mov rbx, cr8; hlt
  machine.start(Mode::kLong64, {0x44, 0x0f, 0x22, 0xc0, 0xe6, 0x80, 0x44, 0x0f, 0x20, 0xc3, 0xf4}, {{x86::kRax, 9}});
  VcpuExit exit = machine.run();
  while (std::holds_alternative<accel::SetTprExit>(exit)) exit = machine.run();
  expect<IoExit>(exit);
  EXPECT_EQ(machine.vcpu().tpr(), 9);
  machine.vcpu().set_tpr(3);
  expect<HaltExit>(machine.run());
  EXPECT_EQ(machine.state().gpr[x86::kRbx], 3U);
}

TEST_P(InterruptTest, HaltedStateIsKeptUntilAnInterruptComes) {
  TestMachine machine(accelerator());
  machine.handle(Mode::kLong64, kVector, kHandler64);
  machine.start(Mode::kLong64, {0xfb, 0xf4, 0xe6, 0x82});  // sti; hlt; out 0x82, al
  expect<HaltExit>(machine.run());
  x86::CpuState state = machine.state(x86::StateParts::kMpState);
  state.mp_state = x86::MpState::kHalted;
  ASSERT_TRUE(machine.vcpu().set_state(state, x86::StateParts::kMpState));
  EXPECT_EQ(machine.state(x86::StateParts::kMpState).mp_state, x86::MpState::kHalted);
  expect<HaltExit>(machine.run());
  machine.vcpu().kick();
  expect<InterruptedExit>(machine.run());
  expect<HaltExit>(machine.run());
  ASSERT_TRUE(machine.vcpu().inject(kInterrupt));
  EXPECT_EQ(expect<IoExit>(machine.run()).port, 0x81);
  EXPECT_EQ(expect<IoExit>(machine.run()).port, 0x82);
}

DOPPEL_CONTRACT_SUITE(InterruptTest);

}  // namespace
}  // namespace doppel::test
