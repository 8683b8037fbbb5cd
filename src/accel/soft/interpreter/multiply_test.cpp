// Division's limits and decimal adjustment; products are host_comparison_test's.
#include <gtest/gtest.h>

#include "accel/soft/interpreter/test_fault.h"

namespace doppel::accel::soft {
namespace {

using tiny::Mode;
using namespace x86;

struct Division {
  const char* what;
  std::vector<std::uint8_t> code;
  std::uint64_t rax, rdx, rcx;
  bool faults;
  std::uint64_t quotient = 0, remainder = 0;  // RAX and RDX afterwards
};

const std::vector<std::uint8_t> kDiv8 = {0xf6, 0xf1}, kDiv16 = {0x66, 0xf7, 0xf1}, kDiv32 = {0xf7, 0xf1},
                                kDiv64 = {0x48, 0xf7, 0xf1}, kIdiv8 = {0xf6, 0xf9}, kIdiv16 = {0x66, 0xf7, 0xf9},
                                kIdiv32 = {0xf7, 0xf9}, kIdiv64 = {0x48, 0xf7, 0xf9};
constexpr std::uint64_t kMin64 = std::uint64_t{1} << 63U;
constexpr std::uint64_t kMinus1 = ~std::uint64_t{0};

class DivisionTest : public testing::TestWithParam<Division> {};

TEST_P(DivisionTest, DividesOrFaults) {
  const Division& division = GetParam();
  TestCpu test(Mode::kLong64);
  test.cpu.gpr[kRax] = division.rax;
  test.cpu.gpr[kRdx] = division.rdx;
  test.cpu.gpr[kRcx] = division.rcx;
  if (division.faults) {
    ASSERT_TRUE(raises(test, kDivideError, division.code));
    EXPECT_EQ(test.cpu.gpr[kRax], division.rax);
    EXPECT_EQ(test.cpu.gpr[kRdx], division.rdx);
  } else {
    ASSERT_EQ(test.run(division.code), StopReason::kBudget);
    EXPECT_EQ(test.cpu.rip, tiny::kCode + division.code.size());
    EXPECT_EQ(test.cpu.gpr[kRax], division.quotient);
    EXPECT_EQ(test.cpu.gpr[kRdx], division.remainder);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Limits, DivisionTest,
    testing::Values(
        Division{"DivByZero8", kDiv8, 1, 0, 0, true}, Division{"DivByZero64", kDiv64, 1, 0, 0, true},
        Division{"DivLargest8", kDiv8, 0xfeff, 7, 0xff, false, 0xfeff, 7},
        Division{"DivTooLarge8", kDiv8, 0xff00, 7, 0xff, true},
        Division{"DivLargest16", kDiv16, 0xabcd'ffff, 0xfffe, 0xffff, false, 0xabcd'ffff, 0xfffe},
        Division{"DivTooLarge16", kDiv16, 0, 0xffff, 0xffff, true},
        Division{"DivClears32", kDiv32, 0xffff'ffff'0000'0007, 0xffff'ffff'0000'0001, 2, false, 0x8000'0003, 1},
        Division{"DivTooLarge32", kDiv32, 0, 2, 2, true},
        Division{"DivLargest64", kDiv64, kMinus1, kMinus1 - 1, kMinus1, false, kMinus1, kMinus1 - 1},
        Division{"DivTooLarge64", kDiv64, 0, 5, 5, true}, Division{"IdivByZero32", kIdiv32, 1, 0, 0, true},
        Division{"IdivLowest8", kIdiv8, 0xff80, 7, 1, false, 0x0080, 7},
        Division{"IdivBelowLowest8", kIdiv8, 0xff7f, 7, 1, true},
        Division{"IdivRoundsToLowest8", kIdiv8, 0xfeff, 7, 2, false, 0xff80, 7},
        Division{"IdivAboveHighest8", kIdiv8, 0x0080, 7, 1, true},
        Division{"IdivNegated8", kIdiv8, 0x0080, 7, 0xff, false, 0x0080, 7},
        Division{"IdivLowestByMinus1At16", kIdiv16, 0x8000, 0xffff, 0xffff, true},
        Division{"IdivLowestByMinus1At32", kIdiv32, 0x8000'0000, 0xffff'ffff, 0xffff'ffff, true},
        Division{"IdivLowestDividend32", kIdiv32, 0, 0x8000'0000, 0xffff'ffff, true},
        Division{"IdivLowest64", kIdiv64, kMin64, kMinus1, 1, false, kMin64, 0},
        Division{"IdivLowestByMinus1At64", kIdiv64, kMin64, kMinus1, kMinus1, true},
        Division{"IdivLowestDividend64", kIdiv64, 0, kMin64, kMin64, true},
        Division{"IdivToHighest64", kIdiv64, kMin64 - 1, 0x3fff'ffff'ffff'ffff, kMin64 - 1, false, kMin64 - 1,
                 kMin64 - 2},
        Division{"IdivAboveHighest64", kIdiv64, kMin64, 0x3fff'ffff'ffff'ffff, kMin64 - 1, true},
        Division{"IdivRemainderHasDividendsSign", kIdiv64, kMinus1 - 6, kMinus1, 2, false, kMinus1 - 2, kMinus1}),
    [](const auto& instance) { return instance.param.what; });

// In long mode decimal adjustment does not exist.
TEST(DecimalTest, IsUndefinedIn64BitMode) {
  TestCpu test(Mode::kLong64);
  EXPECT_TRUE(raises(test, kInvalidOpcode, {0x27}));
}

struct Decimal {
  const char* what;
  std::vector<std::uint8_t> code;
  std::uint16_t ax;
  std::uint64_t flags;
  std::uint16_t ax_after;
  std::uint64_t flags_after;  // all but OF
};
class DecimalAdjustTest : public testing::TestWithParam<Decimal> {};

TEST_P(DecimalAdjustTest, FollowsTheManual) {
  const Decimal& decimal = GetParam();
  TestCpu test(Mode::kProtected32);
  test.cpu.gpr[kRax] = 0x1234'0000U | decimal.ax;
  test.cpu.rflags |= decimal.flags;
  ASSERT_EQ(test.run(decimal.code), StopReason::kBudget);
  EXPECT_EQ(test.cpu.gpr[kRax], 0x1234'0000U | decimal.ax_after);
  EXPECT_EQ(test.cpu.rflags & rflags::kArithmetic & ~rflags::kOf, decimal.flags_after);
}

constexpr std::uint64_t kCf = rflags::kCf, kAf = rflags::kAf, kPf = rflags::kPf, kZf = rflags::kZf, kSf = rflags::kSf;

INSTANTIATE_TEST_SUITE_P(
    Examples, DecimalAdjustTest,
    testing::Values(Decimal{"DaaCarries", {0x27}, 0x00ae, 0, 0x0014, kCf | kAf | kPf},  // the manual's 79 + 35
                    Decimal{"DaaLeaves", {0x27}, 0x0042, 0, 0x0042, kPf},
                    Decimal{"DaaAdjustsByAf", {0x27}, 0x0012, kAf, 0x0018, kAf | kPf},
                    Decimal{"DaaByCf", {0x27}, 0x0005, kCf, 0x0065, kCf | kPf},
                    Decimal{"DaaToZero", {0x27}, 0x009a, 0, 0x0000, kCf | kAf | kPf | kZf},
                    Decimal{"DasAfter35Minus47", {0x2f}, 0x00ee, kCf | kAf, 0x0088, kCf | kAf | kPf | kSf},
                    Decimal{"DasBorrowsBySix", {0x2f}, 0x0003, kAf, 0x00fd, kCf | kAf | kSf},
                    Decimal{"AaaAdjusts", {0x37}, 0x000b, 0, 0x0101, kCf | kAf},
                    Decimal{"AaaCarriesIntoAh", {0x37}, 0x01fb, 0, 0x0301, kCf | kAf},
                    Decimal{"AaaLeaves", {0x37}, 0x0139, kCf, 0x0109, kPf},
                    Decimal{"AasAdjusts", {0x3f}, 0x020c, 0, 0x0106, kCf | kAf | kPf},
                    Decimal{"AamByTen", {0xd4, 0x0a}, 0xff3f, 0, 0x0603, kPf},
                    Decimal{"AamBySixteen", {0xd4, 0x10}, 0x00a0, kCf, 0x0a00, kPf | kZf},
                    Decimal{"AadByTen", {0xd5, 0x0a}, 0x0603, 0, 0x003f, kPf},
                    Decimal{"AadWraps", {0xd5, 0xff}, 0xff80, 0, 0x0081, kPf | kSf}),
    [](const auto& instance) { return instance.param.what; });

TEST(DecimalTest, AamByZeroIsADivideError) {
  TestCpu test(Mode::kProtected32);
  test.cpu.gpr[kRax] = 0x1234;
  EXPECT_TRUE(raises(test, kDivideError, {0xd4, 0x00}));
  EXPECT_EQ(test.cpu.gpr[kRax], 0x1234U);
}

}  // namespace
}  // namespace doppel::accel::soft
