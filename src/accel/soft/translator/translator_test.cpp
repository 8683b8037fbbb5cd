// The translator against the interpreter: random instructions, executed by both from the same state.
#include "accel/soft/translator/translator.h"

#include <Zydis/Zydis.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <random>
#include <string>

#include "accel/soft/translator/translator_rig.h"
#include "base/test_seed.h"

namespace doppel::accel::soft {
namespace {

using namespace x86;
using namespace translator_rig;

TEST_F(TranslatorTest, RunsALoop) {
  // mov ecx, 1000; xor eax, eax; add rax, rcx; dec ecx; jnz; hlt
  pair.run({0xb9, 0xe8, 0x03, 0x00, 0x00, 0x31, 0xc0, 0x48, 0x01, 0xc8, 0xff, 0xc9, 0x75, 0xf9, kHlt});
  EXPECT_EQ(pair.cpu().gpr[kRax], 500500U);
  EXPECT_LT(pair.statistics().link_exits, 10U);
}

TEST_F(TranslatorTest, CallsAndReturns) {
  pair.set_gpr(kRsp, tiny::kStackTop);
  // mov ecx, 100; L: call F; dec ecx; jnz L; hlt; F: push rcx; test cl, 1; jz G; add rax, 3; G: pop rdx; ret
  pair.run({0xb9, 0x64, 0,    0,    0,    0xe8, 0x05, 0,    0,    0,    0xff, 0xc9, 0x75, 0xf7,
            kHlt, 0x51, 0xf6, 0xc1, 0x01, 0x74, 0x04, 0x48, 0x83, 0xc0, 0x03, 0x5a, 0xc3});
  EXPECT_EQ(pair.cpu().gpr[kRdx], 1U);
  EXPECT_LT(pair.statistics().entries, 20U);
}

TEST_F(TranslatorTest, ReturnsWhereTheStackSays) {
  pair.set_gpr(kRsp, tiny::kStackTop);
  // mov ecx, 100; L: call F; inc ebx; inc edx; dec ecx; jnz L; hlt
  // F: test cl, 1; jz G; add qword [rsp], 2; G: ret
  pair.run({0xb9, 0x64, 0,    0,    0,    0xe8, 0x09, 0,    0,    0,    0xff, 0xc3, 0xff, 0xc2, 0xff,
            0xc9, 0x75, 0xf3, kHlt, 0xf6, 0xc1, 0x01, 0x74, 0x05, 0x48, 0x83, 0x04, 0x24, 0x02, 0xc3});
  EXPECT_EQ(pair.cpu().gpr[kRbx] & 0xff, (pair.cpu().gpr[kRdx] - 50) & 0xff);
}

TEST_F(TranslatorTest, ReturnsToAddressZeroWithoutACall) {
  pair.poke(0, kHlt);
  pair.set_gpr(kRsp, tiny::kStackTop);
  pair.run({0x6a, 0x00, 0xc3});  // push 0; ret
  EXPECT_EQ(pair.cpu().rip, 1U);
}

TEST_F(TranslatorTest, ReturnsFromDeepRecursion) {
  pair.set_gpr(kRsp, kDataPage + 0x2000);
  // mov ecx, 900; call F; hlt; F: dec ecx; jz R; call F; inc eax; R: ret
  for (int i = 0; i < 3; ++i)
    pair.run({0xb9, 0x84, 0x03, 0,    0,    0xe8, 0x01, 0,    0,    0,    kHlt, 0xff,
              0xc9, 0x74, 0x07, 0xe8, 0xf7, 0xff, 0xff, 0xff, 0xff, 0xc0, 0xc3});
}

TEST_F(TranslatorTest, ReturnsToCodeThatItsFunctionChanges) {
  pair.set_gpr(kRsp, tiny::kStackTop);
  pair.set_gpr(kRbx, tiny::kCode);
  // mov ecx, 10; L: call F; mov eax, 1; add edx, eax; dec ecx; jnz L; hlt; F: inc byte [rbx+11]; ret
  pair.run({0xb9, 0x0a, 0,    0,    0,    0xe8, 0x0c, 0,    0,    0,    0xb8, 0x01, 0,
            0,    0,    0x01, 0xc2, 0xff, 0xc9, 0x75, 0xf0, kHlt, 0xfe, 0x43, 0x0b, 0xc3});
}

/// Counts the conditional branches that have their target behind them.
class TakenBranches final : public TranslationObserver {
 public:
  void translated(const FreshTranslation& fresh) override {
    for (const PlannedInstruction& planned : fresh.plan.instructions) count += planned.follows_target ? 1 : 0;
  }
  void gate_generated(const HostCode& /*gate*/) override {}
  std::size_t count = 0;
};

TEST(TraceTest, GoesWhereBranchesMostlyLead) {
  TakenBranches taken;
  Pair pair(tiny::Mode::kLong64, {.code_size = std::size_t{1} << 20U, .threshold = 10});
  if (!pair.works()) GTEST_SKIP() << "skipped: this host cannot translate";
  pair.observe(taken);
  pair.set_gpr(kRsp, tiny::kStackTop);
  pair.set_gpr(kRbx, kDataPage);
  // mov ecx, 200; L: cmp cl, 240; test cl, 7; jnz T; stc; inc dword [rbx]; T: adc eax, ecx; adc [rbx+8], ecx; pushf;
  // pop rdx; add [rbx+16], edx; dec ecx; jnz L; hlt
  pair.run({0xb9, 200,  0,    0,    0,    0x80, 0xf9, 240,  0xf6, 0xc1, 0x07, 0x75, 0x03, 0xf9, 0xff, 0x03,
            0x11, 0xc8, 0x11, 0x4b, 0x08, 0x9c, 0x5a, 0x01, 0x53, 0x10, 0xff, 0xc9, 0x75, 0xe7, kHlt});
  EXPECT_EQ(taken.count, 1U);
  EXPECT_LT(pair.statistics().entries, 50U);
}

TEST_F(TranslatorTest, UsesTheSpilledRegisters) {
  pair.set_gpr(kR10, kDataPage);
  pair.set_gpr(kR11, 8);
  pair.poke<std::uint64_t>(kDataPage + 8 + 4, 0x1122334455667788);
  // mov rax, [r10+r11+4]; add r10, rax; mov r11, [r11+disp32]; push r10; pop r11; xchg [rsp-8], r11; hlt
  pair.run({0x4b, 0x8b, 0x44, 0x1a, 0x04, 0x49, 0x01, 0xc2, 0x4d, 0x8b, 0x9b, 0x00, 0x00,
            0x10, 0x00, 0x41, 0x52, 0x41, 0x5b, 0x4c, 0x87, 0x5c, 0x24, 0xf8, kHlt});
}

TEST_F(TranslatorTest, FindsWhatLiesAtKnownAddresses) {
  const auto put_disp = [](Code& code, std::uint64_t target, std::size_t immediate = 0) {
    const auto disp = static_cast<std::uint32_t>(target - (tiny::kCode + code.size() + 4 + immediate));
    for (unsigned i = 0; i < 4; ++i) code.push_back(static_cast<std::uint8_t>(disp >> 8 * i));
  };
  const auto put = [](Code& code, std::initializer_list<std::uint8_t> bytes) { code.insert(code.end(), bytes); };
  Code code = {0xb9, 20, 0, 0, 0};  // mov ecx, 20; L:
  put(code, {0x48, 0x01, 0x0d});    // add [data], rcx
  put_disp(code, kDataPage + 0x10);
  put(code, {0x4c, 0x8b, 0x1d});  // mov r11, [data]
  put_disp(code, kDataPage + 0x10);
  put(code, {0x4c, 0x87, 0x15});  // xchg [data + 8], r10
  put_disp(code, kDataPage + 0x18);
  put(code, {0x4d, 0x01, 0xda});  // add r10, r11
  put(code, {0x48, 0x03, 0x15});  // add rdx, [across two pages]
  put_disp(code, kDataPage + 0xffc);
  put(code, {0x81, 0x05});  // add dword [the page's end], 5
  put_disp(code, kDataPage + 0xffc, 4);
  put(code, {5, 0, 0, 0, 0x48, 0x8b, 0x34, 0x25});  // mov rsi, [data, absolute]
  put(code, {0x10, 0x00, 0x10, 0x00});
  put(code, {0xff, 0xc9, 0x0f, 0x85});  // dec ecx; jnz L
  put_disp(code, tiny::kCode + 5);
  code.push_back(kHlt);
  static_assert(kDataPage == 0x100000);
  pair.run(code);
  EXPECT_EQ(pair.cpu().gpr[kRsi], 210U);
  EXPECT_LT(pair.statistics().interpreted, 40U);
}

TEST_F(TranslatorTest, FollowsCodeThatChanges) {
  pair.set_gpr(kRbx, tiny::kCode);
  // inc byte [rbx+18] makes "mov eax, 1" another one, ten times: L: mov eax, 1 ... jnz L
  Code code = {0xb9, 10, 0, 0, 0};
  for (const int byte : {0xb8, 1, 0, 0, 0, 0x01, 0xc2, 0xfe, 0x43, 0x06, 0xff, 0xc9, 0x75, 0xf2})
    code.push_back(static_cast<std::uint8_t>(byte));
  code.push_back(kHlt);
  pair.run(code);
}

TEST_F(TranslatorTest, GoesOnBehindPortAccesses) {
  pair.answers_ports = true;
  pair.set_gpr(kRsp, tiny::kStackTop);
  // mov ecx, 50; L: mov al, cl; call F; dec ecx; jnz L; hlt
  // F: push rcx; push rax; W: in al, 0x81; test al, 0x20; je W; pop rax; out 0x80, al; pop rcx; ret
  pair.run({0xb9, 0x32, 0,    0,    0,    0x88, 0xc8, 0xe8, 0x05, 0,    0,    0,    0xff, 0xc9, 0x75,
            0xf5, kHlt, 0x51, 0x50, 0xe4, 0x81, 0xa8, 0x20, 0x74, 0xfa, 0x58, 0xe6, 0x80, 0x59, 0xc3});
  EXPECT_EQ(pair.ports[1].size(), 100U);
}

TEST_F(TranslatorTest, JumpsAndCallsThroughMemory) {
  pair.set_gpr(kRsp, tiny::kStackTop);
  pair.poke<std::uint64_t>(kDataPage, tiny::kCode + 27);
  pair.poke<std::uint64_t>(kDataPage + 8, tiny::kCode + 26);
  // mov ecx, 50; L: call [rip+disp] (F); dec ecx; jnz L; jmp [rip+disp] (H); int3 ...; H: hlt; F: add rax, rcx; ret
  pair.run({0xb9, 0x32, 0,    0,    0,    0xff, 0x15, 0xf5, 0xbf, 0x0f, 0x00, 0xff, 0xc9, 0x75, 0xf6, 0xff,
            0x25, 0xf3, 0xbf, 0x0f, 0x00, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, kHlt, 0x48, 0x01, 0xc8, 0xc3});
  EXPECT_EQ(pair.cpu().gpr[kRax] % 4096, 1275U);
}

TEST_F(TranslatorTest, FollowsTheSwitchOfSupervisorAccessPrevention) {
  for (TestCpu* test : pair.both()) {
    test->cpu.cr4 |= cr4::kSmap;
    test->cpu.update_mode();
  }
  pair.set_gpr(kRsp, tiny::kStackTop);
  pair.set_gpr(kRbx, kDataPage);
  // mov ecx, 50; L: stac; push rbx; push rcx; clac; pop rcx; pop rdx; add rax, rdx; dec ecx; jnz L; hlt. All pages are
  // the user's: what comes behind CLAC faults, over and over.
  pair.run({0xb9, 0x32, 0,    0,    0,    0x0f, 0x01, 0xcb, 0x53, 0x51, 0x0f, 0x01,
            0xca, 0x59, 0x5a, 0x48, 0x01, 0xd0, 0xff, 0xc9, 0x75, 0xef, kHlt});
}

// --- Hot code, whose accesses have sites in the TLB ---

class HotCodeTest : public TranslatorTest {
 protected:
  HotCodeTest() : TranslatorTest(tiny::Mode::kLong64, true) {}
};

TEST_F(HotCodeTest, AsksItsSites) {
  pair.set_gpr(kRbx, kDataPage);
  // mov ecx, 1000; L: mov rax, [rbx]; inc rax; mov [rbx+16], rax; add [rbx], rcx; dec ecx; jnz L; hlt
  pair.run({0xb9, 0xe8, 0x03, 0x00, 0x00, 0x48, 0x8b, 0x03, 0x48, 0xff, 0xc0, 0x48,
            0x89, 0x43, 0x10, 0x48, 0x01, 0x0b, 0xff, 0xc9, 0x75, 0xef, kHlt});
  EXPECT_LT(pair.statistics().interpreted, 10U);
  EXPECT_EQ(pair.statistics().poor_sites, 0U);
}

TEST_F(HotCodeTest, RefusesAddressesThatAreNotCanonicalThoughEmptySitesHaveTheirTag) {
  for (const std::uint64_t address : {std::uint64_t{1} << 63U, (std::uint64_t{1} << 63U) + 0xff0}) {
    pair.restart();
    pair.set_gpr(kRbx, address);
    pair.run({0x48, 0x8b, 0x03, kHlt});  // mov rax, [rbx]
    EXPECT_EQ(pair.cpu().rip, tiny::kHandler + kGeneralProtection + 1);
    pair.restart();
    pair.set_gpr(kRbp, address);
    pair.run({0x48, 0x89, 0x45, 0x00, 0x48, 0x8b, 0x4d, 0x08, kHlt});  // mov [rbp], rax; mov rcx, [rbp+8]
    EXPECT_EQ(pair.cpu().rip, tiny::kHandler + kStackFault + 1);
  }
}

TEST_F(HotCodeTest, GivesUpSitesThatMiss) {
  pair.set_gpr(kRbx, 0);
  // mov ecx, 10000; L: mov rax, [rbx+kDataPage]; xor ebx, 0x1000; dec ecx; jnz L; hlt
  pair.run({0xb9, 0x10, 0x27, 0x00, 0x00, 0x48, 0x8b, 0x83, 0x00, 0x00, 0x10, 0x00,
            0x81, 0xf3, 0x00, 0x10, 0x00, 0x00, 0xff, 0xc9, 0x75, 0xef, kHlt});
  EXPECT_EQ(pair.statistics().poor_sites, 1U);
}

TEST_F(HotCodeTest, ForgetsPagesWithTheTlb) {
  constexpr std::uint64_t kLinear = 0x400000;
  constexpr std::uint64_t kTable = kDataPage + 0x2000;
  constexpr std::uint64_t kWritablePage = 0x67;  // present, accessed, dirty
  pair.poke(tiny::kPageDirectories + 2 * 8, kTable | kWritablePage);
  pair.poke(kTable, kDataPage | kWritablePage);
  pair.poke<std::uint64_t>(kDataPage, 1);
  pair.poke<std::uint64_t>(kDataPage + 0x1000, 1000);
  pair.set_gpr(kRbx, kLinear);
  pair.set_gpr(kRdi, kTable);
  // mov ecx, 10; L: add rax, [rbx]; xor qword [rdi], 0x1000; invlpg [rbx]; dec ecx; jnz L; hlt
  pair.run({0xb9, 0x0a, 0, 0,    0,    0x48, 0x03, 0x03, 0x48, 0x81, 0x37, 0x00,
            0x10, 0,    0, 0x0f, 0x01, 0x3b, 0xff, 0xc9, 0x75, 0xef, kHlt});
  EXPECT_EQ(pair.cpu().gpr[kRax], 5005U);
}

/// A detached translation that is still at work must not be linked any more: nothing would undo that.
TEST_F(HotCodeTest, GoesOnBehindCodeThatWasDetached) {
  pair.set_gpr(kRbx, 0);
  // The loop of GivesUpSitesThatMiss, in a row of blocks: L: mov rax, [rbx+kDataPage]; xor ebx, 0x1000; test cl, 1;
  // jz M; inc edx; M: dec ecx; jnz L; hlt, over and over with other counts.
  for (const auto count : std::to_array<std::uint8_t>({0x20, 0x41, 0x62, 0x83})) {
    pair.run({0xb9, count, 0x27, 0x00, 0x00, 0x48, 0x8b, 0x83, 0x00, 0x00, 0x10, 0x00, 0x81, 0xf3, 0x00,
              0x10, 0x00,  0x00, 0xf6, 0xc1, 0x01, 0x74, 0x02, 0xff, 0xc2, 0xff, 0xc9, 0x75, 0xe8, kHlt});
  }
}

// --- Options ---

// mov ecx, 1000; xor eax, eax; add rax, rcx; dec ecx; jnz; hlt
const Code kSum = {0xb9, 0xe8, 0x03, 0x00, 0x00, 0x31, 0xc0, 0x48, 0x01, 0xc8, 0xff, 0xc9, 0x75, 0xf9, kHlt};
constexpr std::size_t kCodeSize = std::size_t{1} << 20U;

TEST(TranslatorOptionsTest, OneInstructionPerBlock) {
  Pair pair(tiny::Mode::kLong64, {.code_size = kCodeSize, .threshold = 0, .one_instruction = true});
  if (!pair.works()) GTEST_SKIP() << "skipped: this host cannot translate";
  pair.run(kSum);
  EXPECT_EQ(pair.statistics().translations, 6U);
  EXPECT_EQ(pair.statistics().instructions, 6U);
  EXPECT_LT(pair.statistics().entries, 20U);
}

TEST(TranslatorOptionsTest, UnchainedBlocksAllComeByTheRunLoop) {
  Pair pair(tiny::Mode::kLong64,
            {.code_size = kCodeSize, .threshold = 0, .may_chain_to = [](std::uint64_t) { return false; }});
  if (!pair.works()) GTEST_SKIP() << "skipped: this host cannot translate";
  pair.run(kSum);
  EXPECT_EQ(pair.statistics().entries, 1001U);
  pair.restart();
  // mov ecx, 100; L: call F; dec ecx; jnz L; hlt; F: ret
  pair.run({0xb9, 0x64, 0, 0, 0, 0xe8, 0x05, 0, 0, 0, 0xff, 0xc9, 0x75, 0xf7, kHlt, 0xc3});
  EXPECT_EQ(pair.statistics().entries, 1001U + 301U);
}

TEST(TranslatorOptionsTest, AnUnchainedTargetComesByTheRunLoop) {
  constexpr std::uint64_t kFunction = tiny::kCode + 15;
  const auto chains = [](std::uint64_t linear) { return linear != kFunction; };
  Pair pair(tiny::Mode::kLong64, {.code_size = kCodeSize, .threshold = 0, .may_chain_to = chains});
  if (!pair.works()) GTEST_SKIP() << "skipped: this host cannot translate";
  // mov ecx, 100; L: call F; dec ecx; jnz L; hlt; F: ret
  pair.run({0xb9, 0x64, 0, 0, 0, 0xe8, 0x05, 0, 0, 0, 0xff, 0xc9, 0x75, 0xf7, kHlt, 0xc3});
  EXPECT_GE(pair.statistics().entries, 100U);
  EXPECT_LT(pair.statistics().entries, 110U);
}

TEST_F(TranslatorTest, SwitchesInterruptsOnAndOff) {
  pair.set_gpr(kRsp, tiny::kStackTop);
  // mov ecx, 50; L: cli; pushf; pop rax; sti; pushf; pop rdx; dec ecx; jnz L; hlt
  pair.run({0xb9, 0x32, 0, 0, 0, 0xfa, 0x9c, 0x58, 0xfb, 0x9c, 0x5a, 0xff, 0xc9, 0x75, 0xf6, kHlt});
  EXPECT_EQ(pair.cpu().gpr[kRax] & rflags::kIf, 0U);
  EXPECT_NE(pair.cpu().gpr[kRdx] & rflags::kIf, 0U);
  EXPECT_LT(pair.statistics().interpreted, 20U);
}

TEST_F(TranslatorTest, LeavesWhereInterruptsAreEnabledThatSomebodyWaitsFor) {
  for (TestCpu* test : pair.both()) {
    test->cpu.rflags &= ~rflags::kIf;
    test->cpu.irq_window_wanted = true;
  }
  // mov ecx, 5; L: dec ecx; jnz L; sti; nop; nop; hlt
  pair.run({0xb9, 5, 0, 0, 0, 0xff, 0xc9, 0x75, 0xfc, 0xfb, 0x90, 0x90, kHlt});
  EXPECT_EQ(pair.cpu().rip, tiny::kCode + 11);
}

TEST_F(TranslatorTest, KeepsFlagsAcrossReturnsAndIndirectBranches) {
  pair.set_gpr(kRsp, tiny::kStackTop);
  // mov ebp, 40; L: mov eax, ebp; call F; adc ebx, 0; lea rdx, [rip+T]; cmp eax, 20; jmp rdx; int3; T: setl cl;
  // movzx ecx, cl; add esi, ecx; call F; lahf; add edi, eax; dec ebp; jnz L; hlt; F: cmp eax, 13; push rax; pop r8; ret
  pair.run({0xbd, 40,   0,    0,    0,    0x89, 0xe8, 0xe8, 0x29, 0,    0,    0,    0x83, 0xd3, 0,
            0x48, 0x8d, 0x15, 6,    0,    0,    0,    0x83, 0xf8, 20,   0xff, 0xe2, 0xcc, 0x0f, 0x9c,
            0xc1, 0x0f, 0xb6, 0xc9, 0x01, 0xce, 0xe8, 0x0c, 0,    0,    0,    0x9f, 0x01, 0xc7, 0xff,
            0xcd, 0x75, 0xd5, kHlt, 0x90, 0x90, 0x90, 0x90, 0x83, 0xf8, 13,   0x50, 0x41, 0x58, 0xc3});
  EXPECT_EQ(pair.cpu().gpr[kRbx], 12U);
  EXPECT_EQ(pair.cpu().gpr[kRsi], 19U);
}

// Nothing is in a jump cache where zeros are.
TEST_F(TranslatorTest, JumpsToAddressZero) {
  // mov word [0], JMP RBX; mov ebp, 40; L: lea rbx, [rip+X]; xor eax, eax; jmp rax; X: dec ebp; jnz L; hlt
  pair.run({0x66, 0xc7, 0x04, 0x25, 0, 0, 0,    0,    0xff, 0xe3, 0xbd, 40,   0,    0,    0,   0x48,
            0x8d, 0x1d, 4,    0,    0, 0, 0x31, 0xc0, 0xff, 0xe0, 0xff, 0xcd, 0x75, 0xf1, kHlt});
  EXPECT_EQ(pair.cpu().gpr[kRbp], 0U);
}

TEST_F(TranslatorTest, ReadsTheTimeStampCounter) {
  // mov ebp, 40; L: rdtsc; shl rdx, 32; or rax, rdx; cmp rax, rsi; jb BAD; mov rsi, rax; dec ebp; jnz L; xor eax, eax;
  // xor edx, edx; xor esi, esi; hlt; BAD: mov ebx, 1; hlt
  for (TestCpu* test : pair.both()) test->cpu.msrs.tsc_offset = 0x1234'5678'9abc - host_tsc();
  pair.run({0xbd, 40,   0,    0,    0,    0x0f, 0x31, 0x48, 0xc1, 0xe2, 32,   0x48, 0x09,
            0xd0, 0x48, 0x39, 0xf0, 0x72, 0x0e, 0x48, 0x89, 0xc6, 0xff, 0xcd, 0x75, 0xeb,
            0x31, 0xc0, 0x31, 0xd2, 0x31, 0xf6, kHlt, 0xbb, 1,    0,    0,    0,    kHlt});
  EXPECT_EQ(pair.cpu().gpr[kRbx], 0U);
  EXPECT_LT(pair.statistics().interpreted, 20U);
}

TEST_F(TranslatorTest, ReadsTheTimeStampCounterAndTheProcessorsNumber) {
  // mov ebp, 40; L: mov rcx, -1; rdtscp; shl rdx, 32; or rax, rdx; cmp rax, rsi; jb BAD; mov rsi, rax; add rbx, rcx;
  // dec ebp; jnz L; xor eax, eax; xor edx, edx; xor esi, esi; hlt; BAD: mov edi, 1; hlt
  for (TestCpu* test : pair.both()) {
    test->cpu.msrs.tsc_offset = 0x1234'5678'9abc - host_tsc();
    test->cpu.msrs.tsc_aux = 0x8000'1003;
  }
  pair.run({0xbd, 40,   0,    0,    0,    0x48, 0xc7, 0xc1, 0xff, 0xff, 0xff, 0xff, 0x0f, 0x01, 0xf9, 0x48, 0xc1,
            0xe2, 32,   0x48, 0x09, 0xd0, 0x48, 0x39, 0xf0, 0x72, 0x11, 0x48, 0x89, 0xc6, 0x48, 0x01, 0xcb, 0xff,
            0xcd, 0x75, 0xe0, 0x31, 0xc0, 0x31, 0xd2, 0x31, 0xf6, kHlt, 0xbf, 1,    0,    0,    0,    kHlt});
  EXPECT_EQ(pair.cpu().gpr[kRbx], 40 * std::uint64_t{0x8000'1003});
  EXPECT_EQ(pair.cpu().gpr[kRdi], 0U);
  EXPECT_LT(pair.statistics().interpreted, 20U);
}

TEST_F(TranslatorTest, KeepsFlagsAcrossPages) {
  constexpr std::size_t kPage = 0x1000;
  Code code(kPage + 0x20, 0x90);
  const auto put = [&](std::size_t at, const Code& bytes) {
    std::ranges::copy(bytes, code.begin() + static_cast<std::ptrdiff_t>(at));
  };
  // mov ebp, 40; L: cmp ebp, 17; jb FAR; jmp END; ... END: cmp ebp, 30; ADC over the page's end; FAR: adc ebx, 0;
  // dec ebp; jnz L; hlt
  put(0, {0xbd, 40, 0, 0, 0, 0x83, 0xfd, 17, 0x0f, 0x82, 0xf5, 0x0f, 0, 0, 0xe9, 0xe8, 0x0f, 0, 0});
  put(kPage - 5, {0x83, 0xfd, 30, 0x83, 0xd6, 0});
  put(kPage + 3, {0x83, 0xd3, 0, 0xff, 0xcd, 0x0f, 0x85, 0xf7, 0xef, 0xff, 0xff, kHlt});
  pair.run(code);
  EXPECT_EQ(pair.cpu().gpr[kRbx], 16U);
  EXPECT_EQ(pair.cpu().gpr[kRsi], 13U);
  EXPECT_LT(pair.statistics().link_exits, 20U);
}

TEST_F(TranslatorTest, MovesAndStoresStrings) {
  pair.set_gpr(kRbx, kDataPage);
  // mov ebp, 40; L: mov rsi, rbx; lea rdi, [rbx+0x801]; mov ecx, 37; rep movsb; mov ecx, 5; rep stosq; movsd; stosw;
  // rep movsw; add rax, rdi; dec ebp; jnz L; hlt
  pair.run({0xbd, 40,   0,    0,    0,    0x48, 0x89, 0xde, 0x48, 0x8d, 0xbb, 0x01, 0x08, 0,    0,
            0xb9, 37,   0,    0,    0,    0xf3, 0xa4, 0xb9, 5,    0,    0,    0,    0xf3, 0x48, 0xab,
            0xa5, 0x66, 0xab, 0xf3, 0x66, 0xa5, 0x48, 0x01, 0xf8, 0xff, 0xcd, 0x75, 0xda, kHlt});
  EXPECT_LT(pair.statistics().interpreted, 40U);
}

TEST_F(TranslatorTest, LeavesStringsOverPagesBackwardsAndWithFlagsInUse) {
  pair.set_gpr(kRbx, kDataPage);
  // mov ebp, 40; L: mov rsi, rbx; lea rdi, [rbx+0xff0]; mov ecx, 32; cmp eax, ebx; rep movsb; adc eax, 1; mov ecx, 9;
  // lea rdi, [rbx+0x100]; std; rep stosb; cld; dec ebp; jnz L; hlt
  pair.run({0xbd, 40,   0,    0,    0,    0x48, 0x89, 0xde, 0x48, 0x8d, 0xbb, 0xf0, 0x0f, 0,    0,    0xb9,
            32,   0,    0,    0,    0x39, 0xd8, 0xf3, 0xa4, 0x83, 0xd0, 0x01, 0xb9, 9,    0,    0,    0,
            0x48, 0x8d, 0xbb, 0x00, 0x01, 0,    0,    0xfd, 0xf3, 0xaa, 0xfc, 0xff, 0xcd, 0x75, 0xd6, kHlt});
}

TEST_F(TranslatorTest, StoresMxcsr) {
  pair.set_gpr(kRbx, kDataPage);
  // mov ecx, 20; L: stmxcsr [rbx]; divss xmm0, xmm1; stmxcsr [rbx+4]; pause; dec ecx; jnz L; hlt
  pair.run({0xb9, 20,   0,    0,    0,    0x0f, 0xae, 0x1b, 0xf3, 0x0f, 0x5e, 0xc1,
            0x0f, 0xae, 0x5b, 0x04, 0xf3, 0x90, 0xff, 0xc9, 0x75, 0xef, kHlt});
  EXPECT_EQ(pair.both()[1]->peek<std::uint32_t>(kDataPage + 4), 0x1f81U) << "0 / 0 is invalid";
  EXPECT_LT(pair.statistics().interpreted, 10U);
}

// FLD's is the operand, though FMUL is the last instruction, and translated code is left in between.
TEST_F(TranslatorTest, KeepsThePointersOfX87) {
  pair.set_gpr(kRbx, kDataPage);
  pair.set_gpr(kR10, 8);
  // mov ebp, 40; L: fninit; fld qword [rbx+r10*2+8]; sidt [rbx]; fmul st0, st0; sidt [rbx]; dec ebp; jnz L; hlt
  pair.run({0xbd, 40,   0,    0,    0,    0xdb, 0xe3, 0x42, 0xdd, 0x44, 0x53, 0x08, 0x0f,
            0x01, 0x0b, 0xdc, 0xc8, 0x0f, 0x01, 0x0b, 0xff, 0xcd, 0x75, 0xed, kHlt});
  const FpuState& fpu = pair.cpu().fpu;
  EXPECT_EQ(fpu.legacy_field<std::uint64_t>(FpuState::kFip), tiny::kCode + 15);
  EXPECT_EQ(fpu.legacy_field<std::uint16_t>(FpuState::kFop), 0x4c8U);
  EXPECT_EQ(fpu.legacy_field<std::uint64_t>(FpuState::kFdp), kDataPage + 24);
  pair.run({0xd9, 0xe8, 0xdb, 0xe3, kHlt});  // fld1; fninit; hlt
  EXPECT_EQ(fpu.legacy_field<std::uint64_t>(FpuState::kFip), 0U);
  EXPECT_EQ(fpu.legacy_field<std::uint64_t>(FpuState::kFdp), 0U);
  pair.run({0xd9, 0xe8, 0xd8, 0x63, 0x04, 0xdb, 0xe2, kHlt});  // fld1; fsub dword [rbx+4]; fnclex; hlt
  EXPECT_EQ(fpu.legacy_field<std::uint64_t>(FpuState::kFip), tiny::kCode + 2);
  EXPECT_EQ(fpu.legacy_field<std::uint64_t>(FpuState::kFdp), kDataPage + 4);
}

TEST(LookupsTest, AreCountedIfAsked) {
  for (const bool counts : {false, true})
    for (const bool hot : {false, true}) {
      Pair pair(tiny::Mode::kLong64,
                {.code_size = std::size_t{1} << 20U, .threshold = 0, .count_lookups = counts, .all_hot = hot});
      if (!pair.works()) GTEST_SKIP() << "skipped: this host cannot translate";
      pair.set_gpr(kRbx, kDataPage);
      pair.set_gpr(kRsp, tiny::kStackTop);
      // mov ecx, 100; L: cmp eax, ecx; mov rdx, [rbx+rcx]; adc rdx, [rip+0x1000]; call F; mov rsi, rbx; mov rdi, rsi;
      // cmpsb; dec ecx; jnz L; hlt; F: ret
      pair.run({0xb9, 100,  0, 0, 0, 0x39, 0xc8, 0x48, 0x8b, 0x14, 0x0b, 0x48, 0x13, 0x15, 0x00, 0x10, 0,    0,
                0xe8, 0x0c, 0, 0, 0, 0x48, 0x89, 0xde, 0x48, 0x89, 0xf7, 0xa6, 0xff, 0xc9, 0x75, 0xe3, kHlt, 0xc3});
      const Translator::Statistics statistics = pair.statistics();
      const auto lookups = [&](ExitSite site) { return statistics.counts.lookups.at(static_cast<std::size_t>(site)); };
      const std::uint64_t least = counts ? 98 : 0;  // the first ones miss the translation
      const std::uint64_t most = counts ? 110 : 0;
      for (const ExitSite site : {ExitSite::kPlain, ExitSite::kRipRelative}) {
        EXPECT_GE(lookups(site), least) << static_cast<int>(site);
        EXPECT_LE(lookups(site), most) << static_cast<int>(site);
      }
      EXPECT_GE(statistics.counts.returns, least);
      EXPECT_LE(statistics.counts.returns, most);
      EXPECT_LE(statistics.counts.return_misses, most - least);
      EXPECT_GE(lookups(ExitSite::kString), 2 * least);
      EXPECT_LE(lookups(ExitSite::kString), 2 * most);
      EXPECT_EQ(statistics.counts.site_lookups != 0, counts && hot);
      EXPECT_EQ(describe(statistics).contains("jump cache"), counts);
    }
}

TEST_F(TranslatorTest, ForgetsBlocksInARowWithAnyOfThem) {
  pair.set_gpr(kRbx, tiny::kCode);
  // mov ecx, 20; L: test ecx, ecx; jz M; inc byte [rbx+18]; dec ecx; jmp P; M: hlt; P: add al, 1; jmp L. It is the
  // number in ADD that INC changes.
  pair.run({0xb9, 20,   0,    0,    0,    0x85, 0xc9, 0x74, 0x07, 0xfe, 0x43,
            0x12, 0xff, 0xc9, 0xeb, 0x01, kHlt, 0x04, 0x01, 0xeb, 0xf0});
  EXPECT_EQ(pair.cpu().gpr[kRax] & 0xff, 230U);  // 2 + 3 + ... + 21
}

// --- Random instructions ---

unsigned iterations() {
  const char* wanted = std::getenv("DOPPEL_TEST_CASES");
  return wanted != nullptr ? static_cast<unsigned>(std::strtoul(wanted, nullptr, 10)) : 10000;
}

class RandomCode {
 public:
  RandomCode(std::uint64_t seed, bool is_long) : random_(seed) {
    ZydisDecoderInit(&decoder_, is_long ? ZYDIS_MACHINE_MODE_LONG_64 : ZYDIS_MACHINE_MODE_LEGACY_32,
                     is_long ? ZYDIS_STACK_WIDTH_64 : ZYDIS_STACK_WIDTH_32);
  }

  std::uint64_t number() { return random_(); }
  /// Registers that often address data, near the ends of pages too.
  std::uint64_t value() {
    const std::uint64_t random = random_();
    switch (random >> 60U) {
      case 0:
      case 1: return random % 64;
      case 2: return random;
      case 3: return std::uint64_t{0} - random % 64;
      case 4:
      case 5: return kDataPage + 0x1000 - random % 72;
      default: return kDataPage + random % 0x1000;
    }
  }
  void begin_case() { undefined_flags_ = 0; }
  /// Flags that the instructions since left undefined.
  [[nodiscard]] std::uint64_t undefined_flags() const { return undefined_flags_; }
  Code instruction() {
    for (;;) {
      Code code(ZYDIS_MAX_INSTRUCTION_LENGTH);
      for (std::uint8_t& byte : code) byte = static_cast<std::uint8_t>(random_());
      steer(code);
      ZydisDecodedInstruction zydis;
      std::array<ZydisDecodedOperand, ZYDIS_MAX_OPERAND_COUNT> operands;
      if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder_, code.data(), code.size(), &zydis, operands.data()))) continue;
      if (!is_wanted(zydis) || is_far(zydis, operands) || !keeps_to_defined_flags(zydis)) continue;
      code.resize(zydis.length);
      return code;
    }
  }

