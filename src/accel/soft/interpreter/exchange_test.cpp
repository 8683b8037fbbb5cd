// Exchanges with memory; their results in general are host_comparison_test's.
#include <gtest/gtest.h>

#include "accel/soft/interpreter/test_fault.h"

namespace doppel::accel::soft {
namespace {

using tiny::Mode;
using namespace x86;

TEST(Cmpxchg8bTest, ExchangesIfEqual) {
  TestCpu test(Mode::kProtected32);
  test.poke<std::uint64_t>(tiny::kData, 0x1111'2222'3333'4444);
  test.cpu.gpr[kRsi] = tiny::kData;
  test.cpu.gpr[kRdx] = 0x1111'2222;
  test.cpu.gpr[kRax] = 0x3333'4444;
  test.cpu.gpr[kRcx] = 0x5555'6666;
  test.cpu.gpr[kRbx] = 0x7777'8888;
  const std::uint64_t flags = test.cpu.rflags | rflags::kCf | rflags::kOf | rflags::kSf;
  test.cpu.rflags = flags;
  ASSERT_EQ(test.run({0xf0, 0x0f, 0xc7, 0x0e}), StopReason::kBudget);
  EXPECT_EQ(test.peek<std::uint64_t>(tiny::kData), 0x5555'6666'7777'8888U);
  EXPECT_EQ(test.cpu.gpr[kRax], 0x3333'4444U);
  EXPECT_EQ(test.cpu.rflags, flags | rflags::kZf) << "no other flag changes";
  ASSERT_EQ(test.run({0x0f, 0xc7, 0x0e}), StopReason::kBudget);
  EXPECT_EQ(test.cpu.gpr[kRdx], 0x5555'6666U);
  EXPECT_EQ(test.cpu.gpr[kRax], 0x7777'8888U);
  EXPECT_EQ(test.cpu.rflags, flags);
}

TEST(Cmpxchg16bTest, ExchangesIfEqual) {
  TestCpu test(Mode::kLong64);
  test.poke<std::uint64_t>(tiny::kData, 1);
  test.poke<std::uint64_t>(tiny::kData + 8, 2);
  test.cpu.gpr[kRsi] = tiny::kData;
  test.cpu.gpr[kRax] = 1;
  test.cpu.gpr[kRdx] = 2;
  test.cpu.gpr[kRbx] = 3;
  test.cpu.gpr[kRcx] = 4;
  ASSERT_EQ(test.run({0xf0, 0x48, 0x0f, 0xc7, 0x0e}), StopReason::kBudget);
  EXPECT_EQ(test.peek<std::uint64_t>(tiny::kData), 3U);
  EXPECT_EQ(test.peek<std::uint64_t>(tiny::kData + 8), 4U);
  EXPECT_TRUE(test.cpu.flag(rflags::kZf));
  ASSERT_EQ(test.run({0x48, 0x0f, 0xc7, 0x0e}), StopReason::kBudget);
  EXPECT_EQ(test.cpu.gpr[kRax], 3U);
  EXPECT_EQ(test.cpu.gpr[kRdx], 4U);
  EXPECT_FALSE(test.cpu.flag(rflags::kZf));
}

TEST(Cmpxchg16bTest, MustBeAligned) {
  TestCpu test(Mode::kLong64);
  test.cpu.gpr[kRsi] = tiny::kData + 8;
  EXPECT_TRUE(raises(test, kGeneralProtection, {0xf0, 0x48, 0x0f, 0xc7, 0x0e}));
}

TEST(CmpxchgTest, WritesToReadOnlyMemoryFaultEvenIfDifferent) {
  TestCpu test(Mode::kProtected32);
  test.cpu.segment[kDs].type = 1;  // read-only
  test.cpu.update_mode();
  test.cpu.gpr[kRsi] = tiny::kData;
  test.cpu.gpr[kRax] = 1;
  EXPECT_TRUE(raises(test, kGeneralProtection, {0x0f, 0xb1, 0x0e}));
  EXPECT_EQ(test.cpu.gpr[kRax], 1U);
}

TEST(ExchangeTest, WorksAcrossAPagesEnd) {
  TestCpu test(Mode::kLong64);
  constexpr std::uint64_t kPlace = tiny::kData + 0xffd;
  test.poke<std::uint64_t>(kPlace, 0x0102'0304'0506'0708);
  test.cpu.gpr[kRsi] = kPlace;
  test.cpu.gpr[kRax] = 0x1122'3344'5566'7788;
  ASSERT_EQ(test.run({0x48, 0x87, 0x06}), StopReason::kBudget);  // xchg [rsi], rax
  EXPECT_EQ(test.cpu.gpr[kRax], 0x0102'0304'0506'0708U);
  EXPECT_EQ(test.peek<std::uint64_t>(kPlace), 0x1122'3344'5566'7788U);
  ASSERT_EQ(test.run({0xf0, 0x48, 0x0f, 0xc1, 0x06}), StopReason::kBudget);  // lock xadd [rsi], rax
  EXPECT_EQ(test.peek<std::uint64_t>(kPlace), 0x1122'3344'5566'7788U + 0x0102'0304'0506'0708U);
}

/// Carry must be as before when the instruction begins anew after its bus accesses.
TEST(ReadModifyWriteTest, OnTheBusFlagsChangeOnce) {
  TestCpu test(Mode::kProtected32);
  test.cpu.gpr[kRsi] = 0xfeb0'0000;
  test.cpu.gpr[kRax] = 0xffff'ffff;
  test.cpu.rflags |= rflags::kCf;
  ASSERT_EQ(test.run({0x11, 0x06}), StopReason::kBus);  // adc [esi], eax
  test.cpu.bus.pending().value = 0;
  test.cpu.bus.answered();
  ASSERT_EQ(test.resume(), StopReason::kBus);
  EXPECT_EQ(test.cpu.bus.pending().direction, IoDirection::kOut);
  EXPECT_EQ(test.cpu.bus.pending().value, 0U);
  test.cpu.bus.answered();
  ASSERT_EQ(test.resume(), StopReason::kBudget);
  EXPECT_TRUE(test.cpu.flag(rflags::kCf));
  EXPECT_TRUE(test.cpu.flag(rflags::kZf));
}

}  // namespace
}  // namespace doppel::accel::soft
