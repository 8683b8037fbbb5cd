// What data transfer does besides moving: addresses, widths, faults.
#include <gtest/gtest.h>

#include "accel/soft/interpreter/test_fault.h"

namespace doppel::accel::soft {
namespace {

using tiny::Mode;
using namespace x86;

TEST(MovTest, MoffsHas64BitsOfAddress) {
  TestCpu test(Mode::kLong64);
  test.poke<std::uint32_t>(tiny::kData, 0x1234'5678);
  ASSERT_EQ(test.run({0xa1, 0x00, 0x80, 0, 0, 0, 0, 0, 0}), StopReason::kBudget);
  EXPECT_EQ(test.cpu.gpr[kRax], 0x1234'5678U);
  EXPECT_TRUE(raises(test, kGeneralProtection, {0x48, 0xa3, 0x00, 0x80, 0, 0, 0, 0, 0, 0x80}));
}

TEST(MovTest, MoffsHas32BitsOfAddressWithThePrefix) {
  TestCpu test(Mode::kLong64);
  test.cpu.gpr[kRax] = 0x42;
  ASSERT_EQ(test.run({0x67, 0xa2, 0x04, 0x80, 0x00, 0x00}), StopReason::kBudget);
  EXPECT_EQ(test.peek<std::uint8_t>(tiny::kData + 4), 0x42U);
}

TEST(MovTest, RipRelativeIsFromTheNextInstruction) {
  TestCpu test(Mode::kLong64);
  // mov dword [rip + disp], imm32: the immediate lies between
  ASSERT_EQ(test.run({0xc7, 0x05, 0xf6, 0x3f, 0x00, 0x00, 1, 2, 3, 4}), StopReason::kBudget);
  EXPECT_EQ(test.peek<std::uint32_t>(tiny::kData), 0x0403'0201U);
}

TEST(MovTest, AddressesWrapAtTheirSize) {
  TestCpu test(Mode::kLong64);
  test.cpu.gpr[kRbx] = 0xffff'ffff'0000'0000 | tiny::kData;
  test.cpu.gpr[kRcx] = 0x77;
  ASSERT_EQ(test.run({0x67, 0x88, 0x0b}), StopReason::kBudget);  // mov [ebx], cl
  EXPECT_EQ(test.peek<std::uint8_t>(tiny::kData), 0x77U);
}

TEST(MovTest, SegmentLimitsHold) {
  TestCpu test(Mode::kReal16);
  test.cpu.gpr[kRbx] = 0xffff;
  test.poke<std::uint8_t>(0xffff, 0x99);
  ASSERT_EQ(test.run({0x8a, 0x07}), StopReason::kBudget);  // mov al, [bx]
  EXPECT_EQ(test.cpu.gpr[kRax] & 0xff, 0x99U);
  EXPECT_TRUE(raises(test, kGeneralProtection, {0x8b, 0x07}));  // mov ax, [bx]
}

TEST(MovTest, StackSegmentFaultsAreItsOwn) {
  TestCpu test(Mode::kReal16);
  test.cpu.gpr[kRbp] = 0xffff;
  EXPECT_TRUE(raises(test, kStackFault, {0x8b, 0x46, 0x00}));  // mov ax, [bp]
}

TEST(MovTest, NonCanonicalAddressIsAGeneralProtection) {
  TestCpu test(Mode::kLong64);
  test.cpu.gpr[kRbx] = 0x8000'0000'0000;
  EXPECT_TRUE(raises(test, kGeneralProtection, {0x8a, 0x03}));
}

TEST(CmovTest, ReadsMemoryWhateverTheCondition) {
  TestCpu test(Mode::kLong64);
  test.cpu.gpr[kRbx] = 0x8000'0000'0000;
  test.cpu.rflags &= ~rflags::kZf;
  EXPECT_TRUE(raises(test, kGeneralProtection, {0x0f, 0x44, 0x03}));  // cmovz eax, [rbx]
}

TEST(MovbeTest, SwapsBytes) {
  TestCpu test(Mode::kLong64);
  test.cpu.gpr[kRbx] = tiny::kData;
  test.cpu.gpr[kRax] = 0x1122'3344'5566'7788;
  ASSERT_EQ(test.run({0x48, 0x0f, 0x38, 0xf1, 0x03}), StopReason::kBudget);  // movbe [rbx], rax
  EXPECT_EQ(test.peek<std::uint64_t>(tiny::kData), 0x8877'6655'4433'2211U);
  ASSERT_EQ(test.run({0x0f, 0x38, 0xf0, 0x0b}), StopReason::kBudget);  // movbe ecx, [rbx]
  EXPECT_EQ(test.cpu.gpr[kRcx], 0x1122'3344U);
}

TEST(XlatTest, LooksUpAndTakesASegmentPrefix) {
  TestCpu test(Mode::kReal16);
  test.cpu.gpr[kRbx] = 0xfff0;
  test.cpu.gpr[kRax] = 0x5520;
  test.poke<std::uint8_t>(0x10, 0xab);
  ASSERT_EQ(test.run({0xd7}), StopReason::kBudget);
  EXPECT_EQ(test.cpu.gpr[kRax], 0x55abU) << "the offset wraps at 16 bits";
  test.cpu.segment[kEs].base = 0x1000;
  test.cpu.update_mode();
  test.cpu.gpr[kRbx] = 0;
  test.cpu.gpr[kRax] = 0x20;
  test.poke<std::uint8_t>(0x1020, 0xcd);
  ASSERT_EQ(test.run({0x26, 0xd7}), StopReason::kBudget);
  EXPECT_EQ(test.cpu.gpr[kRax], 0xcdU);
}

TEST(NopTest, HintsTouchNoMemory) {
  TestCpu test(Mode::kLong64);
  test.cpu.gpr[kRbx] = 0x8000'0000'0000;
  for (const std::vector<std::uint8_t>& code :
       {std::vector<std::uint8_t>{0x0f, 0x18, 0x0b}, {0x0f, 0x0d, 0x0b}, {0x0f, 0x1f, 0x03}, {0x0f, 0x1e, 0x03}}) {
    const std::uint64_t next = test.cpu.rip + code.size();
    ASSERT_EQ(test.run(code), StopReason::kBudget);
    EXPECT_EQ(test.cpu.rip, next);
  }
}

TEST(NopTest, ShadowStackReadsAreHintsWithoutShadowStacks) {
  TestCpu test(Mode::kLong64, x86::FeatureSet{});
  test.cpu.gpr[kRax] = 5;
  test.run({0xf3, 0x48, 0x0f, 0x1e, 0xc8});  // rdsspq rax
  EXPECT_EQ(test.cpu.rip, tiny::kCode + 5);
  EXPECT_EQ(test.cpu.gpr[kRax], 5U);
}

}  // namespace
}  // namespace doppel::accel::soft