 private:
  void steer(Code& code) {
    std::size_t at = 0;
    if (random_() % 4 == 0) code[at++] = 0x66;
    if (random_() % 16 == 0) code[at++] = 0xf0;
    switch (random_() % 9) {
      case 0: code[at++] = 0x0f; break;
      case 8: code[at] = static_cast<std::uint8_t>(0xd8U + random_() % 8); break;
      case 1: code[at] = 0x62; break;
      case 2: code[at] = static_cast<std::uint8_t>(0xc4U + random_() % 2); break;
      case 3:
      case 4:
      case 5: code[at++] = static_cast<std::uint8_t>(0x40U | random_() % 16); break;
      default: break;
    }
  }
  /// Most accesses shall be close to others, by few registers.
  bool is_far(const ZydisDecodedInstruction& zydis, std::span<const ZydisDecodedOperand> operands) {
    if (random_() % 4 == 0) return false;
    for (const ZydisDecodedOperand& operand : operands.first(zydis.operand_count_visible)) {
      if (operand.type != ZYDIS_OPERAND_TYPE_MEMORY) continue;
      const auto base = ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, operand.mem.base);
      const bool common = base == ZYDIS_REGISTER_RBX || base == ZYDIS_REGISTER_RSP || base == ZYDIS_REGISTER_RBP ||
                          base == ZYDIS_REGISTER_R10;
      if (!common || operand.mem.disp.value > 255 || operand.mem.disp.value < -256) return true;
    }
    return false;
  }
  static bool is_wanted(const ZydisDecodedInstruction& zydis) {
    switch (zydis.meta.category) {
      case ZYDIS_CATEGORY_INTERRUPT:
      case ZYDIS_CATEGORY_SYSTEM:
      case ZYDIS_CATEGORY_IO:
      case ZYDIS_CATEGORY_IOSTRINGOP:
      case ZYDIS_CATEGORY_SYSCALL:
      case ZYDIS_CATEGORY_SYSRET:
      case ZYDIS_CATEGORY_RDRAND:
      case ZYDIS_CATEGORY_RDSEED:
      case ZYDIS_CATEGORY_SEGOP:
      case ZYDIS_CATEGORY_COND_BR:
      case ZYDIS_CATEGORY_UNCOND_BR:
      case ZYDIS_CATEGORY_CALL:
      case ZYDIS_CATEGORY_RET:
      case ZYDIS_CATEGORY_XSAVE:
      case ZYDIS_CATEGORY_XSAVEOPT: return false;
      default: break;
    }
    // Those show the address of x87's last operand.
    for (const ZydisMnemonic mnemonic :
         {ZYDIS_MNEMONIC_FXSAVE, ZYDIS_MNEMONIC_FXSAVE64, ZYDIS_MNEMONIC_FNSAVE, ZYDIS_MNEMONIC_FNSTENV})
      if (zydis.mnemonic == mnemonic) return false;
    return zydis.mnemonic != ZYDIS_MNEMONIC_RDTSC && zydis.mnemonic != ZYDIS_MNEMONIC_RDTSCP &&
           zydis.mnemonic != ZYDIS_MNEMONIC_HLT && zydis.mnemonic != ZYDIS_MNEMONIC_STI &&
           zydis.mnemonic != ZYDIS_MNEMONIC_POPFQ && zydis.mnemonic != ZYDIS_MNEMONIC_RDPMC &&
           zydis.mnemonic != ZYDIS_MNEMONIC_POPF && zydis.mnemonic != ZYDIS_MNEMONIC_POPFD &&
           zydis.mnemonic != ZYDIS_MNEMONIC_STD && zydis.mnemonic != ZYDIS_MNEMONIC_ENTER;
  }

