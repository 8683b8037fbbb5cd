// Instructions on the processor's own state in translated code, against the interpreter.
#include <gtest/gtest.h>

#include "accel/soft/translator/translator_rig.h"

namespace doppel::accel::soft {
namespace {

using namespace translator_rig;

class SystemInstructionsTest : public TranslatorTest {
 protected:
  void expect_same_bases() {
    const auto [interpreted, translated] = pair.both();
    EXPECT_EQ(interpreted->cpu.segment[kGs].base, translated->cpu.segment[kGs].base);
    EXPECT_EQ(interpreted->cpu.view[kGs].base, translated->cpu.view[kGs].base);
    EXPECT_EQ(interpreted->cpu.msrs.kernel_gs_base, translated->cpu.msrs.kernel_gs_base);
  }
};

TEST_F(SystemInstructionsTest, SwapsTheBaseOfGsBetweenAccesses) {
  for (TestCpu* test : pair.both()) {
    test->cpu.segment[kGs].base = kDataPage;
    test->cpu.update_view(kGs);
    test->cpu.msrs.kernel_gs_base = kDataPage + 0x2000;
  }
  pair.poke<std::uint64_t>(kDataPage, 1);
  pair.poke<std::uint64_t>(kDataPage + 0x2000, 100);
  // mov ebp, 41; xor esi, esi; L: add eax, gs:[rsi]; inc gs:[rsi]; swapgs; add eax, gs:[rsi]; inc gs:[rsi]; dec ebp;
  // jnz L; hlt
  pair.run({0xbd, 41,   0,    0,    0,    0x31, 0xf6, 0x65, 0x03, 0x06, 0x65, 0xff, 0x06, 0x0f,
            0x01, 0xf8, 0x65, 0x03, 0x06, 0x65, 0xff, 0x06, 0xff, 0xcd, 0x75, 0xed, kHlt});
  expect_same_bases();
  EXPECT_EQ(pair.cpu().segment[kGs].base, kDataPage + 0x2000);
  EXPECT_LT(pair.statistics().interpreted, 20U);
}

TEST_F(SystemInstructionsTest, SwappingTheBaseOfGsNeedsPrivilege) {
  for (TestCpu* test : pair.both()) {
    test->cpu.segment[kCs].dpl = test->cpu.segment[kSs].dpl = 3;
    test->cpu.segment[kCs].selector |= 3U;
    test->cpu.segment[kSs].selector |= 3U;
    test->cpu.msrs.kernel_gs_base = kDataPage;
    test->cpu.update_mode();
  }
  pair.run({0x0f, 0x01, 0xf8, kHlt});
  expect_same_bases();
  EXPECT_EQ(pair.cpu().msrs.kernel_gs_base, kDataPage);
}

TEST_F(SystemInstructionsTest, ReadsSelectors) {
  for (unsigned n = 0; n < 16; ++n)
    if (n != kRsp) pair.set_gpr(n, 0x1122334455667788U * (n + 1));
  for (TestCpu* test : pair.both()) test->cpu.segment[kFs].selector = 0xfedc;
  // mov ax, ss; mov ecx, ds; mov rdx, fs; mov r10w, es; mov r11d, cs; mov r11w, gs; mov r10, fs; mov r13w, fs; hlt
  pair.run({0x66, 0x8c, 0xd0, 0x8c, 0xd9, 0x48, 0x8c, 0xe2, 0x66, 0x41, 0x8c, 0xc2, 0x41, 0x8c,
            0xcb, 0x66, 0x41, 0x8c, 0xeb, 0x49, 0x8c, 0xe2, 0x66, 0x41, 0x8c, 0xe5, kHlt});
  EXPECT_EQ(pair.cpu().gpr[kRdx], 0xfedcU);
  EXPECT_EQ(pair.statistics().interpreted, 1U);
}

TEST_F(SystemInstructionsTest, SetsAndClearsTheDirectionWithFlagsInUse) {
  pair.set_gpr(kRsp, tiny::kStackTop);
  // mov ebp, 30; L: cmp ebp, 7; std; pushf; pop rax; cld; setc cl; adc ebx, ebp; pushf; pop rdx; dec ebp; jnz L; hlt
  pair.run({0xbd, 30,   0,    0,    0,    0x83, 0xfd, 7,    0xfd, 0x9c, 0x58, 0xfc,
            0x0f, 0x92, 0xc1, 0x11, 0xeb, 0x9c, 0x5a, 0xff, 0xcd, 0x75, 0xee, kHlt});
  EXPECT_NE(pair.cpu().gpr[kRax] & rflags::kDf, 0U);
  EXPECT_EQ(pair.cpu().gpr[kRdx] & rflags::kDf, 0U);
  EXPECT_LT(pair.statistics().interpreted, 20U);
}

}  // namespace
}  // namespace doppel::accel::soft
