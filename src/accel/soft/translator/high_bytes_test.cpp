// AH, CH, DH and BH beside memory operands in translated code, against the interpreter.
#include <gtest/gtest.h>

#include "accel/soft/translator/translator_rig.h"

namespace doppel::accel::soft {
namespace {

using namespace translator_rig;

class HighBytesTest : public TranslatorTest, public testing::WithParamInterface<tiny::Mode> {
 protected:
  HighBytesTest() : TranslatorTest(GetParam()) {
    for (std::uint32_t at = 0; at < 0x1000; at += 4) pair.poke(kDataPage + at, (at + 1) * 0x9e3779b9U);
    pair.set_gpr(kRsi, kDataPage);
    pair.set_gpr(kRbx, kDataPage + 0x100);
  }

  /// CODE, a hundred times. EBP counts down.
  void repeat(const Code& code) {
    Code all = {0xbd, 100, 0, 0, 0};  // mov ebp, 100
    all.insert(all.end(), code.begin(), code.end());
    const auto back = static_cast<std::uint8_t>(-(static_cast<int>(code.size()) + 5));
    const Code loop = {0x83, 0xed, 0x01, 0x75, back, kHlt};  // sub ebp, 1; jnz L; hlt
    all.insert(all.end(), loop.begin(), loop.end());
    pair.run(all);
  }
};

TEST_P(HighBytesTest, AreReadAndWritten) {
  // mov ah, [rsi+rbp]; mov [rsi+rbp], dh; mov [rsi+3], ah; add [rsi+3], ch; mov [rsi+8], dh; adc dh, [rsi+4];
  // lock xadd [rsi+5], dh; adc edx, ebp; xchg [rsi+6], ch; imul ecx, eax, 0x1010107
  repeat({0x8a, 0x24, 0x2e, 0x88, 0x34, 0x2e, 0x88, 0x66, 0x03, 0x00, 0x6e, 0x03, 0x88, 0x76, 0x08, 0x12, 0x76,
          0x04, 0xf0, 0x0f, 0xc0, 0x76, 0x05, 0x11, 0xea, 0x86, 0x6e, 0x06, 0x69, 0xc8, 0x07, 0x01, 0x01, 0x01});
  EXPECT_LT(pair.statistics().interpreted, 40U);
}

TEST_P(HighBytesTest, ArePartsOfTheirAddresses) {
  // mov [rbx+1], bh; mov [rbx+2], bl; cmp bh, [rbx+2]; adc eax, ebp; sub [rbx+rbx-kDataPage], bh; adc [rbx+4], eax
  static_assert(kDataPage == 0x100000);
  repeat({0x88, 0x7b, 0x01, 0x88, 0x5b, 0x02, 0x3a, 0x7b, 0x02, 0x11, 0xe8,
          0x28, 0xbc, 0x1b, 0x00, 0x00, 0xf0, 0xff, 0x11, 0x43, 0x04});
  EXPECT_LT(pair.statistics().interpreted, 40U);
}

TEST_P(HighBytesTest, AreComparedAndExchanged) {
  // mov eax, ebp; cmpxchg [rsi+4], ah; cmpxchg [rsi+4], ch; adc ecx, eax
  repeat({0x89, 0xe8, 0x0f, 0xb0, 0x66, 0x04, 0x0f, 0xb0, 0x6e, 0x04, 0x11, 0xc1});
}

TEST_P(HighBytesTest, AreWhatMultiplicationsAndDivisionsOfBytesChange) {
  // mov eax, ebp; mul byte [rsi+1]; or byte [rsi+2], 0x81; movzx eax, al; div byte [rsi+2]; add [rsi+1], ah;
  // imul byte [rsi+3]; add [rsi+3], eax
  repeat({0x89, 0xe8, 0xf6, 0x66, 0x01, 0x80, 0x4e, 0x02, 0x81, 0x0f, 0xb6, 0xc0,
          0xf6, 0x76, 0x02, 0x00, 0x66, 0x01, 0xf6, 0x6e, 0x03, 0x01, 0x46, 0x03});
  EXPECT_LT(pair.statistics().interpreted, 40U);
}

INSTANTIATE_TEST_SUITE_P(Modes, HighBytesTest, testing::Values(tiny::Mode::kLong64, tiny::Mode::kProtected32),
                         [](const auto& mode) { return mode.param == tiny::Mode::kLong64 ? "Long64" : "Protected32"; });

}  // namespace
}  // namespace doppel::accel::soft
