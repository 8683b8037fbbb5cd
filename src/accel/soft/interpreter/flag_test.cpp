#include <gtest/gtest.h>

#include "accel/soft/interpreter/test_fault.h"

namespace doppel::accel::soft {
namespace {

using tiny::Mode;
using namespace x86;

constexpr std::uint8_t kCli = 0xfa, kSti = 0xfb;

TEST(FlagTest, DirectionAndCarry) {
  TestCpu test(Mode::kLong64);
  const std::uint64_t flags = test.cpu.rflags;
  ASSERT_EQ(test.run({0xfd, 0xf9, 0xf5, 0xf5}, 4), StopReason::kBudget);  // std; stc; cmc; cmc
  EXPECT_EQ(test.cpu.rflags, flags | rflags::kDf | rflags::kCf);
  ASSERT_EQ(test.run({0xfc, 0xf8}, 2), StopReason::kBudget);  // cld; clc
  EXPECT_EQ(test.cpu.rflags, flags);
}

TEST(FlagTest, AhHasFiveFlags) {
  TestCpu test(Mode::kProtected32);
  test.cpu.gpr[kRax] = 0xff00;
  test.cpu.rflags |= rflags::kOf;
  const std::uint64_t flags = test.cpu.rflags;
  ASSERT_EQ(test.run({0x9e}), StopReason::kBudget);  // sahf
  EXPECT_EQ(test.cpu.rflags, flags | (rflags::kArithmetic & 0xff));
  ASSERT_EQ(test.run({0x9f}), StopReason::kBudget);  // lahf
  EXPECT_EQ(test.cpu.gpr[kRax], 0xd700U);
}

TEST(FlagTest, Salc) {
  TestCpu test(Mode::kProtected32);
  test.cpu.gpr[kRax] = 0x1234;
  test.cpu.rflags |= rflags::kCf;
  ASSERT_EQ(test.run({0xd6}), StopReason::kBudget);
  EXPECT_EQ(test.cpu.gpr[kRax], 0x12ffU);
}

TEST(InterruptFlagTest, StiShadowsOneInstructionAndOnlyIfItWasOff) {
  TestCpu test(Mode::kLong64);
  ASSERT_EQ(test.run({kSti, kSti, 0x90}), StopReason::kBudget);
  EXPECT_TRUE(test.cpu.flag(rflags::kIf));
  EXPECT_TRUE(test.cpu.events.sti_shadow);
  ASSERT_EQ(test.resume(), StopReason::kBudget);
  EXPECT_FALSE(test.cpu.events.sti_shadow) << "a second STI prolongs nothing";
  ASSERT_EQ(test.run({kCli}), StopReason::kBudget);
  EXPECT_FALSE(test.cpu.flag(rflags::kIf));
}

TEST(InterruptFlagTest, NeedsIopl) {
  for (const std::uint8_t opcode : {kCli, kSti}) {
    TestCpu test(Mode::kUser64);  // IOPL 3
    ASSERT_EQ(test.run({opcode}), StopReason::kBudget);
    EXPECT_EQ(test.cpu.flag(rflags::kIf), opcode == kSti);
    test.start(tiny::kCode);
    test.cpu.rflags &= ~rflags::kIopl;
    EXPECT_TRUE(raises(test, kGeneralProtection, {opcode}));
  }
}

TEST(InterruptFlagTest, ProtectedModeVirtualInterrupts) {
  TestCpu test(Mode::kUser64);
  test.cpu.cr4 |= cr4::kPvi;
  test.cpu.rflags = (test.cpu.rflags & ~rflags::kIopl) | rflags::kIf;
  ASSERT_EQ(test.run({kSti}), StopReason::kBudget);
  EXPECT_TRUE(test.cpu.flag(rflags::kVif));
  EXPECT_FALSE(test.cpu.events.sti_shadow);
  ASSERT_EQ(test.run({kCli}), StopReason::kBudget);
  EXPECT_FALSE(test.cpu.flag(rflags::kVif));
  EXPECT_TRUE(test.cpu.flag(rflags::kIf)) << "the real one stays";
  test.cpu.rflags |= rflags::kVip;
  EXPECT_TRUE(raises(test, kGeneralProtection, {kSti}));
}

TEST(InterruptFlagTest, Vm86) {
  TestCpu test(Mode::kProtected32);
  enter_vm86(test, 3);
  ASSERT_EQ(test.run({kSti}), StopReason::kBudget);
  EXPECT_TRUE(test.cpu.flag(rflags::kIf));
  test.start(tiny::kCode);
  enter_vm86(test, 0);
  EXPECT_TRUE(raises(test, kGeneralProtection, {kCli}));
  test.start(tiny::kCode);
  enter_vm86(test, 0);
  test.cpu.cr4 |= cr4::kVme;
  ASSERT_EQ(test.run({kSti}), StopReason::kBudget);
  EXPECT_TRUE(test.cpu.flag(rflags::kVif));
  EXPECT_FALSE(test.cpu.flag(rflags::kIf));
}

}  // namespace
}  // namespace doppel::accel::soft
