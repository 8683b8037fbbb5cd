// Lockstep finds nothing where there is nothing, and does find translated code that was spoiled.
#include "accel/soft/translator/verifier.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "accel/soft/interpreter/test_cpu.h"
#include "accel/soft/translator/translator.h"
#include "memory/dirty_bitmap.h"

namespace doppel::accel::soft {
namespace {

using testing::HasSubstr;
using namespace x86;

using Code = std::vector<std::uint8_t>;
constexpr std::uint64_t kDataPage = 0x100000;
constexpr std::uint8_t kHlt = 0xf4;

class VerifierTest : public testing::Test {
 protected:
  void SetUp() override {
    // With a bitmap of the host's writes the guest's code, and what was made of it, is kept from run to run.
    const MemorySlot slot{.slot = 0,
                          .address = {0},
                          .size = TestCpu::kMemorySize,
                          .host = test->memory().data(),
                          .flags = SlotFlags::kNone,
                          .dirty = &written};
    test->cpu.machine.rendezvous.exclusive(false, [&] { (void)test->cpu.machine.ram.set(slot); });
    start(TranslationOptions::kAlways);
  }
  void start(std::uint64_t passes) {
    auto created =
        Translator::create(test->cpu, test->interpreter.cache(),
                           {.on = true, .code_size = std::size_t{1} << 20U, .threshold = 0, .verify = passes});
    if (!created) GTEST_SKIP() << "skipped: this host cannot translate";
    translator = *std::move(created);
    test->interpreter.set_translated_code(translator.get());
    test->cpu.cr4 |= cr4::kOsfxsr;
    test->cpu.update_mode();
  }
  void TearDown() override { test.reset(); }

  StopReason run(const Code& code) {
    std::memcpy(test->memory().data() + tiny::kCode, code.data(), code.size());
    return again();
  }
  StopReason again() {
    test->cpu.rip = tiny::kCode;
    return test->resume(0);
  }
  /// Changes the code that was made of it where it holds BYTES: the last of them becomes LAST.
  void spoil(const Code& bytes, std::uint8_t last) {
    const auto code = translator->code();
    const auto wanted = std::as_bytes(std::span(bytes));
    const auto found = std::ranges::search(code, wanted);
    ASSERT_FALSE(found.empty());
    found.back() = std::byte{last};
  }
  [[nodiscard]] const Verifier::Statistics& statistics() const { return translator->verifier()->statistics(); }
  [[nodiscard]] const std::string& difference() const { return translator->verifier()->difference(); }