  /// Undefined flags may be others where what comes before is done another way.
  bool keeps_to_defined_flags(const ZydisDecodedInstruction& zydis) {
    if (zydis.cpu_flags == nullptr) return true;
    const ZydisAccessedFlags& flags = *zydis.cpu_flags;
    if ((flags.tested & undefined_flags_) != 0) return false;
    const bool may_do_nothing =
        zydis.meta.category == ZYDIS_CATEGORY_SHIFT || zydis.meta.category == ZYDIS_CATEGORY_ROTATE;
    if (!may_do_nothing) undefined_flags_ &= ~std::uint64_t{flags.modified | flags.set_0 | flags.set_1};
    undefined_flags_ |= flags.undefined;
    return true;
  }

  std::uint64_t undefined_flags_ = 0;
  std::mt19937_64 random_;
  ZydisDecoder decoder_{};
};

std::string text_of(const Code& code, ZydisMachineMode mode) {
  std::string text;
  for (std::size_t at = 0; at < code.size();) {
    ZydisDisassembledInstruction line;
    if (!ZYAN_SUCCESS(ZydisDisassembleIntel(mode, tiny::kCode + at, code.data() + at, code.size() - at, &line))) break;
    text += std::string(line.text) + "\n";
    at += line.info.length;
  }
  return text;
}

