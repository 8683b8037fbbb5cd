// String instructions in translated code, against the interpreter.
#include <gtest/gtest.h>

#include "accel/soft/translator/translator_rig.h"

namespace doppel::accel::soft {
namespace {

using namespace translator_rig;

constexpr std::uint64_t kPage = 0x1000;

/// Flags that an instruction leaves, and what registers have become, are summed up in EBX.
class StringsTest : public TranslatorTest, public testing::WithParamInterface<tiny::Mode> {
 protected:
  StringsTest() : TranslatorTest(GetParam()) {}
  [[nodiscard]] bool is_long() const { return GetParam() == tiny::Mode::kLong64; }

  /// CODE, 40 times with RSI, RDI, RCX and RAX set anew.
  void repeat(const Code& code, std::uint32_t source, std::uint32_t destination, std::uint32_t count,
              std::uint32_t accumulator = 0) {
    Code all = {0xbd, 40, 0, 0, 0};
    const std::size_t loop = all.size();
    const auto add = [&](const Code& bytes) { all.insert(all.end(), bytes.begin(), bytes.end()); };
    const auto add_word = [&](std::uint32_t value) {
      for (unsigned i = 0; i < 4; ++i) all.push_back(static_cast<std::uint8_t>(value >> (8 * i)));
    };
    const auto set = [&](std::uint8_t opcode, std::uint32_t value) {
      all.push_back(opcode);
      add_word(value);
    };
    set(0xbe, source);
    set(0xbf, destination);
    set(0xb9, count);
    set(0xb8, accumulator);
    add({0x39, 0xe8});  // cmp eax, ebp: flags that are in use
    add(code);
    // adc ebx, eax; add ebx, ecx; add ebx, esi; add ebx, edi; rol ebx, 3; sub ebp, 1; jnz L; hlt
    add({0x11, 0xc3, 0x01, 0xcb, 0x01, 0xf3, 0x01, 0xfb, 0xc1, 0xc3, 0x03, 0x83, 0xed, 0x01, 0x0f, 0x85});
    add_word(static_cast<std::uint32_t>(loop) - static_cast<std::uint32_t>(all.size() + 4));
    add({kHlt});
    pair.run(all);
  }
  void fill(std::uint64_t begin, std::uint64_t end, std::uint8_t value) {
    for (std::uint64_t at = begin; at < end; ++at) pair.poke<std::uint8_t>(at, value);
  }
  [[nodiscard]] std::uint32_t reg(Gpr number) { return static_cast<std::uint32_t>(pair.cpu().gpr.at(number)); }
};

TEST_P(StringsTest, ScansOverPagesForAByte) {
  fill(kDataPage, kDataPage + 3 * kPage, 0x20);
  pair.poke<std::uint8_t>(kDataPage + 2 * kPage + 5, 0);
  repeat({0xf2, 0xae}, 1, kDataPage + 7, ~std::uint32_t{0});  // repne scasb
  EXPECT_EQ(reg(kRdi), kDataPage + 2 * kPage + 6);
  EXPECT_EQ(reg(kRcx), ~std::uint32_t{0} - (2 * kPage - 1));
  EXPECT_LT(pair.statistics().interpreted, 20U);
}

TEST_P(StringsTest, ComparesOverPages) {
  fill(kDataPage, kDataPage + 8 * kPage, 0x5a);
  pair.poke<std::uint8_t>(kDataPage + 4 * kPage + 0x1233, 0x5b);
  repeat({0xf3, 0xa6}, kDataPage + 0x333, kDataPage + 4 * kPage + 0x123, 5000);  // repe cmpsb
  EXPECT_EQ(reg(kRdi), kDataPage + 4 * kPage + 0x1234);
  EXPECT_EQ(reg(kRsi), kDataPage + 0x1444);
  EXPECT_LT(pair.statistics().interpreted, 20U);
}

TEST_P(StringsTest, ComparesToTheEnd) {
  fill(kDataPage, kDataPage + 8 * kPage, 0x5a);
  repeat({0xf3, 0xa7}, kDataPage, kDataPage + 4 * kPage, 2 * kPage / 4);  // repe cmpsd
  EXPECT_EQ(reg(kRcx), 0U);
  EXPECT_EQ(reg(kRsi), kDataPage + 2 * kPage);
  EXPECT_LT(pair.statistics().interpreted, 20U);
}

TEST_P(StringsTest, LeavesFlagsAloneWhereThereIsNothingToCompare) {
  repeat({0xf3, 0xa6, 0xf2, 0xaf, 0xf3, 0xa4}, 3, 5, 0);  // repe cmpsb; repne scasd; rep movsb
  EXPECT_EQ(reg(kRdi), 5U);
  EXPECT_LT(pair.statistics().interpreted, 20U);
}

TEST_P(StringsTest, ComparesAndLoadsSingleElements) {
  fill(kDataPage, kDataPage + kPage, 0x5a);
  // cmpsb; setc dl; add ebx, edx; scasw; sete dl; add ebx, edx; lodsd; lodsb
  repeat({0xa6, 0x0f, 0x92, 0xc2, 0x01, 0xd3, 0x66, 0xaf, 0x0f, 0x94, 0xc2, 0x01, 0xd3, 0xad, 0xac}, kDataPage,
         kDataPage + 0x80, 9, 0x5a5a);
  EXPECT_EQ(reg(kRax), 0x5a5a5a5aU);
  EXPECT_LT(pair.statistics().interpreted, 20U);
}

TEST_P(StringsTest, LoadsRepeatedly) {
  pair.poke<std::uint16_t>(kDataPage + 2 * kPage - 2, 0x1234);
  repeat({0xf3, 0x66, 0xad}, kDataPage, 1, kPage, 0xabcd'0000);  // rep lodsw
  EXPECT_EQ(reg(kRax), 0xabcd'1234U);
  EXPECT_LT(pair.statistics().interpreted, 20U);
}

TEST_P(StringsTest, MovesAndStoresOverPagesWithFlagsInUse) {
  for (std::uint32_t at = 0; at < 4 * kPage; at += 4) pair.poke(kDataPage + at, at * 0x9e3779b9U);
  repeat({0xf3, 0xa4}, kDataPage + 5, kDataPage + 5 * kPage + 77, 3 * kPage);  // rep movsb
  EXPECT_LT(pair.statistics().interpreted, 30U);
  repeat({0xf3, 0xab}, 1, kDataPage + 0x40, 2 * kPage / 4, 0x77665544);  // rep stosd
  EXPECT_LT(pair.statistics().interpreted, 40U);
}

TEST_P(StringsTest, FaultsInTheMiddle) {
  // The pages end where the guest's tables do: what lies behind is MMIO or nothing.
  const std::uint32_t far = is_long() ? 0x3fff'f000 : 0xffff'f000;
  repeat({0xf3, 0xa6}, kDataPage, far, 2 * kPage);
  repeat({0xf2, 0xae}, 0, far, 2 * kPage, 0x55);
}

TEST_P(StringsTest, LeavesElementsAcrossPagesAndBackwardOnesToTheInterpreter) {
  fill(kDataPage, kDataPage + 4 * kPage, 0x11);
  repeat({0xf3, 0xa7}, kDataPage + 2, kDataPage + kPage + 1, 2000);         // repe cmpsd
  repeat({0xfd, 0xf2, 0xae, 0xfc}, 0, kDataPage + 2 * kPage + 9, 6000, 0);  // std; repne scasb; cld
  EXPECT_EQ(reg(kRdi), kDataPage + 2 * kPage + 9 - 6000);
}

INSTANTIATE_TEST_SUITE_P(Modes, StringsTest, testing::Values(tiny::Mode::kLong64, tiny::Mode::kProtected32),
                         [](const auto& parameter) {
                           return parameter.param == tiny::Mode::kLong64 ? "Long64" : "Protected32";
                         });

}  // namespace
}  // namespace doppel::accel::soft
