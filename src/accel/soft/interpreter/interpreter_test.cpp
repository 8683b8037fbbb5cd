#include "accel/soft/interpreter/interpreter.h"

#include <gtest/gtest.h>

#include "accel/soft/interpreter/test_cpu.h"

namespace doppel::accel::soft {
namespace {

using tiny::Mode;
namespace rflags = x86::rflags;

constexpr std::uint8_t kNop = 0x90;
constexpr std::uint8_t kHlt = 0xf4;

TEST(InterpreterTest, RunsToTheBudget) {
  TestCpu test(Mode::kLong64);
  EXPECT_EQ(test.run({kNop, kNop, kNop, kHlt}, 2), StopReason::kBudget);
  EXPECT_EQ(test.cpu.rip, tiny::kCode + 2);
  EXPECT_EQ(test.resume(5), StopReason::kHalt);
  EXPECT_EQ(test.cpu.rip, tiny::kCode + 4);
}

TEST(InterpreterTest, LoopsInEveryMode) {
  for (const Mode mode : {Mode::kReal16, Mode::kProtected32, Mode::kPaged32, Mode::kLong64}) {
    TestCpu test(mode);
    test.cpu.gpr[x86::kRcx] = 1000;
    // again: add ax, cx; dec cx; jnz again; hlt   (eax and ecx in 32-bit code)
    EXPECT_EQ(test.run({0x01, 0xc8, 0xff, 0xc9, 0x75, 0xfa, kHlt}, 10000), StopReason::kHalt);
    EXPECT_EQ(test.cpu.gpr[x86::kRax] & 0xffff, 500500 & 0xffff);
  }
}

TEST(InterpreterTest, FaultLeavesRipAtTheInstruction) {
  TestCpu test(Mode::kLong64);
  test.catch_vector(x86::kInvalidOpcode);
  test.run({kNop, 0x0f, 0x0b}, 2);  // UD2
  EXPECT_EQ(test.cpu.rip, tiny::kHandler);
  EXPECT_EQ(test.peek<std::uint64_t>(test.cpu.gpr[x86::kRsp]), tiny::kCode + 1);
}

TEST(InterpreterTest, FaultWithoutHandlersShutsDown) {
  TestCpu test(Mode::kLong64);
  EXPECT_EQ(test.run({0x0f, 0x0b}, 100), StopReason::kShutdown);
}

TEST(InterpreterTest, StoreIntoTheNextInstructionTakesEffect) {
  TestCpu test(Mode::kLong64);
  // mov byte [rip + 0], 0xf4; nop    The store turns the NOP into HLT.
  EXPECT_EQ(test.run({0xc6, 0x05, 0x00, 0x00, 0x00, 0x00, kHlt, kNop, kNop, kNop}, 4), StopReason::kHalt);
  EXPECT_EQ(test.cpu.rip, tiny::kCode + 8);
}

TEST(InterpreterTest, CodeChangedBetweenTwoPasses) {
  TestCpu test(Mode::kLong64);
  // again: inc eax; mov byte [rip - 7], 0x90; cmp ... : the first byte becomes NOPs in the second pass
  test.run({0xff, 0xc0, 0x66, 0xc7, 0x05, 0xf5, 0xff, 0xff, 0xff, kNop, kNop, 0xeb, 0xf3}, 6);
  EXPECT_EQ(test.cpu.gpr[x86::kRax], 1U);
}

TEST(InterpreterTest, InstructionAcrossTwoPages) {
  TestCpu test(Mode::kLong64);
  test.start(0x4ffe);
  EXPECT_EQ(test.run({0xb8, 0x78, 0x56, 0x34, 0x12, kHlt}, 3), StopReason::kHalt);  // mov eax, 0x12345678
  EXPECT_EQ(test.cpu.gpr[x86::kRax], 0x12345678U);
  test.poke<std::uint8_t>(0x5000, 0x99);
  test.start(0x4ffe);
  test.resume(1);
  EXPECT_EQ(test.cpu.gpr[x86::kRax], 0x12349978U);
}

constexpr unsigned kManyBlocks = 40'000;  // whose instructions do not all stay decoded

constexpr std::uint64_t kManyBegin = 0x10'0000;

/// Two rounds of them, which count in EAX, and then a jump to BEHIND.
void put_many_blocks(TestCpu& test, std::uint64_t behind) {
  const auto jump = [](std::uint64_t from, std::uint64_t to) { return static_cast<std::uint32_t>(to - (from + 4)); };
  for (unsigned n = 0; n < kManyBlocks; ++n)
    test.poke<std::uint64_t>(kManyBegin + 8 * std::uint64_t{n}, 0x00eb'9090'9090'c0ff);  // inc eax; 4 nop; jmp $+2
  // cmp eax, 80000; jb begin; jmp behind
  constexpr std::uint64_t kEnd = kManyBegin + 8 * std::uint64_t{kManyBlocks};
  test.poke<std::uint8_t>(kEnd, 0x3d);
  test.poke<std::uint32_t>(kEnd + 1, 2 * kManyBlocks);
  test.poke<std::uint16_t>(kEnd + 5, 0x820f);
  test.poke<std::uint32_t>(kEnd + 7, jump(kEnd + 7, kManyBegin));
  test.poke<std::uint8_t>(kEnd + 11, 0xe9);
  test.poke<std::uint32_t>(kEnd + 12, jump(kEnd + 12, behind));
}

TEST(InterpreterTest, MoreBlocksThanStayDecoded) {
  TestCpu test(Mode::kLong64);
  put_many_blocks(test, tiny::kCode);
  test.poke<std::uint8_t>(tiny::kCode, kHlt);
  test.cpu.rip = kManyBegin;
  EXPECT_EQ(test.resume(13 * kManyBlocks), StopReason::kHalt);
  EXPECT_EQ(test.cpu.gpr[x86::kRax], 2 * kManyBlocks);
  EXPECT_EQ(test.interpreter.code_statistics().decoded, kManyBlocks + 3U);
  EXPECT_GT(test.interpreter.code_statistics().again, 0U);
}

// It has one byte; only the byte behind shows that it is none.
TEST(InterpreterTest, IsDecodedAgainThoughItIsNoInstruction) {
  TestCpu test(Mode::kLong64);
  test.catch_vector(x86::kInvalidOpcode);
  put_many_blocks(test, tiny::kCode);
  test.poke<std::uint16_t>(tiny::kCode, 0x0a0f);
  // The handler: test eax, eax; jz begin; hlt
  test.poke<std::uint32_t>(tiny::kHandler, 0x840f'c085);
  test.poke<std::uint32_t>(tiny::kHandler + 4, static_cast<std::uint32_t>(kManyBegin - (tiny::kHandler + 8)));
  test.poke<std::uint8_t>(tiny::kHandler + 8, kHlt);
  test.cpu.gpr[x86::kRax] = 0;
  EXPECT_EQ(test.resume(14 * kManyBlocks), StopReason::kHalt);
  EXPECT_EQ(test.cpu.rip, tiny::kHandler + 9);
  EXPECT_EQ(test.interpreter.code_statistics().decoded, kManyBlocks + 5U);
}

TEST(InterpreterTest, SegmentLimitEndsCode) {
  TestCpu test(Mode::kReal16);
  test.catch_vector(x86::kGeneralProtection);
  test.start(0xffff);
  test.run({0xb8, 0, 0}, 1);  // MOV AX crosses FFFF
  EXPECT_EQ(test.cpu.rip, tiny::kHandler);
}

TEST(InterpreterTest, TrapFlagStopsBehindEachInstruction) {
  TestCpu test(Mode::kLong64);
  test.catch_vector(x86::kDebug);
  test.cpu.rflags |= rflags::kTf;
  test.run({kNop, kNop}, 1);
  EXPECT_EQ(test.cpu.rip, tiny::kHandler);
  EXPECT_NE(test.cpu.dr6 & x86::dr6::kBs, 0U);
  EXPECT_FALSE(test.cpu.flag(rflags::kTf));
  EXPECT_EQ(test.peek<std::uint64_t>(test.cpu.gpr[x86::kRsp]), tiny::kCode + 1);
  EXPECT_NE(test.peek<std::uint64_t>(test.cpu.gpr[x86::kRsp] + 16) & rflags::kTf, 0U);
}

TEST(InterpreterTest, CodeBreakpointIsAFaultAndResumeFlagPassesIt) {
  TestCpu test(Mode::kLong64);
  test.catch_vector(x86::kDebug);
  test.cpu.dr[1] = tiny::kCode + 1;
  test.cpu.dr7 |= 1U << 2U;  // L1, execute
  test.run({kNop, kNop, kNop}, 2);
  EXPECT_EQ(test.cpu.rip, tiny::kHandler);
  EXPECT_EQ(test.cpu.dr6 & 0xf, 2U);
  EXPECT_EQ(test.peek<std::uint64_t>(test.cpu.gpr[x86::kRsp]), tiny::kCode + 1);
  EXPECT_NE(test.peek<std::uint64_t>(test.cpu.gpr[x86::kRsp] + 16) & rflags::kRf, 0U);
  test.start(tiny::kCode + 1);
  test.cpu.dr7 |= 1U << 2U;
  test.cpu.rflags |= rflags::kRf;
  test.resume(1);
  EXPECT_EQ(test.cpu.rip, tiny::kCode + 2);
  EXPECT_FALSE(test.cpu.flag(rflags::kRf));
}

TEST(InterpreterTest, DataBreakpointTrapsBehindTheStore) {
  TestCpu test(Mode::kLong64);
  test.catch_vector(x86::kDebug);
  test.cpu.dr[0] = tiny::kData;
  test.cpu.dr7 |= 1U | 1U << 16U;  // L0, write, one byte
  test.cpu.gpr[x86::kRbx] = tiny::kData;
  test.cpu.tlb.flush_all();
  test.run({0x8b, 0x03, 0x89, 0x03, kNop}, 2);  // a load, then a store
  EXPECT_EQ(test.cpu.rip, tiny::kHandler);
  EXPECT_EQ(test.cpu.dr6 & 0xf, 1U);
  EXPECT_EQ(test.peek<std::uint64_t>(test.cpu.gpr[x86::kRsp]), tiny::kCode + 4);
}

TEST(InterpreterTest, HostSingleStep) {
  TestCpu test(Mode::kLong64);
  test.cpu.host_single_step = true;
  EXPECT_EQ(test.run({kNop, kNop}, 10), StopReason::kDebug);
  EXPECT_EQ(test.interpreter.debug_exit().pc, tiny::kCode + 1);
}

TEST(InterpreterTest, HostBreakpointsOfBothKinds) {
  TestCpu test(Mode::kLong64);
  test.cpu.host_breakpoints = true;
  EXPECT_EQ(test.run({kNop, 0xcc}, 10), StopReason::kDebug);
  EXPECT_EQ(test.interpreter.debug_exit().vector, x86::kBreakpoint);
  EXPECT_EQ(test.interpreter.debug_exit().pc, tiny::kCode + 1);
  test.start(tiny::kCode);
  test.cpu.host_owns_dr = true;
  test.cpu.host_dr[2] = tiny::kCode + 1;
  test.cpu.host_dr7 = 1U << 4U;
  EXPECT_EQ(test.run({kNop, kNop}, 10), StopReason::kDebug);
  EXPECT_EQ(test.interpreter.debug_exit().vector, x86::kDebug);
  EXPECT_EQ(test.interpreter.debug_exit().dr6 & 0xf, 4U);
}

TEST(InterpreterTest, KickAndInterruptWindow) {
  TestCpu test(Mode::kLong64);
  test.cpu.kicked = true;
  test.cpu.attention.request();
  EXPECT_EQ(test.run({0xeb, 0xfe}, 1000), StopReason::kKick);
  test.cpu.irq_window_wanted = true;
  EXPECT_EQ(test.run({kNop, 0xfb, kNop, kNop}, 1000), StopReason::kIrqWindow);  // STI
  EXPECT_EQ(test.cpu.rip, tiny::kCode + 3) << "one instruction behind STI";
}

TEST(InterpreterTest, InjectedInterruptAndNmi) {
  TestCpu test(Mode::kLong64);
  test.catch_vector(0x40);
  test.catch_vector(x86::kNmi);
  test.cpu.events.interrupt = {.injected = true, .vector = 0x40, .soft = false};
  test.run({kNop}, 1);
  EXPECT_EQ(test.cpu.rip, tiny::kHandler);
  test.start(tiny::kCode);
  test.cpu.events.nmi.pending = true;
  test.run({kNop}, 1);
  EXPECT_TRUE(test.cpu.events.nmi.masked);
  test.cpu.events.nmi.pending = true;
  test.start(tiny::kCode);
  test.cpu.events.nmi = {.injected = false, .pending = true, .masked = true};
  test.resume(1);
  EXPECT_EQ(test.cpu.rip, tiny::kCode + 1) << "masked until IRET";
}

TEST(InterpreterTest, LoadThatLeavesIsExecutedOnce) {
  TestCpu test(Mode::kLong64);
  test.cpu.gpr[x86::kRbx] = TestCpu::kMemorySize;
  EXPECT_EQ(test.run({0x03, 0x03, kHlt}, 10), StopReason::kBus);  // add eax, [rbx]
  EXPECT_EQ(test.cpu.bus.pending().address, TestCpu::kMemorySize);
  EXPECT_EQ(test.cpu.bus.pending().size, 4);
  EXPECT_EQ(test.cpu.rip, tiny::kCode);
  test.cpu.bus.pending().value = 5;
  test.cpu.bus.answered();
  EXPECT_EQ(test.interpreter.finish_instruction(), StopReason::kNone);
  EXPECT_EQ(test.cpu.gpr[x86::kRax], 5U);
  EXPECT_EQ(test.cpu.rip, tiny::kCode + 2);
}

}  // namespace
}  // namespace doppel::accel::soft
