#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "accel/soft/interpreter/test_fault.h"

namespace doppel::accel::soft {
namespace {

using tiny::Mode;
using namespace x86;

constexpr std::uint64_t kFrom = 0x10'0000;
constexpr std::uint64_t kTo = 0x20'0000;
constexpr std::uint64_t kBus = 0xfeb0'0000;  // no RAM

/// Runs a repeated instruction to its end, however many times it comes back to itself.
void run_to_end(TestCpu& test, const std::vector<std::uint8_t>& code) {
  const std::uint64_t start = test.cpu.rip;
  ASSERT_EQ(test.run(code), StopReason::kBudget);
  for (unsigned n = 0; n < 1'000'000 && test.cpu.rip == start; ++n) ASSERT_EQ(test.resume(), StopReason::kBudget);
  ASSERT_EQ(test.cpu.rip, start + code.size());
}

void fill(TestCpu& test, std::uint64_t place, std::size_t size) {
  auto* const bytes = reinterpret_cast<std::uint8_t*>(test.memory().data() + place);
  for (std::size_t n = 0; n < size; ++n) bytes[n] = static_cast<std::uint8_t>(n * 7 + n / 256);
}

std::vector<std::uint8_t> bytes_at(const TestCpu& test, std::uint64_t place, std::size_t size) {
  const auto* const bytes = reinterpret_cast<const std::uint8_t*>(test.memory().data() + place);
  return {bytes, bytes + size};
}

// --- Single elements ---

TEST(StringTest, ElementsOfAllSizesMovePointersByDf) {
  const std::vector<std::pair<unsigned, std::vector<std::uint8_t>>> sizes = {
      {1, {0xa4}}, {2, {0x66, 0xa5}}, {4, {0xa5}}, {8, {0x48, 0xa5}}};
  for (const auto& [size, code] : sizes)
    for (const bool down : {false, true}) {
      TestCpu test(Mode::kLong64);
      fill(test, kFrom, 16);
      test.cpu.gpr[kRsi] = kFrom;
      test.cpu.gpr[kRdi] = kTo;
      test.cpu.gpr[kRcx] = 7;
      if (down) test.cpu.rflags |= rflags::kDf;
      ASSERT_EQ(test.run(code), StopReason::kBudget);
      EXPECT_EQ(bytes_at(test, kTo, size), bytes_at(test, kFrom, size));
      EXPECT_EQ(test.peek<std::uint8_t>(kTo + size), 0U);
      EXPECT_EQ(test.cpu.gpr[kRsi], down ? kFrom - size : kFrom + size);
      EXPECT_EQ(test.cpu.gpr[kRdi], down ? kTo - size : kTo + size);
      EXPECT_EQ(test.cpu.gpr[kRcx], 7U);
    }
}

TEST(StringTest, SourceTakesASegmentPrefixAndDestinationDoesNot) {
  TestCpu test(Mode::kReal16);
  test.cpu.segment[kFs].base = 0x1000;
  test.cpu.segment[kEs].base = 0x2000;
  test.cpu.update_mode();
  test.poke<std::uint8_t>(0x1800, 0x5a);
  test.cpu.gpr[kRsi] = 0x5555'0800;
  test.cpu.gpr[kRdi] = 0x6666'ffff;
  ASSERT_EQ(test.run({0x64, 0xa4}), StopReason::kBudget);  // movsb es:[di], fs:[si]
  EXPECT_EQ(test.peek<std::uint8_t>(0x2000 + 0xffff), 0x5aU);
  EXPECT_EQ(test.cpu.gpr[kRsi], 0x5555'0801U);
  EXPECT_EQ(test.cpu.gpr[kRdi], 0x6666'0000U) << "16-bit pointers wrap and keep the upper half";
}

TEST(StringTest, LodsAndScas) {
  TestCpu test(Mode::kLong64);
  test.poke<std::uint32_t>(kFrom, 0x8765'4321);
  test.cpu.gpr[kRsi] = kFrom;
  test.cpu.gpr[kRdi] = kFrom;
  test.cpu.gpr[kRax] = ~std::uint64_t{0};
  ASSERT_EQ(test.run({0xad}), StopReason::kBudget);  // lodsd
  EXPECT_EQ(test.cpu.gpr[kRax], 0x8765'4321U);
  ASSERT_EQ(test.run({0xaf}), StopReason::kBudget);  // scasd
  EXPECT_TRUE(test.cpu.flag(rflags::kZf));
  EXPECT_EQ(test.cpu.gpr[kRdi], kFrom + 4);
}

TEST(StringTest, CmpsSubtractsTheDestination) {
  TestCpu test(Mode::kLong64);
  test.poke<std::uint8_t>(kFrom, 1);
  test.poke<std::uint8_t>(kTo, 2);
  test.cpu.gpr[kRsi] = kFrom;
  test.cpu.gpr[kRdi] = kTo;
  ASSERT_EQ(test.run({0xa6}), StopReason::kBudget);
  EXPECT_TRUE(test.cpu.flag(rflags::kCf));
  EXPECT_TRUE(test.cpu.flag(rflags::kSf));
}

// --- Repetition ---

struct Copy {
  const char* what;
  std::uint64_t from, to, elements;
  unsigned size;
  bool down;
};
class RepeatedMoveTest : public testing::TestWithParam<Copy> {};

/// The outcome must be that of moving element after element.
TEST_P(RepeatedMoveTest, EqualsElementByElement) {
  const Copy& copy = GetParam();
  TestCpu test(Mode::kLong64);
  fill(test, kFrom - 0x4000, 0x10000);
  std::vector<std::uint8_t> expected = bytes_at(test, 0, TestCpu::kMemorySize);
  for (std::uint64_t n = 0; n < copy.elements; ++n) {
    const std::uint64_t place = n * copy.size;
    const std::uint64_t from = copy.down ? copy.from - place : copy.from + place;
    const std::uint64_t to = copy.down ? copy.to - place : copy.to + place;
    std::vector<std::uint8_t> element(copy.size);
    std::copy_n(expected.begin() + static_cast<std::ptrdiff_t>(from), copy.size, element.begin());
    std::ranges::copy(element, expected.begin() + static_cast<std::ptrdiff_t>(to));
  }
  test.cpu.gpr[kRsi] = copy.from;
  test.cpu.gpr[kRdi] = copy.to;
  test.cpu.gpr[kRcx] = copy.elements;
  if (copy.down) test.cpu.rflags |= rflags::kDf;
  run_to_end(test, copy.size == 1   ? std::vector<std::uint8_t>{0xf3, 0xa4}
                   : copy.size == 2 ? std::vector<std::uint8_t>{0x66, 0xf3, 0xa5}
                   : copy.size == 4 ? std::vector<std::uint8_t>{0xf3, 0xa5}
                                    : std::vector<std::uint8_t>{0xf3, 0x48, 0xa5});
  const std::uint64_t distance = copy.elements * copy.size;
  EXPECT_EQ(test.cpu.gpr[kRcx], 0U);
  EXPECT_EQ(test.cpu.gpr[kRsi], copy.down ? copy.from - distance : copy.from + distance);
  EXPECT_EQ(test.cpu.gpr[kRdi], copy.down ? copy.to - distance : copy.to + distance);
  // But for the code and what page walks mark.
  EXPECT_TRUE(std::equal(expected.begin() + 0x20000, expected.end(),
                         bytes_at(test, 0, TestCpu::kMemorySize).begin() + 0x20000));
}

INSTANTIATE_TEST_SUITE_P(All, RepeatedMoveTest,
                         testing::Values(Copy{"Nothing", kFrom, kTo, 0, 4, false},
                                         Copy{"Bytes", kFrom + 1, kTo + 3, 10000, 1, false},
                                         Copy{"ElementsAcrossPages", kFrom + 1, kTo + 3, 2000, 8, false},
                                         Copy{"Down", kFrom + 0x2ffd, kTo + 0x2ff9, 2500, 4, true},
                                         Copy{"DownBytes", kFrom + 0x2fff, kTo + 0x2ff9, 9000, 1, true},
                                         Copy{"DownToAPagesStart", kFrom + 0x1ff8, kTo + 0x1ff8, 1024, 8, true},
                                         Copy{"OverlapBehind", kFrom + 5, kFrom, 9000, 1, false},
                                         Copy{"OverlapAheadRepeatsAPattern", kFrom, kFrom + 3, 9000, 1, false},
                                         Copy{"OverlapWithinAnElement", kFrom, kFrom + 3, 1000, 8, false},
                                         Copy{"OverlapDownAhead", kFrom + 0x1000, kFrom + 0x1003, 900, 2, true},
                                         Copy{"OverlapDownBehindRepeats", kFrom + 0x1003, kFrom + 0x1000, 900, 2, true},
                                         Copy{"OntoItself", kFrom, kFrom, 100, 8, false}),
                         [](const auto& instance) { return instance.param.what; });

TEST(RepeatTest, StoresTheAccumulator) {
  for (const std::uint64_t value : {std::uint64_t{0}, std::uint64_t{0x1122'3344'5566'7788}, ~std::uint64_t{0}}) {
    TestCpu test(Mode::kLong64);
    test.cpu.gpr[kRax] = value;
    test.cpu.gpr[kRdi] = kTo + 4;
    test.cpu.gpr[kRcx] = 1500;
    test.poke<std::uint8_t>(kTo + 4 + 12000, 0x77);
    run_to_end(test, {0xf3, 0x48, 0xab});
    for (unsigned n = 0; n < 1500; ++n) ASSERT_EQ(test.peek<std::uint64_t>(kTo + 4 + std::uint64_t{n} * 8), value);
    EXPECT_EQ(test.peek<std::uint8_t>(kTo + 4 + 12000), 0x77U);
    EXPECT_EQ(test.cpu.gpr[kRdi], kTo + 4 + 12000);
  }
}

TEST(RepeatTest, CounterIsAsWideAsAddresses) {
  TestCpu test(Mode::kLong64);
  test.cpu.gpr[kRax] = 0xee;
  test.cpu.gpr[kRdi] = 0xffff'ffff'0000'0000 | kTo;
  test.cpu.gpr[kRcx] = 0xffff'ffff'0000'0003;
  run_to_end(test, {0x67, 0xf3, 0xaa});  // rep stosb [edi]
  EXPECT_EQ(test.peek<std::uint32_t>(kTo), 0x00ee'eeeeU);
  EXPECT_EQ(test.cpu.gpr[kRcx], 0U);
  EXPECT_EQ(test.cpu.gpr[kRdi], kTo + 3);
}

TEST(RepeatTest, RepneMeansRepForMoves) {
  TestCpu test(Mode::kLong64);
  fill(test, kFrom, 16);
  test.cpu.gpr[kRsi] = kFrom;
  test.cpu.gpr[kRdi] = kTo;
  test.cpu.gpr[kRcx] = 9;
  run_to_end(test, {0xf2, 0xa4});
  EXPECT_EQ(bytes_at(test, kTo, 9), bytes_at(test, kFrom, 9));
}

TEST(RepeatTest, ScanStopsAtTheByteSought) {
  TestCpu test(Mode::kLong64);
  fill(test, kFrom, 1);
  test.poke<std::uint8_t>(kFrom + 300, 0xcc);
  test.cpu.gpr[kRax] = 0xcc;
  test.cpu.gpr[kRdi] = kFrom;
  test.cpu.gpr[kRcx] = ~std::uint64_t{0};
  run_to_end(test, {0xf2, 0xae});  // repne scasb
  EXPECT_EQ(test.cpu.gpr[kRdi], kFrom + 301);
  EXPECT_EQ(test.cpu.gpr[kRcx], ~std::uint64_t{0} - 301);
  EXPECT_TRUE(test.cpu.flag(rflags::kZf));
}

TEST(RepeatTest, CompareStopsAtTheFirstDifference) {
  TestCpu test(Mode::kProtected32);
  fill(test, kFrom, 100);
  fill(test, kTo, 100);
  test.poke<std::uint8_t>(kTo + 50, 0);
  test.cpu.gpr[kRsi] = kFrom;
  test.cpu.gpr[kRdi] = kTo;
  test.cpu.gpr[kRcx] = 100;
  run_to_end(test, {0xf3, 0xa6});  // repe cmpsb
  EXPECT_EQ(test.cpu.gpr[kRcx], 49U);
  EXPECT_EQ(test.cpu.gpr[kRsi], kFrom + 51);
  EXPECT_FALSE(test.cpu.flag(rflags::kZf));
}

TEST(RepeatTest, CompareOfNothingLeavesFlags) {
  TestCpu test(Mode::kLong64);
  test.cpu.rflags |= rflags::kCf | rflags::kOf;
  const std::uint64_t flags = test.cpu.rflags;
  run_to_end(test, {0xf3, 0xa6});
  EXPECT_EQ(test.cpu.rflags, flags);
}

// --- In the middle ---

TEST(RepeatTest, AFaultLeavesRegistersAtItsElement) {
  TestCpu test(Mode::kProtected32);
  test.cpu.segment[kEs].limit = kTo + 0x1801;
  test.cpu.update_mode();
  test.cpu.gpr[kRsi] = kFrom;
  test.cpu.gpr[kRdi] = kTo;
  test.cpu.gpr[kRcx] = 0x1000;
  test.catch_vector(kGeneralProtection);
  test.poke<std::uint8_t>(tiny::kHandler, 0xf4);
  ASSERT_EQ(test.run({0xf3, 0xa5}, 100), StopReason::kHalt);
  EXPECT_EQ(test.cpu.gpr[kRdi], kTo + 0x1800);
  EXPECT_EQ(test.cpu.gpr[kRsi], kFrom + 0x1800);
  EXPECT_EQ(test.cpu.gpr[kRcx], 0x1000U - 0x600);
  EXPECT_EQ(test.peek<std::uint32_t>(test.cpu.gpr[kRsp] + 4), tiny::kCode) << "the frame's EIP";
}

TEST(RepeatTest, BusAccessesComeOneByOne) {
  TestCpu test(Mode::kLong64);
  test.cpu.gpr[kRsi] = kBus;
  test.cpu.gpr[kRdi] = kTo;
  test.cpu.gpr[kRcx] = 3;
  ASSERT_EQ(test.run({0xf3, 0xa5}), StopReason::kBus);
  for (std::uint64_t n = 0; n < 3; ++n) {
    EXPECT_EQ(test.cpu.bus.pending().address, kBus + 4 * n);
    EXPECT_EQ(test.cpu.gpr[kRcx], 3 - n);
    EXPECT_EQ(test.cpu.rip, tiny::kCode);
    test.cpu.bus.pending().value = 0x100 + n;
    test.cpu.bus.answered();
    const StopReason reason = test.resume(2);
    ASSERT_EQ(reason, n < 2 ? StopReason::kBus : StopReason::kBudget);
    EXPECT_EQ(test.peek<std::uint32_t>(kTo + 4 * n), 0x100 + n);
  }
  EXPECT_EQ(test.cpu.gpr[kRcx], 0U);
}

TEST(RepeatTest, BusToBus) {
  TestCpu test(Mode::kLong64);
  test.cpu.gpr[kRsi] = kBus;
  test.cpu.gpr[kRdi] = kBus + 0x1000;
  test.cpu.gpr[kRcx] = 1;
  ASSERT_EQ(test.run({0xf3, 0xa4}), StopReason::kBus);
  test.cpu.bus.pending().value = 0x5a;
  test.cpu.bus.answered();
  ASSERT_EQ(test.resume(), StopReason::kBus);
  EXPECT_EQ(test.cpu.bus.pending().direction, IoDirection::kOut);
  EXPECT_EQ(test.cpu.bus.pending().address, kBus + 0x1000);
  EXPECT_EQ(test.cpu.bus.pending().value, 0x5aU);
  test.cpu.bus.answered();
  ASSERT_EQ(test.resume(), StopReason::kBudget);
  EXPECT_EQ(test.cpu.rip, tiny::kCode + 2);
}

TEST(RepeatTest, SingleStepsAreElements) {
  TestCpu test(Mode::kLong64);
  test.catch_vector(kDebug);
  test.poke<std::uint8_t>(tiny::kHandler, 0xf4);
  test.cpu.gpr[kRdi] = kTo;
  test.cpu.gpr[kRcx] = 3;
  test.cpu.rflags |= rflags::kTf;
  ASSERT_EQ(test.run({0xf3, 0xaa}, 2), StopReason::kHalt);
  EXPECT_EQ(test.cpu.gpr[kRcx], 2U);
  EXPECT_EQ(test.peek<std::uint64_t>(test.cpu.gpr[kRsp]), tiny::kCode) << "the instruction goes on afterwards";
}

TEST(RepeatTest, ComesBackForInterruptsNowAndThen) {
  TestCpu test(Mode::kLong64);
  test.cpu.gpr[kRdi] = kTo;
  test.cpu.gpr[kRsi] = kFrom;
  test.cpu.gpr[kRcx] = 0x8'0000;
  ASSERT_EQ(test.run({0xf3, 0xa4}), StopReason::kBudget);
  EXPECT_EQ(test.cpu.rip, tiny::kCode);
  EXPECT_GT(test.cpu.gpr[kRcx], 0U);
  EXPECT_LT(test.cpu.gpr[kRcx], 0x8'0000U);
}

TEST(RepeatTest, SegmentLimitBoundsRuns) {
  TestCpu test(Mode::kReal16);
  test.cpu.gpr[kRdi] = 0xfffc;
  test.cpu.gpr[kRcx] = 4;
  test.cpu.gpr[kRax] = 0xaa;
  run_to_end(test, {0xf3, 0xaa});  // rep stosb up to the segment's last byte
  EXPECT_EQ(test.peek<std::uint32_t>(0xfffc), 0xaaaa'aaaaU);
  EXPECT_NE(test.peek<std::uint8_t>(0x10000), 0xaaU);
  EXPECT_EQ(test.cpu.gpr[kRdi], 0U);
  test.cpu.gpr[kRdi] = 0xfffe;
  test.cpu.gpr[kRcx] = 4;
  run_to_end(test, {0xf3, 0xaa});  // and around
  EXPECT_NE(test.peek<std::uint8_t>(0x10000), 0xaaU);
  EXPECT_EQ(test.peek<std::uint16_t>(0), 0xaaaaU);
}

TEST(RepeatTest, CodeThatWritesOverItselfIsSeen) {
  TestCpu test(Mode::kLong64);
  // rep stosb over the NOP behind it
  test.cpu.gpr[kRdi] = tiny::kCode + 2;
  test.cpu.gpr[kRcx] = 1;
  test.cpu.gpr[kRax] = 0xf4;  // hlt
  ASSERT_EQ(test.run({0xf3, 0xaa, 0x90, 0x90}, 2), StopReason::kHalt);
  EXPECT_EQ(test.cpu.rip, tiny::kCode + 3);
}

}  // namespace
}  // namespace doppel::accel::soft