  memory::DirtyBitmap written{TestCpu::kMemorySize};
  std::unique_ptr<Translator> translator;
  LowPointer<TestCpu> test = make_low<TestCpu>(tiny::Mode::kLong64);
};

TEST_F(VerifierTest, ComparesEachBlock) {
  // mov ecx, 1000; xor eax, eax; L: push rax; add [rsp], rcx; pop rax; dec ecx; jnz L; hlt
  EXPECT_EQ(
      run({0xb9, 0xe8, 0x03, 0x00, 0x00, 0x31, 0xc0, 0x50, 0x48, 0x01, 0x0c, 0x24, 0x58, 0xff, 0xc9, 0x75, 0xf6, kHlt}),
      StopReason::kHalt);
  EXPECT_EQ(test->cpu.gpr[kRax], 500500U);
  EXPECT_EQ(statistics().instructions, 2 + 5 * 1000U);
  EXPECT_GE(statistics().stretches, 1000U);
  EXPECT_EQ(statistics().differences + statistics().unknown + statistics().passing, 0U) << difference();
}

TEST_F(VerifierTest, ComparesReturnsAndIndirectBranches) {
  // mov ecx, 100; L: call F; dec ecx; jnz L; hlt; F: lea rdx, [rip+1]; jmp rdx; ud2; ret
  EXPECT_EQ(run({0xb9, 100,  0,    0,    0,    0xe8, 0x05, 0, 0,    0,    0xff, 0xc9, 0x75, 0xf7,
                 kHlt, 0x48, 0x8d, 0x15, 0x04, 0,    0,    0, 0xff, 0xe2, 0x0f, 0x0b, 0xc3}),
            StopReason::kHalt);
  // The first of each is interpreted, since nothing is known of its target yet.
  EXPECT_GT(statistics().instructions, 6 * 95U);
  EXPECT_EQ(statistics().differences, 0U);
}

TEST_F(VerifierTest, LetsRunWhatWasComparedOftenEnough) {
  start(10);
  // mov ecx, 1000; xor eax, eax; L: add rax, rcx; dec ecx; jnz L; hlt
  EXPECT_EQ(run({0xb9, 0xe8, 0x03, 0x00, 0x00, 0x31, 0xc0, 0x48, 0x01, 0xc8, 0xff, 0xc9, 0x75, 0xf9, kHlt}),
            StopReason::kHalt);
  EXPECT_EQ(test->cpu.gpr[kRax], 500500U);
  EXPECT_LT(statistics().instructions, 50U);
  EXPECT_LT(translator->statistics().entries, 30U);
}

TEST_F(VerifierTest, StopsBeforeWhatFaults) {
  test->catch_vector(kDivideError);
  test->poke<std::uint8_t>(tiny::kHandler, kHlt);
  test->cpu.gpr[kRbx] = kDataPage;
  // mov dword [rbx], 5; div dword [rbx+4]; hlt
  EXPECT_EQ(run({0xc7, 0x03, 5, 0, 0, 0, 0xf7, 0x73, 0x04, kHlt}), StopReason::kHalt);
  EXPECT_EQ(test->cpu.rip, tiny::kHandler + 1);
  EXPECT_EQ(test->peek<std::uint32_t>(kDataPage), 5U);
  EXPECT_EQ(statistics().instructions, 1U);
  EXPECT_EQ(statistics().differences, 0U);
}

TEST_F(VerifierTest, FindsAWrongRegister) {
  // mov edx, 7; add rax, 0x12345678; mov ecx, 1; hlt
  EXPECT_EQ(run({0xba, 7, 0, 0, 0, 0x48, 0x05, 0x78, 0x56, 0x34, 0x12, 0xb9, 1, 0, 0, 0, kHlt}), StopReason::kHalt);
  spoil({0x48, 0x05, 0x78, 0x56, 0x34, 0x12}, 0x13);
  const std::uint64_t before = test->cpu.gpr[kRax];
  EXPECT_EQ(again(), StopReason::kDifference);
  EXPECT_EQ(statistics().differences, 1U);
  EXPECT_EQ(test->cpu.rip, tiny::kCode);
  EXPECT_EQ(test->cpu.gpr[kRax], before);
  EXPECT_THAT(difference(), HasSubstr("differs from the interpreter at 0x4005, in the block at 0x4000: rax\n"));
  EXPECT_THAT(difference(), HasSubstr("* 4005  48 05 78 56 34 12"));
  EXPECT_THAT(difference(), HasSubstr("add rax, 0x13345678"));
  EXPECT_THAT(difference(), HasSubstr("  rdx "));
  EXPECT_THAT(difference(), HasSubstr("* rax "));
}

TEST_F(VerifierTest, FindsWrongFlags) {
  // cmp edx, 0x12345678; hlt
  test->cpu.gpr[kRdx] = 0x12345678;
  EXPECT_EQ(run({0x81, 0xfa, 0x78, 0x56, 0x34, 0x12, kHlt}), StopReason::kHalt);
  spoil({0x81, 0xfa, 0x78, 0x56, 0x34, 0x12}, 0x13);
  EXPECT_EQ(again(), StopReason::kDifference);
  EXPECT_THAT(difference(), HasSubstr(": rflags\n"));
}

TEST_F(VerifierTest, FindsWrongMemory) {
  test->cpu.gpr[kRbx] = kDataPage;
  // mov dword [rbx], 0x12345678; hlt
  EXPECT_EQ(run({0xc7, 0x03, 0x78, 0x56, 0x34, 0x12, kHlt}), StopReason::kHalt);
  spoil({0x78, 0x56, 0x34, 0x12}, 0x13);
  test->poke<std::uint32_t>(kDataPage, 1);
  EXPECT_EQ(again(), StopReason::kDifference);
  EXPECT_THAT(difference(), HasSubstr(": [100000]\n"));
  EXPECT_EQ(test->peek<std::uint32_t>(kDataPage), 1U);
}

TEST_F(VerifierTest, FindsAWrongVector) {
  // movd xmm1, eax; pslld xmm1, 3; hlt
  test->cpu.gpr[kRax] = 1;
  EXPECT_EQ(run({0x66, 0x0f, 0x6e, 0xc8, 0x66, 0x0f, 0x72, 0xf1, 0x03, kHlt}), StopReason::kHalt);
  spoil({0x66, 0x0f, 0x72, 0xf1, 0x03}, 4);
  EXPECT_EQ(again(), StopReason::kDifference);
  EXPECT_THAT(difference(), HasSubstr(": zmm1\n"));
}

TEST_F(VerifierTest, FindsAWrongBranch) {
  // cmp eax, 0x12345678; je +0; hlt; both ways lead to HLT
  EXPECT_EQ(run({0x3d, 0x78, 0x56, 0x34, 0x12, 0x74, 0x01, kHlt, kHlt}), StopReason::kHalt);
  spoil({0x3d, 0x78, 0x56, 0x34, 0x12, 0x0f, 0x84}, 0x85);
  EXPECT_EQ(again(), StopReason::kDifference);
  EXPECT_THAT(difference(), HasSubstr(": rip\n"));
}

TEST_F(VerifierTest, FindsCodeThatGoesOnBehindAFault) {
  test->catch_vector(kDivideError);
  test->cpu.gpr[kRcx] = 1;
  // xor edx, edx; div ecx; mov eax, 0x12345678; hlt
  EXPECT_EQ(run({0x31, 0xd2, 0xf7, 0xf1, 0xb8, 0x78, 0x56, 0x34, 0x12, kHlt}), StopReason::kHalt);
  spoil({0x31, 0xd2, 0xf7, 0xf1}, 0xd1);  // NOT ECX
  test->cpu.gpr[kRcx] = 0;
  EXPECT_EQ(again(), StopReason::kDifference);
  EXPECT_THAT(difference(), HasSubstr(": it went on where the interpreter stops\n"));
}

}  // namespace
}  // namespace doppel::accel::soft
