#include <gtest/gtest.h>

#include "accel/soft/interpreter/condition.h"
#include "accel/soft/interpreter/test_fault.h"

namespace doppel::accel::soft {
namespace {

using tiny::Mode;
using namespace x86;

constexpr std::uint64_t kTop = tiny::kStackTop;

TEST(ConditionTest, FollowsTheFlags) {
  constexpr auto kOf = rflags::kOf, kSf = rflags::kSf, kCf = rflags::kCf, kZf = rflags::kZf, kPf = rflags::kPf;
  static_assert(holds<0x0>(kOf) && !holds<0x1>(kOf));
  static_assert(holds<0x2>(kCf) && holds<0x3>(0));
  static_assert(holds<0x4>(kZf) && holds<0x5>(kPf));
  static_assert(holds<0x6>(kCf) && holds<0x6>(kZf) && holds<0x7>(kSf));
  static_assert(holds<0x8>(kSf) && holds<0x9>(kOf));
  static_assert(holds<0xa>(kPf) && holds<0xb>(kSf));
  static_assert(holds<0xc>(kSf) && holds<0xc>(kOf) && holds<0xd>(kSf | kOf) && holds<0xd>(kZf));
  static_assert(holds<0xe>(kZf) && holds<0xe>(kOf | kZf | kSf) && holds<0xf>(kSf | kOf) && !holds<0xf>(kSf));
}

TEST(JumpTest, ConditionalBothWays) {
  TestCpu test(Mode::kLong64);
  test.cpu.rflags |= rflags::kZf;
  ASSERT_EQ(test.run({0x74, 0x10}), StopReason::kBudget);  // jz
  EXPECT_EQ(test.cpu.rip, tiny::kCode + 0x12);
  ASSERT_EQ(test.run({0x0f, 0x85, 0, 1, 0, 0}), StopReason::kBudget);  // jnz
  EXPECT_EQ(test.cpu.rip, tiny::kCode + 0x18);
  ASSERT_EQ(test.run({0x0f, 0x84, 0xe2, 0xff, 0xff, 0xff}), StopReason::kBudget);  // jz back
  EXPECT_EQ(test.cpu.rip, tiny::kCode);
}

TEST(JumpTest, OperandSize16CutsTheTarget) {
  TestCpu test(Mode::kProtected32);
  test.start(0x1'4000);
  ASSERT_EQ(test.run({0x66, 0xeb, 0x02}), StopReason::kBudget);
  EXPECT_EQ(test.cpu.rip, 0x4005U);
}

TEST(JumpTest, OperandSizePrefixMeansNothingIn64BitMode) {
  TestCpu test(Mode::kLong64);
  test.start(0x1'4000);
  ASSERT_EQ(test.run({0x66, 0xe9, 0x02, 0x00, 0x00, 0x00}), StopReason::kBudget);
  EXPECT_EQ(test.cpu.rip, 0x1'4008U);
}

TEST(JumpTest, WrapsAt16BitsInRealMode) {
  TestCpu test(Mode::kReal16);
  test.cpu.rip = 0xfff0;
  ASSERT_EQ(test.run({0xeb, 0x20}), StopReason::kBudget);
  EXPECT_EQ(test.cpu.rip, 0x12U);
}

TEST(JumpTest, TargetBeyondTheLimitFaultsInPlace) {
  TestCpu test(Mode::kReal16);
  EXPECT_TRUE(raises(test, kGeneralProtection, {0x66, 0xe9, 0x00, 0x00, 0x01, 0x00}));  // jmp rel32 beyond 64 KiB
  EXPECT_EQ(test.peek<std::uint16_t>(test.cpu.gpr[kRsp]), tiny::kCode);
}

TEST(JumpTest, NonCanonicalTargetFaultsInPlace) {
  TestCpu test(Mode::kLong64);
  test.cpu.gpr[kRax] = 0x8000'0000'0000;
  EXPECT_TRUE(raises(test, kGeneralProtection, {0xff, 0xe0}));  // jmp rax
  EXPECT_EQ(test.peek<std::uint64_t>(test.cpu.gpr[kRsp] + 8), tiny::kCode);
}

TEST(JumpTest, ThroughMemory) {
  TestCpu test(Mode::kLong64);
  test.cpu.gpr[kRax] = tiny::kData;
  test.poke<std::uint64_t>(tiny::kData, 0x5555);
  ASSERT_EQ(test.run({0xff, 0x20}), StopReason::kBudget);
  EXPECT_EQ(test.cpu.rip, 0x5555U);
}

TEST(CallTest, PushesTheReturnAddress) {
  TestCpu test(Mode::kLong64);
  ASSERT_EQ(test.run({0xe8, 0x00, 0x01, 0x00, 0x00}), StopReason::kBudget);
  EXPECT_EQ(test.cpu.rip, tiny::kCode + 0x105);
  EXPECT_EQ(test.cpu.gpr[kRsp], kTop - 8);
  EXPECT_EQ(test.peek<std::uint64_t>(kTop - 8), tiny::kCode + 5);
  ASSERT_EQ(test.run({0xc2, 0x10, 0x80}), StopReason::kBudget);  // ret 0x8010
  EXPECT_EQ(test.cpu.rip, tiny::kCode + 5);
  EXPECT_EQ(test.cpu.gpr[kRsp], kTop + 0x8010) << "the immediate has no sign";
}

TEST(CallTest, ThroughTheStackPointerUsesItsOldValue) {
  TestCpu test(Mode::kLong64);
  test.poke<std::uint64_t>(kTop, 0x5000);
  ASSERT_EQ(test.run({0xff, 0x14, 0x24}), StopReason::kBudget);  // call [rsp]
  EXPECT_EQ(test.cpu.rip, 0x5000U);
}

TEST(CallTest, SixteenBitForms) {
  TestCpu test(Mode::kReal16);
  test.cpu.gpr[kRbx] = 0xffff'5678;
  ASSERT_EQ(test.run({0xff, 0xd3}), StopReason::kBudget);  // call bx
  EXPECT_EQ(test.cpu.rip, 0x5678U);
  EXPECT_EQ(test.peek<std::uint16_t>(kTop - 2), tiny::kCode + 2);
  ASSERT_EQ(test.run({0xc3}), StopReason::kBudget);
  EXPECT_EQ(test.cpu.rip, tiny::kCode + 2);
  EXPECT_EQ(test.cpu.gpr[kRsp], kTop);
}

TEST(CallTest, BadTargetPushesNothing) {
  TestCpu test(Mode::kProtected32);
  test.cpu.segment[kCs].limit = 0xffff;
  test.poke<std::uint32_t>(kTop - 4, 0x77);
  test.cpu.gpr[kRax] = 0x10000;
  EXPECT_TRUE(raises(test, kGeneralProtection, {0xff, 0xd0}));
  EXPECT_EQ(test.peek<std::uint32_t>(kTop - 12), tiny::kCode) << "the exception's frame begins at the old ESP";
}

TEST(RetTest, BadTargetLeavesTheStackPointer) {
  TestCpu test(Mode::kLong64);
  test.poke<std::uint64_t>(kTop, 0x8000'0000'0000);
  EXPECT_TRUE(raises(test, kGeneralProtection, {0xc3}));
  EXPECT_EQ(test.peek<std::uint64_t>(test.cpu.gpr[kRsp] + 8), tiny::kCode);
  EXPECT_EQ(test.peek<std::uint64_t>(test.cpu.gpr[kRsp] + 32), kTop);
}

// --- LOOP, JCXZ ---

TEST(LoopTest, CountsInTheAddressSize) {
  TestCpu test(Mode::kLong64);
  test.cpu.gpr[kRcx] = 0x1'0000'0001;
  ASSERT_EQ(test.run({0xe2, 0x10}), StopReason::kBudget);
  EXPECT_EQ(test.cpu.rip, tiny::kCode + 0x12);
  EXPECT_EQ(test.cpu.gpr[kRcx], 0x1'0000'0000U);
  test.cpu.gpr[kRcx] = 0x1'0000'0001;
  test.cpu.rip = tiny::kCode;
  ASSERT_EQ(test.run({0x67, 0xe2, 0x10}), StopReason::kBudget);
  EXPECT_EQ(test.cpu.rip, tiny::kCode + 3);
  EXPECT_EQ(test.cpu.gpr[kRcx], 0U);
}

TEST(LoopTest, SixteenBitCounterKeepsTheUpperHalf) {
  TestCpu test(Mode::kReal16);
  test.cpu.gpr[kRcx] = 0x1234'0000;
  ASSERT_EQ(test.run({0xe2, 0xfe}), StopReason::kBudget);
  EXPECT_EQ(test.cpu.rip, tiny::kCode);
  EXPECT_EQ(test.cpu.gpr[kRcx], 0x1234'ffffU);
}

TEST(LoopTest, LooksAtZf) {
  TestCpu test(Mode::kProtected32);
  for (const bool zero : {false, true})
    for (const std::uint8_t opcode : std::initializer_list<std::uint8_t>{0xe0, 0xe1}) {  // loopne, loope
      test.start(tiny::kCode);
      test.cpu.gpr[kRcx] = 5;
      if (zero) test.cpu.rflags |= rflags::kZf;
      ASSERT_EQ(test.run({opcode, 0x10}), StopReason::kBudget);
      EXPECT_EQ(test.cpu.rip, tiny::kCode + (zero == (opcode == 0xe1) ? 0x12 : 2));
      EXPECT_EQ(test.cpu.gpr[kRcx], 4U);
    }
}

TEST(LoopTest, AFaultLeavesTheCounter) {
  TestCpu test(Mode::kProtected32);
  test.cpu.segment[kCs].limit = tiny::kHandler + 0x10;
  test.cpu.rip = tiny::kHandler + 0x8;
  test.cpu.gpr[kRcx] = 5;
  EXPECT_TRUE(raises(test, kGeneralProtection, {0xe2, 0x70}));
  EXPECT_EQ(test.cpu.gpr[kRcx], 5U);
}

TEST(JcxzTest, LooksAtTheAddressSize) {
  TestCpu test(Mode::kLong64);
  test.cpu.gpr[kRcx] = 0x1'0000'0000;
  ASSERT_EQ(test.run({0xe3, 0x10}), StopReason::kBudget);  // jrcxz
  EXPECT_EQ(test.cpu.rip, tiny::kCode + 2);
  ASSERT_EQ(test.run({0x67, 0xe3, 0x10}), StopReason::kBudget);  // jecxz
  EXPECT_EQ(test.cpu.rip, tiny::kCode + 2 + 0x13);
}

}  // namespace
}  // namespace doppel::accel::soft
