#include "x86/cpu_reset.h"

#include "base/endian.h"
#include "x86/cpu_format.h"
#include "x86/descriptor.h"
#include "x86/msr.h"
#include "x86/registers.h"

namespace doppel::x86 {
namespace {

constexpr std::array<std::uint32_t, 6> kMsrs = {msr::kStar,       msr::kPat, msr::kApicBase,
                                                msr::kMiscEnable, msr::kTsc, msr::kEfer};

ResetParameters parameters(std::uint32_t apic_id = 0) {
  return {.signature = 0x60fb1, .apic_id = apic_id, .msrs = kMsrs};
}

TEST(CpuReset, BeginsAtTheResetVector) {
  const CpuState state = reset_state(parameters());
  const Segment& cs = state.segment.at(kCs);
  EXPECT_EQ(cs.base + state.rip, 0xfffffff0U);
  EXPECT_EQ(cs.selector, 0xf000);
  EXPECT_EQ(segment_attributes(cs), 0x9b00U);
  EXPECT_EQ(state.segment.at(kDs), real_mode_segment(0));
  EXPECT_EQ(segment_attributes(state.ldt), 0x8200U);
  EXPECT_EQ(segment_attributes(state.tr), 0x8b00U);
  EXPECT_EQ(state.gpr.at(kRdx), 0x60fb1U);
  EXPECT_EQ(state.rflags, 2U);
  EXPECT_EQ(state.cr0, 0x60000010U);
  EXPECT_EQ(state.dr6, 0xffff0ff0U);
  EXPECT_EQ(state.dr7, 0x400U);
  EXPECT_EQ(state.idt.limit, 0xffff);
}

TEST(CpuReset, OnlyTheFirstProcessorRuns) {
  EXPECT_EQ(reset_state(parameters(0)).apic_base, 0xfee00900U);
  EXPECT_EQ(reset_state(parameters(0)).mp_state, MpState::kRunnable);
  EXPECT_EQ(reset_state(parameters(3)).apic_base, 0xfee00800U);
  EXPECT_EQ(reset_state(parameters(3)).mp_state, MpState::kUninitialized);
}

TEST(CpuReset, XsaveAreaIsInitialised) {
  const auto area = initial_xsave_area(100);
  ASSERT_EQ(area.size(), kXsaveMinimumSize);
  EXPECT_EQ(load_le<std::uint16_t>(area.data()), 0x37f);
  EXPECT_EQ(load_le<std::uint32_t>(area.data() + 24), 0x1f80U);
  EXPECT_EQ(load_le<std::uint64_t>(area.data() + 512), 3U);
  EXPECT_EQ(initial_xsave_area(2696).size(), 2696U);
}

TEST(CpuReset, MsrsAreSortedAndKeepWhatIsNotTheirs) {
  const CpuState state = reset_state(parameters());
  EXPECT_THAT(state.msrs, testing::ElementsAre(Msr{msr::kTsc, 0}, Msr{msr::kMiscEnable, 1},
                                               Msr{msr::kPat, 0x0007040600070406}, Msr{msr::kStar, 0}));
  EXPECT_EQ(msr_reset_value(msr::kMc0Ctl + 8), ~std::uint64_t{0});
  EXPECT_EQ(msr_reset_value(msr::kMc0Ctl + 9), 0U);
}

TEST(CpuReset, InitKeepsWhatTheManualSays) {
  CpuState before = reset_state(parameters());
  before.cr0 = cr0::kPe | cr0::kPg | cr0::kEt;
  before.cr3 = 0x1000;
  before.efer = efer::kLme | efer::kLma;
  before.xcr0 = 7;
  before.xsave.at(160) = std::byte{42};
  before.msrs = {{msr::kPat, 5}};
  before.apic_base = 0xfee00c00;
  before.gpr.fill(1);
  const CpuState after = init_state(before, parameters(1));
  EXPECT_EQ(after.cr0, cr0::kEt);
  EXPECT_EQ(after.cr3, 0U);
  EXPECT_EQ(after.efer, 0U);
  EXPECT_EQ(after.xcr0, 7U);
  EXPECT_EQ(after.xsave, before.xsave);
  EXPECT_EQ(after.msrs, before.msrs);
  EXPECT_EQ(after.apic_base, before.apic_base);
  EXPECT_EQ(after.gpr.at(kRdx), 0x60fb1U);
  EXPECT_EQ(after.gpr.at(kRax), 0U);
  EXPECT_EQ(after.mp_state, MpState::kInitReceived);
}

TEST(MsrNames, KnownRangesAndUnknownOnes) {
  EXPECT_EQ(msr_name(msr::kEfer), "IA32_EFER");
  EXPECT_EQ(msr_name(0x203), "IA32_MTRR_PHYSMASK1");
  EXPECT_EQ(msr_name(0x26a), "IA32_MTRR_FIX4K_D0000");
  EXPECT_EQ(msr_name(0x405), "IA32_MC1_STATUS");
  EXPECT_EQ(msr_name(0x80b), "IA32_X2APIC_0B0");
  EXPECT_EQ(msr_name(0x12345), "MSR 0x12345");
}

TEST(CpuFormat, ResetStateInTheMonitorsLayout) {
  const std::string text = format_registers(reset_state(parameters()));
  EXPECT_TRUE(
      text.starts_with("EAX=00000000 EBX=00000000 ECX=00000000 EDX=00060fb1\n"
                       "ESI=00000000 EDI=00000000 EBP=00000000 ESP=00000000\n"
                       "EIP=0000fff0 EFL=00000002 [-------] CPL=0 II=0 A20=1 SMM=0 HLT=0\n"
                       "ES =0000 00000000 0000ffff 00009300\n"
                       "CS =f000 ffff0000 0000ffff 00009b00\n"))
      << text;
  EXPECT_THAT(text, testing::HasSubstr("LDT=0000 00000000 0000ffff 00008200\nTR =0000 00000000 0000ffff 00008b00\n"
                                       "GDT=     00000000 0000ffff\nIDT=     00000000 0000ffff\n"
                                       "CR0=60000010 CR2=00000000 CR3=00000000 CR4=00000000\n"));
  EXPECT_THAT(text, testing::HasSubstr("FCW=037f FSW=0000 [ST=0] FTW=00 MXCSR=00001f80\n"
                                       "FPR0=0000000000000000 0000 FPR1=0000000000000000 0000\n"));
  EXPECT_THAT(text, testing::HasSubstr("XMM07="));
  EXPECT_THAT(text, testing::Not(testing::HasSubstr("XMM08")));
}

TEST(CpuFormat, LongModeIsWide) {
  CpuState state = reset_state(parameters());
  state.cr0 |= cr0::kPe | cr0::kPg;
  state.efer = efer::kLme | efer::kLma;
  state.segment.at(kCs) = flat_segment(0x10, true, true);
  state.segment.at(kSs) = flat_segment(0x18, false);
  state.gpr.at(kR15) = 0x1234;
  state.rflags = rflags::kFixed | rflags::kZf | rflags::kCf;
  state.rip = 0xffffffff81000000;
  store_le(state.xsave.data() + 160 + 15 * 16, std::uint64_t{0xabc});
  const std::string text = format_registers(state);
  EXPECT_THAT(text, testing::HasSubstr(
                        "R12=0000000000000000 R13=0000000000000000 R14=0000000000000000 R15=0000000000001234\n"));
  EXPECT_THAT(text, testing::HasSubstr("RIP=ffffffff81000000 RFL=00000043 [---Z--C] CPL=0"));
  EXPECT_THAT(text, testing::HasSubstr("CS =0010 0000000000000000 ffffffff 00a09b00 DPL=0 CS64 [-RA]\n"));
  EXPECT_THAT(text, testing::HasSubstr("SS =0018 0000000000000000 ffffffff 00c09300 DPL=0 DS   [-WA]\n"));
  EXPECT_THAT(text, testing::HasSubstr("TR =0000 0000000000000000 0000ffff 00008b00 DPL=0 TSS64-busy\n"));
  EXPECT_THAT(text, testing::HasSubstr("XMM15=0000000000000000 0000000000000abc\n"));
}

TEST(CpuFormat, SurvivesAStateWithoutXsaveArea) {
  EXPECT_THAT(format_registers(CpuState{}), testing::Not(testing::HasSubstr("FCW")));
}

}  // namespace
}  // namespace doppel::x86
