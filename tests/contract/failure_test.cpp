// Triple faults, instructions that the accelerator cannot carry out, and the fallback for those.
#include <algorithm>
#include <bit>

#include "tests/contract/contract.h"

namespace doppel::test {
namespace {

using FailureTest = ContractTest;

// popcnt eax, ebx; hlt
const Code kPopcnt = {0xf3, 0x0f, 0xb8, 0xc3, 0xf4};
constexpr std::size_t kPopcntSize = 4;

TEST_P(FailureTest, FaultWithoutHandlersShutsDown) {
  TestMachine machine(accelerator());
  for (const Mode mode : {Mode::kReal16, Mode::kProtected32, Mode::kLong64, Mode::kUser64}) {
    SCOPED_TRACE(static_cast<int>(mode));
    if (mode == Mode::kReal16 && !traits().real_mode_idt_limit) continue;
    machine.start(mode, {0x0f, 0x0b});  // ud2
    x86::CpuState state = machine.state(x86::StateParts::kSystem);
    state.idt.limit = 0;
    ASSERT_TRUE(machine.vcpu().set_state(state, x86::StateParts::kSystem));
    expect<ShutdownExit>(machine.run());
  }
  machine.start(Mode::kLong64, {0xf4});  // and can be set to work again
  expect<HaltExit>(machine.run());
}

TEST_P(FailureTest, FaultReachesItsHandler) {
  TestMachine machine(accelerator());
  for (const Mode mode : {Mode::kReal16, Mode::kProtected32, Mode::kLong64}) {
    SCOPED_TRACE(static_cast<int>(mode));
    machine.handle(mode, 6, {0xf4});    // hlt
    machine.start(mode, {0x0f, 0x0b});  // ud2
    expect<HaltExit>(machine.run());
    EXPECT_EQ(machine.state().rip, tiny::kHandler + 1);
  }
}

TEST_P(FailureTest, InternalErrorShowsTheInstruction) {
  DOPPEL_NEEDS(traits().interprets_kernel_code, "this accelerator carries out every instruction");
  TestMachine machine(accelerator());
  machine.start(Mode::kLong64, kPopcnt);
  for (int i = 0; i < 2; ++i) {  // RIP stays, so it comes again
    const auto error = expect<InternalErrorExit>(machine.run());
    EXPECT_TRUE(error.is_emulation_failure);
    EXPECT_FALSE(error.why.empty());
    ASSERT_GE(error.instruction_length, kPopcnt.size());
    EXPECT_TRUE(std::ranges::equal(kPopcnt, std::span(error.instruction).first(kPopcnt.size())));
    EXPECT_EQ(machine.state().rip, tiny::kCode);
  }
}

/// Carries out POPCNT EAX, EBX and INT3, and records what it was given.
class TinyFallback : public accel::InstructionFallback {
 public:
  Result<> execute(accel::Vcpu& /*vcpu*/, std::span<const std::uint8_t> instruction, x86::CpuState& state) override {
    ++calls;
    if (failure) return std::unexpected(*failure);
    if (stuck) return {};
    if (instruction.size() >= kPopcntSize &&
        std::ranges::equal(instruction.first(kPopcntSize), std::span(kPopcnt).first(kPopcntSize))) {
      state.gpr[x86::kRax] =
          static_cast<std::uint64_t>(std::popcount(static_cast<std::uint32_t>(state.gpr[x86::kRbx])));
      state.rip += kPopcntSize;
      return {};
    }
    if (!instruction.empty() && instruction[0] == 0xcc) {
      state.rip += 1;
      state.events.exception = {.injected = true, .vector = 3};
      return {};
    }
    return fail(ErrorKind::kUnsupported, "some other instruction");
  }

