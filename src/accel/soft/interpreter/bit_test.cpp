// Bit strings in memory; the rest is host_comparison_test's.
#include <gtest/gtest.h>

#include "accel/soft/interpreter/test_fault.h"

namespace doppel::accel::soft {
namespace {

using tiny::Mode;
using namespace x86;

TEST(BitStringTest, RegisterIndexReachesBothWaysOutOfTheOperand) {
  TestCpu test(Mode::kLong64);
  test.cpu.gpr[kRbx] = tiny::kData;
  test.cpu.gpr[kRax] = 1000;
  ASSERT_EQ(test.run({0x48, 0x0f, 0xab, 0x03}), StopReason::kBudget);  // bts [rbx], rax
  EXPECT_EQ(test.peek<std::uint64_t>(tiny::kData + 1000 / 64 * 8), std::uint64_t{1} << 1000 % 64);
  EXPECT_FALSE(test.cpu.flag(rflags::kCf));
  test.cpu.gpr[kRax] = 0xffff'ffff;                              // -1
  ASSERT_EQ(test.run({0x0f, 0xab, 0x03}), StopReason::kBudget);  // bts [rbx], eax
  EXPECT_EQ(test.peek<std::uint32_t>(tiny::kData - 4), 0x8000'0000U);
  test.cpu.gpr[kRax] = 0x1234'8000;                                    // -32768
  ASSERT_EQ(test.run({0x66, 0x0f, 0xab, 0x03}), StopReason::kBudget);  // bts [rbx], ax
  EXPECT_EQ(test.peek<std::uint16_t>(tiny::kData - 4096), 1U);
}

TEST(BitStringTest, ImmediateIndexStaysInTheOperand) {
  TestCpu test(Mode::kLong64);
  test.cpu.gpr[kRbx] = tiny::kData;
  ASSERT_EQ(test.run({0x66, 0x0f, 0xba, 0x2b, 0xff}), StopReason::kBudget);  // bts word [rbx], 255
  EXPECT_EQ(test.peek<std::uint32_t>(tiny::kData), 0x8000U);
}

TEST(BitStringTest, LockedFormsWork) {
  TestCpu test(Mode::kLong64);
  test.cpu.gpr[kRbx] = tiny::kData + 1;
  test.cpu.gpr[kRax] = 65;
  ASSERT_EQ(test.run({0xf0, 0x48, 0x0f, 0xab, 0x03}), StopReason::kBudget);  // lock bts [rbx], rax
  EXPECT_EQ(test.peek<std::uint64_t>(tiny::kData + 9), 2U);
  ASSERT_EQ(test.run({0xf0, 0x48, 0x0f, 0xb3, 0x03}), StopReason::kBudget);  // lock btr [rbx], rax
  EXPECT_EQ(test.peek<std::uint64_t>(tiny::kData + 9), 0U);
  EXPECT_TRUE(test.cpu.flag(rflags::kCf));
}

TEST(BitStringTest, AddressWrapsAtTheAddressSize) {
  TestCpu test(Mode::kReal16);
  test.cpu.gpr[kRbx] = 0;
  test.cpu.gpr[kRax] = 0xfff0;  // -16
  test.poke<std::uint16_t>(0xfffe, 1);
  ASSERT_EQ(test.run({0x0f, 0xa3, 0x07}), StopReason::kBudget);  // bt [bx], ax
  EXPECT_TRUE(test.cpu.flag(rflags::kCf));
}

TEST(BitStringTest, LockWithoutAStoreIsUndefined) {
  TestCpu test(Mode::kLong64);
  EXPECT_TRUE(raises(test, kInvalidOpcode, {0xf0, 0x0f, 0xa3, 0x03}));  // lock bt [rbx], eax
}

}  // namespace
}  // namespace doppel::accel::soft
