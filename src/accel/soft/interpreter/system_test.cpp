// System instructions, run by the interpreter.
#include <gtest/gtest.h>

#include "accel/soft/interpreter/cpuid.h"
#include "accel/soft/interpreter/test_cpu.h"
#include "x86/msr.h"

namespace doppel::accel::soft {
namespace {

using tiny::Mode;
using namespace x86;

constexpr std::uint8_t kHlt = 0xf4;
using Code = std::vector<std::uint8_t>;

/// Makes exceptions with VECTOR end in a handler that stays where it is.
void catch_vector(TestCpu& test, std::uint8_t vector) {
  test.catch_vector(vector);
  test.poke<std::uint16_t>(tiny::kHandler, 0xfeeb);  // jmp $
}

/// Does CODE's first instruction raise VECTOR?
bool raises(TestCpu& test, std::uint8_t vector, const Code& code) {
  catch_vector(test, vector);
  test.run(code);
  return test.cpu.rip == tiny::kHandler;
}
bool raises(Mode mode, std::uint8_t vector, const Code& code) {
  TestCpu test(mode);
  return raises(test, vector, code);
}

TEST(SystemTest, MovControlRegister) {
  TestCpu test(Mode::kLong64);
  test.cpu.gpr[kRbx] = 0x1234'5678'9abc'def0;
  test.run({0x0f, 0x22, 0xd3, 0x0f, 0x20, 0xd1}, 2);  // mov cr2, rbx; mov rcx, cr2
  EXPECT_EQ(test.cpu.gpr[kRcx], 0x1234'5678'9abc'def0U);
  test.run({0x41, 0x0f, 0x20, 0xdf});  // mov r15, cr3
  EXPECT_EQ(test.cpu.gpr[kR15], tiny::kPml4);
  test.cpu.gpr[kRax] = 7;
  test.run({0x44, 0x0f, 0x22, 0xc0, 0x44, 0x0f, 0x20, 0xc2}, 2);  // mov cr8, rax; mov rdx, cr8
  EXPECT_EQ(test.cpu.gpr[kRdx], 7U);
}

TEST(SystemTest, MovControlRegisterIn32BitCode) {
  TestCpu test(Mode::kProtected32);
  test.cpu.gpr[kRcx] = ~std::uint64_t{0};
  test.run({0x66, 0x0f, 0x20, 0xc1});  // mov ecx, cr0; the prefix means nothing
  EXPECT_EQ(test.cpu.gpr[kRcx], test.cpu.cr0);
}

TEST(SystemTest, NoSuchControlOrDebugRegister) {
  for (const std::uint8_t modrm : Code{0xc8, 0xe8, 0xf0, 0xf8})  // cr1, cr5, cr6, cr7
    EXPECT_TRUE(raises(Mode::kLong64, kInvalidOpcode, {0x0f, 0x20, modrm}));
  EXPECT_TRUE(raises(Mode::kLong64, kInvalidOpcode, {0x44, 0x0f, 0x20, 0xc8}));  // cr9
  EXPECT_TRUE(raises(Mode::kLong64, kInvalidOpcode, {0x44, 0x0f, 0x21, 0xc0}));  // dr8
}

TEST(SystemTest, PrivilegedInstructionsAtCpl3) {
  const std::vector<Code> privileged = {
      {0x0f, 0x20, 0xc0},              // mov rax, cr0
      {0x0f, 0x22, 0xd0},              // mov cr2, rax
      {0x0f, 0x21, 0xc0},              // mov rax, dr0
      {0x0f, 0x06},                    // clts
      {0x0f, 0x01, 0xf0},              // lmsw ax
      {0x0f, 0x01, 0x3f},              // invlpg [rdi]
      {0x66, 0x0f, 0x38, 0x82, 0x07},  // invpcid rax, [rdi]
      {0x0f, 0x32},                    // rdmsr
      {0x0f, 0x30},                    // wrmsr
      {0x0f, 0x33},                    // rdpmc
      {0x0f, 0x08},                    // invd
      {0x0f, 0x09},                    // wbinvd
      {kHlt},
  };
  for (const Code& code : privileged)
    EXPECT_TRUE(raises(Mode::kUser64, kGeneralProtection, code)) << testing::PrintToString(code);
}

TEST(SystemTest, UndefinedInstructions) {
  const std::vector<Code> undefined = {
      {0x0f, 0x01, 0xc1},  // vmcall
      {0x0f, 0x01, 0xd8},  // vmrun
      {0x0f, 0x01, 0xdc},  // stgi
      {0x0f, 0x37},        // getsec
      {0x0f, 0xaa},        // rsm
      {0x0f, 0x01, 0xcf},  // encls
  };
  for (const Code& code : undefined) {
    TestCpu test(Mode::kLong64);
    test.cpu.features.set_word(FeatureWord::kKvmEax, 0);
    EXPECT_TRUE(raises(test, kInvalidOpcode, code)) << testing::PrintToString(code);
  }
}

TEST(SystemTest, DebugRegistersHaveAliasesWithoutDe) {
  TestCpu test(Mode::kLong64);
  test.cpu.gpr[kRax] = 0;
  test.run({0x0f, 0x23, 0xe0, 0x0f, 0x21, 0xf3}, 2);  // mov dr4, rax; mov rbx, dr6
  EXPECT_EQ(test.cpu.gpr[kRbx], 0xffff0ff0U);
  test.cpu.cr4 |= cr4::kDe;
  EXPECT_TRUE(raises(test, kInvalidOpcode, {0x0f, 0x21, 0xe3}));  // mov rbx, dr4
}

TEST(SystemTest, GeneralDetect) {
  TestCpu test(Mode::kLong64);
  test.cpu.dr7 |= dr7::kGd;
  EXPECT_TRUE(raises(test, kDebug, {0x0f, 0x21, 0xc3}));  // mov rbx, dr0
  EXPECT_NE(test.cpu.dr6 & dr6::kBd, 0U);
  EXPECT_EQ(test.cpu.dr7 & dr7::kGd, 0U);
  EXPECT_EQ(test.peek<std::uint64_t>(test.cpu.gpr[kRsp]), tiny::kCode) << "a fault";
}

TEST(SystemTest, MachineStatusWord) {
  TestCpu test(Mode::kProtected32);
  test.cpu.gpr[kRax] = 0xfff8;  // PE clear, TS set
  test.run({0x0f, 0x01, 0xf0});
  EXPECT_EQ(test.cpu.cr0 & 0xf, cr0::kPe | cr0::kTs);
  test.run({0x0f, 0x06});  // clts
  EXPECT_EQ(test.cpu.cr0 & cr0::kTs, 0U);
  test.run({0x0f, 0x01, 0xe1});  // smsw ecx
  EXPECT_EQ(test.cpu.gpr[kRcx], test.cpu.cr0);
  test.cpu.gpr[kRdi] = tiny::kData;
  test.poke<std::uint32_t>(tiny::kData, 0xffff'ffff);
  test.run({0x0f, 0x01, 0x27});  // smsw [edi]
  EXPECT_EQ(test.peek<std::uint32_t>(tiny::kData), 0xffff'0000U | (test.cpu.cr0 & 0xffff));
}

TEST(SystemTest, UserModeInstructionPrevention) {
  TestCpu test(Mode::kUser64);
  test.run({0x0f, 0x01, 0xe1});
  EXPECT_EQ(test.cpu.gpr[kRcx], test.cpu.cr0);
  test.cpu.cr4 |= cr4::kUmip;
  EXPECT_TRUE(raises(test, kGeneralProtection, {0x0f, 0x01, 0xe1}));
}

TEST(SystemTest, InvlpgForgetsOneTranslation) {
  constexpr std::uint64_t kLinear = std::uint64_t{5} << 30U;
  constexpr std::uint64_t kEntry = tiny::kPml4 + 0x1000 + 5 * 8;
  TestCpu test(Mode::kLong64);
  const std::uint64_t directory = 0x30000, first = 0x200000, second = 0;
  test.poke<std::uint64_t>(kEntry, directory | 7);
  test.poke<std::uint64_t>(directory, first | 0x87);
  test.poke<std::uint8_t>(first, 1);
  test.poke<std::uint8_t>(tiny::kData, 2);
  test.cpu.gpr[kRdi] = kLinear;
  test.run({0x8a, 0x07});  // mov al, [rdi]
  EXPECT_EQ(test.cpu.gpr[kRax] & 0xff, 1U);
  test.poke<std::uint64_t>(directory, second | 0x87);
  test.run({0x0f, 0x01, 0x3f, 0x8a, 0x87, 0x00, 0x80, 0x00, 0x00}, 2);  // invlpg [rdi]; mov al, [rdi + 0x8000]
  EXPECT_EQ(test.cpu.gpr[kRax] & 0xff, 2U);
}

TEST(SystemTest, InvpcidChecksItsDescriptor) {
  const Code code = {0x66, 0x0f, 0x38, 0x82, 0x07};  // invpcid rax, [rdi]
  struct Row {
    std::uint64_t type, low, high;
    bool fine;
  };
  for (const Row& row :
       {Row{0, 0, 0x1000, true}, Row{1, 0, 0, true}, Row{2, 0, 0, true}, Row{3, 0xfff, 0, true}, Row{4, 0, 0, false},
        Row{1, 5, 0, false}, Row{0, 0x1000, 0, false}, Row{0, 0, 0x1234'5678'9abc'def0, false}}) {
    TestCpu test(Mode::kLong64);
    test.cpu.gpr[kRax] = row.type;
    test.cpu.gpr[kRdi] = tiny::kData;
    test.poke(tiny::kData, row.low);
    test.poke(tiny::kData + 8, row.high);
    EXPECT_EQ(raises(test, kGeneralProtection, code), !row.fine) << row.type << ' ' << row.low;
  }
}

TEST(SystemTest, CpuidFollowsWhatIsSwitchedOn) {
  TestCpu test(Mode::kLong64);
  test.cpu.cpuid = {{.leaf = 0, .subleaf = {}, .eax = 0xd, .ebx = 0x756e6547, .ecx = 0, .edx = 0},
                    {.leaf = 1, .subleaf = {}, .eax = 0x663, .ebx = 1, .ecx = 0, .edx = 3},
                    {.leaf = 0xd, .subleaf = 0, .eax = 7, .ebx = 0, .ecx = 832, .edx = 0},
                    {.leaf = 0xd, .subleaf = 1, .eax = 0xf, .ebx = 0, .ecx = 0, .edx = 0},
                    {.leaf = 0xd, .subleaf = 2, .eax = 256, .ebx = 576, .ecx = 0, .edx = 0}};
  test.cpu.gpr[kRax] = 0xffff'ffff'0000'0001;
  test.run({0x0f, 0xa2});
  EXPECT_EQ(test.cpu.gpr[kRax], 0x663U);
  EXPECT_EQ(test.cpu.gpr[kRcx], 0U);
  test.cpu.cr4 |= cr4::kOsxsave;
  EXPECT_EQ(cpuid(test.cpu, 1, 0).ecx, 1U << 27U);
  test.cpu.xcr0 = 3;
  EXPECT_EQ(cpuid(test.cpu, 0xd, 0).ebx, 576U);
  test.cpu.xcr0 = 7;
  EXPECT_EQ(cpuid(test.cpu, 0xd, 0).ebx, 832U);
  EXPECT_EQ(cpuid(test.cpu, 0xd, 1).ebx, 832U);
  EXPECT_EQ(cpuid(test.cpu, 5, 0).eax, 0U);
  EXPECT_EQ(cpuid(test.cpu, 0x1234, 2).eax, 256U) << "beyond the last leaf, the last one answers";
  test.cpu.cpuid[0].ebx = 0x68747541;
  EXPECT_EQ(cpuid(test.cpu, 0x1234, 2).eax, 0U) << "but not AMD's";
}

TEST(SystemTest, TimeStampCounter) {
  TestCpu test(Mode::kUser64);
  test.cpu.msrs.tsc_aux = 0x1234;
  const std::uint64_t before = guest_tsc(test.cpu);
  test.run({0x0f, 0x01, 0xf9});  // rdtscp
  const std::uint64_t value = test.cpu.gpr[kRdx] << 32U | test.cpu.gpr[kRax];
  EXPECT_GE(value, before);
  EXPECT_LE(value, guest_tsc(test.cpu));
  EXPECT_EQ(test.cpu.gpr[kRcx], 0x1234U);
  test.run({0xf3, 0x0f, 0xc7, 0xfb});  // rdpid rbx
  EXPECT_EQ(test.cpu.gpr[kRbx], 0x1234U);
  test.cpu.cr4 |= cr4::kTsd;
  EXPECT_TRUE(raises(test, kGeneralProtection, {0x0f, 0x31}));  // rdtsc
}

TEST(SystemTest, MsrsOfTheOutside) {
  TestCpu test(Mode::kLong64);
  test.cpu.machine.msr_exits.indexes = {msr::kApicBase};
  test.cpu.gpr[kRcx] = msr::kApicBase;
  ASSERT_EQ(test.run({0x0f, 0x32}), StopReason::kBus);  // rdmsr
  EXPECT_EQ(test.cpu.bus.pending().kind, BusAccess::Kind::kMsr);
  EXPECT_EQ(test.cpu.bus.pending().address, msr::kApicBase);
  test.cpu.bus.pending().value = 0x1122'3344'5566'7788;
  test.cpu.bus.answered();
  test.resume(1);
  EXPECT_EQ(test.cpu.gpr[kRax], 0x5566'7788U);
  EXPECT_EQ(test.cpu.gpr[kRdx], 0x1122'3344U);
  catch_vector(test, kGeneralProtection);
  ASSERT_EQ(test.run({0x0f, 0x30}), StopReason::kBus);  // wrmsr
  EXPECT_EQ(test.cpu.bus.pending().value, 0x1122'3344'5566'7788U);
  test.cpu.bus.pending().fault = 1;
  test.cpu.bus.answered();
  test.resume(1);
  EXPECT_EQ(test.cpu.rip, tiny::kHandler);
}

TEST(SystemTest, UnknownMsrs) {
  TestCpu test(Mode::kLong64);
  test.cpu.gpr[kRcx] = 0x1234'5678;
  EXPECT_TRUE(raises(test, kGeneralProtection, {0x0f, 0x32}));
  test.start(tiny::kCode);
  test.cpu.gpr[kRcx] = 0x1234'5678;
  test.cpu.machine.msr_exits.unknown = true;
  EXPECT_EQ(test.run({0x0f, 0x32}), StopReason::kBus);
}

TEST(SystemTest, MonitorAndMwait) {
  TestCpu test(Mode::kLong64);
  test.cpu.gpr[kRax] = tiny::kData;
  EXPECT_EQ(test.run({0x0f, 0x01, 0xc8, 0x0f, 0x01, 0xc9}, 2), StopReason::kBudget);
  EXPECT_EQ(test.cpu.rip, tiny::kCode + 6);
  test.start(tiny::kCode);
  test.cpu.gpr[kRcx] = 1;
  EXPECT_TRUE(raises(test, kGeneralProtection, {0x0f, 0x01, 0xc9}));
  test.start(tiny::kCode);
  test.cpu.features.set(feature::kMonitor, false);
  EXPECT_TRUE(raises(test, kInvalidOpcode, {0x0f, 0x01, 0xc9}));
}

TEST(SystemTest, AccessPreventionIsSuspended) {
  TestCpu test(Mode::kLong64);
  test.cpu.cr4 |= cr4::kSmap;
  test.cpu.update_mode();
  test.run({0x0f, 0x01, 0xcb});  // stac
  EXPECT_TRUE(test.cpu.flag(rflags::kAc));
  EXPECT_EQ(test.cpu.mmu_index, MmuIndex::kSupervisorAc);
  test.run({0x0f, 0x01, 0xca});  // clac
  EXPECT_FALSE(test.cpu.flag(rflags::kAc));
  EXPECT_EQ(test.cpu.mmu_index, MmuIndex::kSupervisor);
  EXPECT_TRUE(raises(Mode::kUser64, kInvalidOpcode, {0x0f, 0x01, 0xcb}));
}

TEST(SystemTest, CacheLinesAreReadable) {
  TestCpu test(Mode::kLong64);
  test.cpu.gpr[kRdi] = tiny::kData;
  EXPECT_EQ(test.run({0x0f, 0xae, 0x3f, 0x66, 0x0f, 0xae, 0x3f}, 2), StopReason::kBudget);  // clflush, clflushopt
  test.cpu.gpr[kRdi] = std::uint64_t{5} << 30U;
  EXPECT_TRUE(raises(test, kPageFault, {0x0f, 0xae, 0x3f}));
  EXPECT_EQ(test.cpu.cr2, std::uint64_t{5} << 30U);
}

}  // namespace
}  // namespace doppel::accel::soft
