#include "accel/soft/interpreter/msrs.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "accel/soft/interpreter/test_cpu.h"
#include "x86/msr.h"

namespace doppel::accel::soft {
namespace {

using tiny::Mode;
using namespace x86;

constexpr std::uint64_t kNotCanonical = 0x1234'5678'90ab'cdef;

class MsrsTest : public testing::Test {
 protected:
  MsrStatus write(std::uint32_t index, std::uint64_t value, MsrWriter writer = MsrWriter::kGuest) {
    return write_msr(test_.cpu, index, value, writer);
  }
  [[nodiscard]] std::uint64_t read(std::uint32_t index) const {
    std::uint64_t value = 0;
    EXPECT_EQ(read_msr(test_.cpu, index, value), MsrStatus::kDone) << msr_name(index);
    return value;
  }
  void drop_feature(std::string_view name) { test_.cpu.features.set(find_feature(name)->bit, false); }

  TestCpu test_{Mode::kLong64};
};

TEST_F(MsrsTest, PlainOnesKeepTheirValue) {
  for (const std::uint32_t index : {msr::kStar, msr::kLstar, msr::kCstar, msr::kKernelGsBase, msr::kSysenterCs,
                                    msr::kSysenterEsp, msr::kSysenterEip, msr::kSfmask, msr::kTscAux}) {
    EXPECT_EQ(write(index, 0x1234'5000), MsrStatus::kDone) << msr_name(index);
    EXPECT_EQ(read(index), 0x1234'5000U) << msr_name(index);
  }
}

TEST_F(MsrsTest, AddressesAreCanonical) {
  for (const std::uint32_t index : {msr::kLstar, msr::kCstar, msr::kKernelGsBase, msr::kSysenterEsp, msr::kSysenterEip,
                                    msr::kFsBase, msr::kGsBase}) {
    EXPECT_EQ(write(index, kNotCanonical), MsrStatus::kFault) << msr_name(index);
    EXPECT_EQ(write(index, 0xffff'8000'0000'1000), MsrStatus::kDone) << msr_name(index);
  }
  // 57 bits count wherever the processor has them, whatever CR4.LA57 says.
  EXPECT_EQ(write(msr::kLstar, 0x0012'3456'0000'0000), MsrStatus::kDone);
  drop_feature("la57");
  EXPECT_EQ(write(msr::kLstar, 0x0012'3456'0000'0000), MsrStatus::kFault);
}

TEST_F(MsrsTest, SegmentBasesActAtOnce) {
  ASSERT_EQ(write(msr::kGsBase, tiny::kData), MsrStatus::kDone);
  EXPECT_EQ(test_.cpu.segment[kGs].base, tiny::kData);
  EXPECT_EQ(test_.cpu.view[kGs].base, tiny::kData);
}

TEST_F(MsrsTest, UnknownIsNotForbidden) {
  std::uint64_t value = 0;
  EXPECT_EQ(read_msr(test_.cpu, 0x1234'5678, value), MsrStatus::kUnknown);
  EXPECT_EQ(write(0x1234'5678, 0), MsrStatus::kUnknown);
  EXPECT_EQ(write(msr::kMtrrCap, 0), MsrStatus::kFault);
  EXPECT_EQ(read_msr(test_.cpu, msr::kPredCmd, value), MsrStatus::kFault);
  drop_feature("tsc-adjust");
  EXPECT_EQ(read_msr(test_.cpu, msr::kTscAdjust, value), MsrStatus::kUnknown);
}

TEST_F(MsrsTest, MemoryTypesAreChecked) {
  EXPECT_EQ(read(msr::kPat), msr::kPatReset);
  EXPECT_EQ(write(msr::kPat, 0x0007'0506'0007'0106), MsrStatus::kDone);
  EXPECT_EQ(write(msr::kPat, 0x0002'0406'0007'0406), MsrStatus::kFault);
  EXPECT_EQ(write(msr::kPat, 0x0008'0406'0007'0406), MsrStatus::kFault);
  EXPECT_EQ(write(msr::kMtrrFix4KC0000 + 7, 0x0605'0401'0006'0606), MsrStatus::kDone);
  EXPECT_EQ(write(msr::kMtrrFix64K00000, 7), MsrStatus::kFault) << "UC- is the PAT's alone";
  EXPECT_EQ(write(msr::kMtrrDefType, msr::kMtrrEnable | msr::kMtrrFixedEnable | 6), MsrStatus::kDone);
  EXPECT_EQ(write(msr::kMtrrDefType, 1U << 9U), MsrStatus::kFault);
  EXPECT_EQ(write(msr::kMtrrPhysBase0, 0xe000'0000), MsrStatus::kDone);
  EXPECT_EQ(write(msr::kMtrrPhysBase0, 0xe000'0100), MsrStatus::kFault);
  EXPECT_EQ(write(msr::kMtrrPhysMask0, 0xff'e000'0800), MsrStatus::kDone);
  EXPECT_EQ(write(msr::kMtrrPhysMask0, std::uint64_t{1} << 60U), MsrStatus::kFault);
  EXPECT_EQ(read(msr::kMtrrFix4KC0000 + 7), 0x0605'0401'0006'0606U);
  EXPECT_EQ(read(msr::kMtrrPhysMask0), 0xff'e000'0800U);
}

TEST_F(MsrsTest, TimeStampCounterAndItsAdjustment) {
  ASSERT_EQ(write(msr::kTsc, 1'000'000), MsrStatus::kDone);
  const std::uint64_t begin = read(msr::kTsc);
  EXPECT_GE(begin, 1'000'000U);
  EXPECT_LT(begin, 1'000'000U + (std::uint64_t{1} << 36U));
  const std::uint64_t adjust = read(msr::kTscAdjust);
  EXPECT_EQ(adjust, test_.cpu.msrs.tsc_offset) << "it was 0 with an offset of 0";
  constexpr std::uint64_t kStep = std::uint64_t{1} << 50U;
  ASSERT_EQ(write(msr::kTscAdjust, adjust + kStep), MsrStatus::kDone);
  EXPECT_GE(read(msr::kTsc), begin + kStep);
}

TEST_F(MsrsTest, RestoringTimeHasNoSideEffects) {
  ASSERT_EQ(write(msr::kTscAdjust, 77, MsrWriter::kHost), MsrStatus::kDone);
  EXPECT_EQ(test_.cpu.msrs.tsc_offset, 0U);
  ASSERT_EQ(write(msr::kTsc, 5'000, MsrWriter::kHost), MsrStatus::kDone);
  EXPECT_EQ(read(msr::kTscAdjust), 77U);
}

TEST_F(MsrsTest, CapabilitiesAreTheHostsToSet) {
  EXPECT_EQ(write(msr::kArchCapabilities, 1), MsrStatus::kFault);
  EXPECT_EQ(write(msr::kArchCapabilities, 0x2b, MsrWriter::kHost), MsrStatus::kDone);
  EXPECT_EQ(read(msr::kArchCapabilities), 0x2bU);
}

TEST_F(MsrsTest, SpeculationControls) {
  EXPECT_EQ(write(msr::kSpecCtrl, 7), MsrStatus::kDone);
  EXPECT_EQ(write(msr::kSpecCtrl, 8), MsrStatus::kFault);
  EXPECT_EQ(write(msr::kPredCmd, 1), MsrStatus::kDone);
  EXPECT_EQ(write(msr::kFlushCmd, 2), MsrStatus::kFault);
}

TEST_F(MsrsTest, MachineCheckBanks) {
  const std::uint32_t status = msr::kMc0Ctl + 1;
  EXPECT_EQ(read(msr::kMcgCap) & 0xff, msr::kMcBankCount);
  EXPECT_EQ(write(msr::kMc0Ctl, ~std::uint64_t{0}), MsrStatus::kDone);
  EXPECT_EQ(write(msr::kMc0Ctl, 1), MsrStatus::kFault);
  EXPECT_EQ(write(status, 1), MsrStatus::kFault);
  EXPECT_EQ(write(status, 0xb200, MsrWriter::kHost), MsrStatus::kDone);
  EXPECT_EQ(read(status), 0xb200U);
  EXPECT_EQ(write(status, 0), MsrStatus::kDone);
  std::uint64_t value = 0;
  EXPECT_EQ(read_msr(test_.cpu, msr::kMc0Ctl + 4 * msr::kMcBankCount, value), MsrStatus::kUnknown);
}

TEST_F(MsrsTest, ApicBase) {
  const std::uint64_t base = apic_base::kDefaultAddress | apic_base::kEnable;
  EXPECT_EQ(write(msr::kApicBase, base | apic_base::kX2apic), MsrStatus::kDone);
  EXPECT_EQ(write(msr::kApicBase, apic_base::kDefaultAddress | apic_base::kX2apic), MsrStatus::kFault);
  EXPECT_EQ(write(msr::kApicBase, base | 1), MsrStatus::kFault);
  EXPECT_EQ(test_.cpu.apic_base, base | apic_base::kX2apic);
}

TEST_F(MsrsTest, ParavirtualClockShowsTheTime) {
  struct Page {
    std::uint32_t version, padding;
    std::uint64_t tsc, ns;
    std::uint32_t multiplier;
    std::int8_t shift;
    std::uint8_t flags;
  };
  test_.cpu.features.set(find_feature("kvmclock")->bit);
  ASSERT_EQ(write(msr::kKvmSystemTimeNew, tiny::kData | 1), MsrStatus::kDone);
  const Page page = test_.peek<Page>(tiny::kData);
  EXPECT_EQ(page.version % 2, 0U);
  EXPECT_NE(page.version, 0U);
  const std::uint64_t ticks = guest_tsc(test_.cpu) - page.tsc;
  const std::uint64_t shifted = page.shift < 0 ? ticks >> -page.shift : ticks << page.shift;
  const std::uint64_t guest =
      page.ns + static_cast<std::uint64_t>(static_cast<unsigned __int128>(shifted) * page.multiplier >> 32U);
  const std::uint64_t host = test_.cpu.machine.clock.now();
  EXPECT_LE(guest, host);
  EXPECT_LT(host - guest, 1'000'000'000U);
  // A new counter value moves the page along.
  ASSERT_EQ(write(msr::kTsc, 0), MsrStatus::kDone);
  EXPECT_NE(test_.peek<Page>(tiny::kData).version, page.version);
  EXPECT_EQ(write(msr::kKvmSystemTimeNew, 0xffff'ffff'ffff'fff1), MsrStatus::kDone) << "no RAM there: nothing happens";
}

TEST_F(MsrsTest, SavedOnesAreSortedAndReadable) {
  const std::vector<std::uint32_t> saved = saved_msr_indexes();
  EXPECT_TRUE(std::ranges::is_sorted(saved));
  for (const std::uint32_t index : saved) {
    const std::uint64_t value = read(index);
    EXPECT_EQ(write(index, value, MsrWriter::kHost), MsrStatus::kDone) << msr_name(index);
    EXPECT_EQ(write(index, msr_reset_value(index), MsrWriter::kHost), MsrStatus::kDone) << msr_name(index);
  }
}

TEST(GuestClockTest, ScaleOfAFrequency) {
  for (const std::uint64_t hz : {std::uint64_t{33'000'000}, std::uint64_t{1'000'000'000}, std::uint64_t{2'000'000'000},
                                 std::uint64_t{2'100'000'000}, std::uint64_t{5'700'000'000}}) {
    const ClockScale scale = ClockScale::of_frequency(hz);
    EXPECT_GE(scale.multiplier, 1U << 31U) << hz;
    EXPECT_NEAR(static_cast<double>(scale.at(hz * 1000)), 1e12, 1e4) << hz;
  }
}

TEST(GuestClockTest, GoesOnFromWhatItIsSetTo) {
  GuestClock clock;
  clock.set(5'000'000'000);
  const std::uint64_t before = clock.now();
  EXPECT_GE(before, 5'000'000'000U);
  const ClockScale scale = clock.scale();
  EXPECT_GE(scale.ns, before);
  EXPECT_GE(clock.now(), scale.ns);
  clock.set(1'000);
  EXPECT_LT(clock.now(), 5'000'000'000U);
}

TEST(GuestClockTest, CountersSetTogetherCountAlike) {
  GuestClock clock;
  const std::uint64_t first = clock.tsc_offset_for(0);
  EXPECT_EQ(clock.tsc_offset_for(0), first);
  EXPECT_NE(clock.tsc_offset_for(std::uint64_t{1} << 40U), first);
}

}  // namespace
}  // namespace doppel::accel::soft