  int calls = 0;
  bool stuck = false;
  std::optional<Error> failure;
};

class FallbackTest : public ContractTest {
 protected:
  void SetUp() override {
    ContractTest::SetUp();
    if (IsSkipped()) return;
    DOPPEL_NEEDS(traits().interprets_kernel_code, "this accelerator needs no fallback for ordinary instructions");
  }
};

TEST_P(FallbackTest, CarriesOutAndGoesOn) {
  TestMachine machine(accelerator());
  TinyFallback fallback;
  machine.vm().set_fallback(&fallback);
  for (int i = 1; i <= 5; ++i) {
    machine.start(Mode::kLong64, kPopcnt, {{x86::kRbx, 0xf0f0}});
    expect<HaltExit>(machine.run());
    EXPECT_EQ(fallback.calls, i);
    EXPECT_EQ(machine.state().gpr[x86::kRax], 8U);
    EXPECT_EQ(machine.state().rip, tiny::kCode + kPopcnt.size());
  }
}

TEST_P(FallbackTest, ManyInARow) {
  TestMachine machine(accelerator());
  TinyFallback fallback;
  machine.vm().set_fallback(&fallback);
  // again: popcnt eax, ebx; dec ecx; jnz again; hlt
  machine.start(Mode::kLong64, {0xf3, 0x0f, 0xb8, 0xc3, 0xff, 0xc9, 0x75, 0xf8, 0xf4},
                {{x86::kRcx, 200}, {x86::kRbx, 7}});
  expect<HaltExit>(machine.run());
  EXPECT_EQ(fallback.calls, 200);
  EXPECT_EQ(machine.state().gpr[x86::kRax], 3U);
}

TEST_P(FallbackTest, MayRaiseAnException) {
  TestMachine machine(accelerator());
  TinyFallback fallback;
  machine.vm().set_fallback(&fallback);
  machine.handle(Mode::kLong64, 3, {0xb3, 0x77, 0x48, 0xcf});  // mov bl, 0x77; iretq
  machine.start(Mode::kLong64, {0xcc, 0xf4});                  // int3; hlt
  expect<HaltExit>(machine.run());
  EXPECT_EQ(fallback.calls, 1);
  EXPECT_EQ(machine.state().gpr[x86::kRbx], 0x77U);
  EXPECT_EQ(machine.state().rip, tiny::kCode + 2);
}

TEST_P(FallbackTest, UnsupportedLeavesTheError) {
  TestMachine machine(accelerator());
  TinyFallback fallback;
  machine.vm().set_fallback(&fallback);
  machine.start(Mode::kLong64, {0x0f, 0x77});  // emms
  const auto error = expect<InternalErrorExit>(machine.run());
  EXPECT_EQ(fallback.calls, 1);
  EXPECT_EQ(error.instruction[1], 0x77);
  EXPECT_EQ(machine.state().rip, tiny::kCode);
}

TEST_P(FallbackTest, OtherFailuresAreErrors) {
  TestMachine machine(accelerator());
  TinyFallback fallback;
  fallback.failure = Error(ErrorKind::kIo, "the disk is on fire");
  machine.vm().set_fallback(&fallback);
  machine.start(Mode::kLong64, kPopcnt);
  const auto exit = machine.vcpu().run();
  ASSERT_FALSE(exit);
  EXPECT_EQ(exit.error().message(), "the disk is on fire");
}

TEST_P(FallbackTest, RunReturnsEvenIfTheInstructionNeverEnds) {
  TestMachine machine(accelerator());
  TinyFallback fallback;
  fallback.stuck = true;
  machine.vm().set_fallback(&fallback);
  machine.start(Mode::kLong64, kPopcnt);
  expect<InterruptedExit>(machine.run());
  EXPECT_GT(fallback.calls, 1);
  fallback.stuck = false;
  expect<HaltExit>(machine.run());
}

TEST_P(FallbackTest, TakenAwayAgain) {
  TestMachine machine(accelerator());
  TinyFallback fallback;
  machine.vm().set_fallback(&fallback);
  machine.vm().set_fallback(nullptr);
  machine.start(Mode::kLong64, kPopcnt);
  expect<InternalErrorExit>(machine.run());
  EXPECT_EQ(fallback.calls, 0);
}

DOPPEL_CONTRACT_SUITE(FailureTest);
DOPPEL_CONTRACT_SUITE(FallbackTest);

}  // namespace
}  // namespace doppel::test
