// Single steps, breakpoints and watchpoints; translation of linear addresses.
#include "tests/contract/contract.h"

namespace doppel::test {
namespace {

using accel::DebugRequest;

using DebugTest = ContractTest;

constexpr std::uint64_t kDr6SingleStep = 1U << 14;

TEST_P(DebugTest, SingleStepsInEveryMode) {
  DOPPEL_NEEDS(capabilities().guest_debug, "no guest debugging");
  TestMachine machine(accelerator());
  for (const Mode mode : {Mode::kReal16, Mode::kProtected32, Mode::kLong64, Mode::kUser64}) {
    SCOPED_TRACE(static_cast<int>(mode));
    if (mode == Mode::kUser64 && !traits().user_mode_debug) continue;
    // nop; inc eax/ax; nop; hlt.  (ff c0 in every mode)
    machine.start(mode, {0x90, 0xff, 0xc0, 0x90, 0xf4});
    ASSERT_TRUE(machine.vcpu().set_debug({.single_step = true}));
    for (const std::uint64_t offset : {1U, 3U, 4U}) {
      const auto exit = expect<DebugExit>(machine.run());
      EXPECT_EQ(exit.vector, 1);
      EXPECT_EQ(exit.pc, tiny::kCode + offset);
      EXPECT_NE(exit.dr6 & kDr6SingleStep, 0U);
      EXPECT_EQ(machine.state().rip, tiny::kCode + offset);
      EXPECT_EQ(machine.state().rflags & 0x100, 0U);  // the trap flag is ours, not the guest's
    }
    ASSERT_TRUE(machine.vcpu().set_debug({}));
    EXPECT_EQ(machine.state().gpr[x86::kRax], 1U);
  }
}

TEST_P(DebugTest, HardwareBreakpoint) {
  DOPPEL_NEEDS(capabilities().guest_debug, "no guest debugging");
  TestMachine machine(accelerator());
  machine.start(Mode::kLong64, {0x90, 0x90, 0x90, 0xf4});  // nop; nop; nop; hlt
  DebugRequest request;
  request.address[1] = tiny::kCode + 2;
  request.dr7 = 0x408;  // G1, execution
  ASSERT_TRUE(machine.vcpu().set_debug(request));
  const auto exit = expect<DebugExit>(machine.run());
  EXPECT_EQ(exit.pc, tiny::kCode + 2);
  EXPECT_NE(exit.dr6 & 2, 0U);
  EXPECT_EQ(machine.state().rip, tiny::kCode + 2);
  ASSERT_TRUE(machine.vcpu().set_debug({}));
  expect<HaltExit>(machine.run());
}

TEST_P(DebugTest, SoftwareBreakpoint) {
  DOPPEL_NEEDS(capabilities().guest_debug, "no guest debugging");
  DOPPEL_NEEDS(traits().software_breakpoints, "INT3 does not come back as a debug exit");
  TestMachine machine(accelerator());
  machine.start(Mode::kLong64, {0x90, 0xcc, 0xf4});  // nop; int3; hlt
  ASSERT_TRUE(machine.vcpu().set_debug({.software_breakpoints = true}));
  const auto exit = expect<DebugExit>(machine.run());
  EXPECT_EQ(exit.vector, 3);
  EXPECT_EQ(exit.pc, tiny::kCode + 1);
}

TEST_P(DebugTest, Watchpoint) {
  DOPPEL_NEEDS(capabilities().guest_debug, "no guest debugging");
  DOPPEL_NEEDS(traits().data_watchpoints, "data watchpoints do not fire");
  TestMachine machine(accelerator());
  // mov [rdi], eax; nop; hlt
  machine.start(Mode::kLong64, {0x89, 0x07, 0x90, 0xf4}, {{x86::kRdi, tiny::kData}});
  DebugRequest request;
  request.address[0] = tiny::kData;
  request.dr7 = 0xd0402;  // G0, writes of 4 bytes
  ASSERT_TRUE(machine.vcpu().set_debug(request));
  const auto exit = expect<DebugExit>(machine.run());
  EXPECT_EQ(exit.pc, tiny::kCode + 2);
  EXPECT_NE(exit.dr6 & 1, 0U);
}

TEST_P(DebugTest, GuestRunsFreelyAfterwards) {
  DOPPEL_NEEDS(capabilities().guest_debug, "no guest debugging");
  TestMachine machine(accelerator());
  machine.start(Mode::kLong64, {0x90, 0x90, 0xf4});
  ASSERT_TRUE(machine.vcpu().set_debug({.single_step = true}));
  expect<DebugExit>(machine.run());
  ASSERT_TRUE(machine.vcpu().set_debug({}));
  expect<HaltExit>(machine.run());
}

TEST_P(DebugTest, TranslatesByThePageTables) {
  TestMachine machine(accelerator());
  machine.start(Mode::kLong64, {0xf4});
  const auto identity = machine.vcpu().translate(0x12345678);
  ASSERT_TRUE(identity) << identity.error().describe();
  EXPECT_EQ(identity->value, 0x12345678U);
  const auto unmapped = machine.vcpu().translate(std::uint64_t{5} << 30);
  ASSERT_FALSE(unmapped);
  EXPECT_EQ(unmapped.error().kind(), ErrorKind::kNotFound);
  // Map 5 GiB to the 2 MiB at 0x40200000.
  constexpr std::uint64_t kDirectory = tiny::kMemorySize - 0x1000;
  machine.memory().write<std::uint64_t>(tiny::kPml4 + 0x1000 + 5 * 8, kDirectory | 7);
  machine.memory().write<std::uint64_t>(kDirectory, 0x40200000 | 0x87);
  machine.start(Mode::kLong64, {0xf4});
  const auto moved = machine.vcpu().translate((std::uint64_t{5} << 30) + 0x123);
  ASSERT_TRUE(moved) << moved.error().describe();
  EXPECT_EQ(moved->value, 0x40200123U);
  machine.start(Mode::kReal16, {0xf4});
  EXPECT_EQ(machine.vcpu().translate(0xf1234)->value, 0xf1234U);
}

DOPPEL_CONTRACT_SUITE(DebugTest);

}  // namespace
}  // namespace doppel::test
