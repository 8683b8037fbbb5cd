// Bit strings and scans in translated code, against the interpreter.
#include <gtest/gtest.h>

#include <array>
#include <span>

#include "accel/soft/translator/translator_rig.h"

namespace doppel::accel::soft {
namespace {

using namespace translator_rig;

// BT, BTS, BTR, BTC, behind 0F.
constexpr std::array<std::uint8_t, 4> kBitOperations = {0xa3, 0xab, 0xb3, 0xbb};

class BitsTest : public TranslatorTest, public testing::WithParamInterface<tiny::Mode> {
 protected:
  BitsTest() : TranslatorTest(GetParam()) {
    for (std::uint32_t at = 0; at < 0x2000; at += 4) pair.poke(kDataPage + at, (at + 1) * 0x9e3779b9U);
    pair.set_gpr(kRbx, kDataPage + 0x800);
  }
  [[nodiscard]] bool is_long() const { return GetParam() == tiny::Mode::kLong64; }

  /// CODE for many bit numbers in EAX, from -STEP * 50 on. What CF and ZF have become is summed up in ESI.
  void repeat(const Code& code, std::uint32_t step) {
    Code all = {0xb9, 100, 0, 0, 0, 0xb8};  // mov ecx, 100; mov eax, ...
    const auto add = [&](const Code& bytes) { all.insert(all.end(), bytes.begin(), bytes.end()); };
    const auto add_word = [&](std::uint32_t value) {
      for (unsigned i = 0; i < 4; ++i) all.push_back(static_cast<std::uint8_t>(value >> (8 * i)));
    };
    add_word(0 - step * 50);
    const std::size_t loop = all.size();
    if (is_long()) add({0x48, 0x98});  // cdqe
    add({0xf6, 0xc1, 0x01});           // test cl, 1: ZF is in use
    add(code);
    // setz dl; adc esi, esi; movzx edx, dl; xor esi, edx; rol esi, 5; add eax, step; dec ecx; jnz L; hlt
    add({0x0f, 0x94, 0xc2, 0x11, 0xf6, 0x0f, 0xb6, 0xd2, 0x31, 0xd6, 0xc1, 0xc6, 0x05, 0x05});
    add_word(step);
    add({0x83, 0xe9, 0x01, 0x0f, 0x85});
    add_word(static_cast<std::uint32_t>(loop) - static_cast<std::uint32_t>(all.size() + 4));
    add({kHlt});
    pair.run(all);
  }
};

TEST_P(BitsTest, CountsFromTheOperandForwardsAndBackwards) {
  for (const std::uint8_t opcode : kBitOperations) {  // [rbx + 8], eax
    repeat({0x0f, opcode, 0x43, 0x08}, 37);
    repeat({0x66, 0x0f, opcode, 0x43, 0x08}, 37);
  }
  EXPECT_LT(pair.statistics().interpreted, 40U);
}

TEST_P(BitsTest, CountsWith64BitNumbers) {
  if (!is_long()) GTEST_SKIP() << "skipped: 32-bit code has no such operands";
  for (const std::uint8_t opcode : kBitOperations) repeat({0x48, 0x0f, opcode, 0x43, 0x08}, 131);
  EXPECT_LT(pair.statistics().interpreted, 20U);
}

TEST_P(BitsTest, Locked) {
  for (const std::uint8_t opcode : std::span(kBitOperations).subspan(1)) repeat({0xf0, 0x0f, opcode, 0x03}, 37);
  EXPECT_LT(pair.statistics().interpreted, 20U);
}

TEST_P(BitsTest, KeepsRegistersThatLiveInMemory) {
  if (!is_long()) GTEST_SKIP() << "skipped: 32-bit code has no such registers";
  pair.set_gpr(kR13, kDataPage + 0x900);
  pair.set_gpr(kR11, 8);
  repeat({0x49, 0x89, 0xc2, 0x4f, 0x0f, 0xab, 0x54, 0x1d, 0x10}, 37);  // mov r10, rax; bts [r13 + r11 + 0x10], r10
  pair.set_gpr(kR10, kDataPage + 0x900);
  repeat({0x49, 0x89, 0xc3, 0x4d, 0x0f, 0xbb, 0x1a}, 37);        // mov r11, rax; btc [r10], r11
  repeat({0x49, 0x89, 0xc2, 0xf0, 0x4c, 0x0f, 0xb3, 0x13}, 37);  // mov r10, rax; lock btr [rbx], r10
  repeat({0x4c, 0x0f, 0xa3, 0x1b}, 37);                          // bt [rbx], r11
  EXPECT_LT(pair.statistics().interpreted, 20U);
}

TEST_P(BitsTest, CutsAddresses) {
  pair.set_gpr(kRbx, 0xffff'fff0);
  // With 32-bit addresses the string goes on at the other end.
  repeat({0x67, 0x0f, 0xa3, 0x83, 0x10, 0, 0x10, 0}, is_long() ? 37 : 1);
}

TEST_P(BitsTest, ReachesDevicesAndPagesOfNothing) {
  pair.poke<std::uint32_t>(kDataPage + 0xffc, 0);
  repeat({0x0f, 0xab, 0x83, 0xfe, 0x07, 0, 0}, 8);  // bts [rbx + 0x7fe], eax, across two pages
  pair.set_gpr(kRbx, 0x3fff'ffff);
  repeat({0x0f, 0xab, 0x03}, 32);
}

/// Where the guest's processor has no TZCNT and no LZCNT, a prefix means nothing to BSF and BSR.
TEST_P(BitsTest, ScansWithPrefixesOnOldProcessors) {
  for (TestCpu* test : pair.both()) {
    test->cpu.features.set({x86::FeatureWord::k7Ebx, 1U << 3U}, false);         // BMI1
    test->cpu.features.set({x86::FeatureWord::k80000001Ecx, 1U << 5U}, false);  // LZCNT
    test->interpreter.forget_code();
  }
  repeat({0xf3, 0x0f, 0xbc, 0xd0, 0x01, 0xd6, 0xf3, 0x0f, 0xbd, 0xd0}, 1);        // bsf, bsr edx, eax
  repeat({0xf2, 0x0f, 0xbc, 0xd0, 0x01, 0xd6, 0x66, 0xf3, 0x0f, 0xbd, 0x13}, 1);  // bsr dx, [rbx]
  if (is_long())
    repeat({0xf3, 0x4c, 0x0f, 0xbd, 0xd8, 0xf3, 0x4c, 0x0f, 0xbc, 0x13}, 1);  // bsr r11, rax; bsf r10, [rbx]
  EXPECT_LT(pair.statistics().interpreted, 20U);
}

INSTANTIATE_TEST_SUITE_P(Modes, BitsTest, testing::Values(tiny::Mode::kLong64, tiny::Mode::kProtected32),
                         [](const auto& parameter) {
                           return parameter.param == tiny::Mode::kLong64 ? "Long64" : "Protected32";
                         });

}  // namespace
}  // namespace doppel::accel::soft
