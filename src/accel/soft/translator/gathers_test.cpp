// Gathers and scatters in translated code, against the interpreter.
#include <gtest/gtest.h>

#include "accel/soft/interpreter/stub_emitter.h"
#include "accel/soft/translator/translator_rig.h"
#include "x86/cpuid_table.h"
#include "x86/features.h"

namespace doppel::accel::soft {
namespace {

using namespace translator_rig;

constexpr unsigned kIndex = 1;  // vector registers
constexpr unsigned kMasks = 3;  // mask for VEX, copied to YMM2 each time
constexpr unsigned kRounds = 40;

// vpgatherdd ymm0, [rbx+ymm1*4], ymm2; vgatherqpd ymm0, [rbx+ymm1*8], ymm2; vpgatherqd xmm0, [rbx+ymm1*4], xmm2
const Code kGatherDwords = {0xc4, 0xe2, 0x6d, 0x90, 0x04, 0x8b};
const Code kGatherQuads = {0xc4, 0xe2, 0xed, 0x93, 0x04, 0xcb};
const Code kGatherDwordsByQuads = {0xc4, 0xe2, 0x6d, 0x91, 0x04, 0x8b};
// vpgatherdd zmm0{k1}, [rbx+zmm1*4]; vpscatterdd [rbx+zmm1*4]{k1}, zmm0; vpscatterqq [rbx+zmm1*8]{k1}, zmm0
const Code kWideGather = {0x62, 0xf2, 0x7d, 0x49, 0x90, 0x04, 0x8b};
const Code kScatterDwords = {0x62, 0xf2, 0x7d, 0x49, 0xa0, 0x04, 0x8b};
const Code kScatterQuads = {0x62, 0xf2, 0xfd, 0x49, 0xa1, 0x04, 0xcb};

class GathersTest : public TranslatorTest, public testing::WithParamInterface<tiny::Mode> {
 protected:
  GathersTest() : TranslatorTest(GetParam()) {}
  void SetUp() override {
    TranslatorTest::SetUp();
    if (host_vectors() < HostVectors::kAvx512bw) GTEST_SKIP() << "skipped: this host has no AVX512BW";
    pair.restart();
    pair.set_gpr(kRbx, kDataPage);
    for (std::uint32_t at = 0; at < 3 * 0x1000; at += 4) pair.poke(kDataPage + at, at * 0x9e3779b9U);
    for (TestCpu* test : pair.both()) {
      for (unsigned n = 0; n < 32; ++n)
        for (unsigned i = 0; i < 64; ++i) test->cpu.fpu.vector.at(n).at(i) = static_cast<std::byte>(n * 7 + i);
      test->cpu.fpu.mask.fill(0);
      // Of the processors that tests are for, some have no AVX-512.
      test->cpu.features = x86::features_of(x86::host_cpuid_table());
      test->cpu.xcr0 = x86::xcr0_of(test->cpu.features);
      test->interpreter.forget_code();
    }
  }
  template <class T>
  void set_elements(unsigned vector, std::initializer_list<T> elements) {
    for (TestCpu* test : pair.both()) {
      std::size_t at = 0;
      for (const T element : elements) {
        std::memcpy(test->cpu.fpu.vector.at(vector).data() + at, &element, sizeof element);
        at += sizeof element;
      }
    }
  }
  void set_mask(std::uint64_t mask) {
    for (TestCpu* test : pair.both()) test->cpu.fpu.mask.at(2) = mask;
  }
  /// INSTRUCTION kRounds times, with its mask set anew.
  void repeat(const Code& instruction) {
    Code code = {0xbd, kRounds, 0, 0, 0};  // mov ebp, kRounds
    const bool vex = instruction[0] == 0xc4;
    // L: vmovdqa ymm2, ymm3, or kmovw k1, k2
    const Code setup = vex ? Code{0xc5, 0xfd, 0x6f, 0xd3} : Code{0xc5, 0xf8, 0x90, 0xca};
    code.insert(code.end(), setup.begin(), setup.end());
    // test ebp, 3: flags in use; INSTRUCTION; lahf; add ecx, eax; sub ebp, 1; jnz L; hlt
    for (const unsigned byte : {0xf7U, 0xc5U, 3U, 0U, 0U, 0U}) code.push_back(static_cast<std::uint8_t>(byte));
    code.insert(code.end(), instruction.begin(), instruction.end());
    for (const unsigned byte : {0x9fU, 0x01U, 0xc1U, 0x83U, 0xedU, 0x01U})
      code.push_back(static_cast<std::uint8_t>(byte));
    code.push_back(0x75);
    code.push_back(static_cast<std::uint8_t>(5 - (code.size() + 1)));
    code.push_back(kHlt);
    pair.run(code);
  }
  template <class T>
  [[nodiscard]] T element(unsigned n) {
    T value;
    std::memcpy(&value, pair.cpu().fpu.vector[0].data() + n * sizeof value, sizeof value);
    return value;
  }
  [[nodiscard]] bool halted() { return pair.cpu().rip < tiny::kHandler; }
};

TEST_P(GathersTest, GathersUnmaskedElementsOfSeveralPages) {
  set_elements<std::int32_t>(kIndex, {5, 2000, -1, 7, 1023, 1024, 9, 2});
  set_elements<std::int32_t>(kMasks, {-1, -1, 0, -1, -1, 0x7fffffff, -1, -1});
  repeat(kGatherDwords);
  ASSERT_TRUE(halted());
  EXPECT_EQ(element<std::uint32_t>(1), 8000 * 0x9e3779b9U);
  EXPECT_EQ(element<std::uint32_t>(2), 0x0b0a0908U);
  EXPECT_EQ(pair.cpu().fpu.vector[2], (std::array<std::byte, 64>{}));
  EXPECT_LT(pair.statistics().interpreted, 10U);
}

TEST_P(GathersTest, TakesWideIndices) {
  set_elements<std::int64_t>(kIndex, {5, 600, 0, 511});
  set_elements<std::int64_t>(kMasks, {-1, -1, -1, -1});
  repeat(kGatherQuads);
  repeat(kGatherDwordsByQuads);
  ASSERT_TRUE(halted());
  EXPECT_EQ(element<std::uint32_t>(1), 2400 * 0x9e3779b9U);
  EXPECT_LT(pair.statistics().interpreted, 20U);
}

TEST_P(GathersTest, GathersByMaskRegister) {
  set_elements<std::int32_t>(kIndex, {5, 2000, 1, 7, 1023, 1024, 9, 2, 6, 6, 6, 700, 800, 900, 1000, 2047});
  for (const std::uint64_t mask : {0xffffU, 0x8421U, 0U}) {
    set_mask(mask);
    repeat(kWideGather);
    ASSERT_TRUE(halted());
    EXPECT_EQ(pair.cpu().fpu.mask[1], 0U);
  }
  EXPECT_EQ(element<std::uint32_t>(15), 8188 * 0x9e3779b9U);
  EXPECT_LT(pair.statistics().interpreted, 20U);
}

// The last of those that go to one place stays.
TEST_P(GathersTest, Scatters) {
  set_elements<std::int32_t>(kIndex, {5, 2000, 1, 7, 1023, 1024, 9, 2, 6, 6, 6, 700, 800, 900, 1000, 2047});
  set_mask(0xfffe);
  repeat(kScatterDwords);
  ASSERT_TRUE(halted());
  EXPECT_EQ(pair.both()[1]->peek<std::uint32_t>(kDataPage + 24), element<std::uint32_t>(10));
  set_elements<std::int64_t>(kIndex, {5, 600, 0, 511, 512, 3, 3, 1});
  repeat(kScatterQuads);
  ASSERT_TRUE(halted());
  EXPECT_LT(pair.statistics().interpreted, 20U);
}

TEST_P(GathersTest, FaultsInTheMiddle) {
  constexpr std::int32_t kFar = 0x0fff'0000;  // times 4: nothing is mapped there
  set_mask(0xffff);
  set_elements<std::int32_t>(kMasks, {-1, -1, -1, -1, -1, -1, -1, -1});
  for (const Code& code : {kGatherDwords, kWideGather, kScatterDwords}) {
    pair.restart();
    pair.set_gpr(kRbx, kDataPage);
    set_elements<std::int32_t>(kIndex, {5, 2000, 1, kFar, 1023, kFar, 9, 2, 6});
    repeat(code);
  }
}

TEST_P(GathersTest, LeavesElementsAcrossPagesToTheInterpreter) {
  pair.set_gpr(kRbx, kDataPage + 2);
  set_mask(0xffff);
  set_elements<std::int32_t>(kIndex, {5, 1023, 1, 7});
  set_elements<std::int32_t>(kMasks, {-1, -1, -1, -1, 0, 0, 0, 0});
  repeat(kGatherDwords);
  ASSERT_TRUE(halted());
  EXPECT_GE(pair.statistics().interpreted, kRounds / 2);
}

INSTANTIATE_TEST_SUITE_P(Modes, GathersTest, testing::Values(tiny::Mode::kLong64, tiny::Mode::kProtected32),
                         [](const auto& parameter) {
                           return parameter.param == tiny::Mode::kLong64 ? "Long64" : "Protected32";
                         });

}  // namespace
}  // namespace doppel::accel::soft