/// The mode, and whether all code is translated as hot code is.
class RandomCodeTest : public TranslatorTest, public testing::WithParamInterface<std::pair<tiny::Mode, bool>> {
 protected:
  RandomCodeTest() : TranslatorTest(GetParam().first, GetParam().second) {}
  [[nodiscard]] bool is_long() const { return GetParam().first == tiny::Mode::kLong64; }
  void run_case();
  void set_registers();
  void set_x87();

  const std::uint64_t seed_ = test_seed(1);
  RandomCode random_{seed_, is_long()};
};

void RandomCodeTest::set_registers() {
  std::array<std::uint64_t, kGprCount> gpr{};
  for (std::uint64_t& value : gpr) value = random_.value();
  gpr[kRsp] = tiny::kStackTop - 128 - random_.number() % 64;
  const std::uint64_t flags = (random_.number() & rflags::kArithmetic) | rflags::kFixed;
  for (TestCpu* test : pair.both()) {
    test->cpu.gpr = gpr;
    test->cpu.rflags = flags;
  }
  FpuState& fpu = pair.both()[0]->cpu.fpu;
  for (auto& vector : fpu.vector) {
    const std::uint64_t bits = random_.number();
    std::memcpy(vector.data() + random_.number() % 8 * 8, &bits, sizeof bits);
  }
  if (random_.number() % 4 == 0) set_x87();
  pair.both()[1]->cpu.fpu = fpu;
}

/// Exceptions masked, mostly; registers that hold integers, at times something else.
void RandomCodeTest::set_x87() {
  FpuState& fpu = pair.both()[0]->cpu.fpu;
  fpu.init_x87();
  const auto random = random_.number();
  fpu.set_x87_words(static_cast<std::uint16_t>(random % 8 == 0 ? random >> 32U : 0x37f),
                    static_cast<std::uint16_t>(random >> 48U & 0x3800U));
  fpu.set_legacy_field(FpuState::kFtw, static_cast<std::uint8_t>(random >> 16U));
  for (unsigned n = 0; n < 8; ++n) {
    fpu.set_legacy_field(FpuState::kSt0 + 16 * n, random_.number() | std::uint64_t{1} << 63U);
    fpu.set_legacy_field(FpuState::kSt0 + 16 * n + 8,
                         static_cast<std::uint16_t>(random_.number() % 8 == 0 ? random_.number() : 0x4000));
  }
}

void RandomCodeTest::run_case() {
  pair.restart();
  Code code;
  random_.begin_case();
  for (auto count = 1 + random_.number() % 20; count > 0; --count) {
    const Code one = random_.instruction();
    code.insert(code.end(), one.begin(), one.end());
  }
  code.push_back(kHlt);
  for (std::uint64_t at = kDataPage - 64; at < kDataPage + 0x1040; at += 64)
    pair.poke<std::uint64_t>(at + random_.number() % 7 * 8, random_.value());
  set_registers();
  pair.run(code, tiny::kCode + random_.number() % 2 * (0x1000 - 20), random_.undefined_flags());
  if (!HasFailure()) return;
  ADD_FAILURE() << text_of(code, is_long() ? ZYDIS_MACHINE_MODE_LONG_64 : ZYDIS_MACHINE_MODE_LEGACY_32);
}

TEST_P(RandomCodeTest, AgreesWithTheInterpreter) {
  std::cout << "seed " << seed_ << std::endl;
  for (unsigned i = 0; i < iterations(); ++i) {
    run_case();
    ASSERT_FALSE(HasFailure()) << "seed " << seed_ << ", case " << i;
  }
  EXPECT_GT(pair.statistics().translations, iterations() / 2);
  constexpr unsigned kEnoughToFillTheCodeMemory = 5000;
  if (iterations() < kEnoughToFillTheCodeMemory) return;
  EXPECT_GT(pair.statistics().evictions, CodeRegions::kRegions);
}

INSTANTIATE_TEST_SUITE_P(Modes, RandomCodeTest,
                         testing::Values(std::pair(tiny::Mode::kLong64, false),
                                         std::pair(tiny::Mode::kProtected32, false),
                                         std::pair(tiny::Mode::kLong64, true),
                                         std::pair(tiny::Mode::kProtected32, true)),
                         [](const auto& parameter) {
                           return std::string(parameter.param.first == tiny::Mode::kLong64 ? "Long64" : "Protected32") +
                                  (parameter.param.second ? "Hot" : "");
                         });

}  // namespace
}  // namespace doppel::accel::soft
