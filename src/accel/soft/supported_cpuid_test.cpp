#include "accel/soft/supported_cpuid.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/bits.h"
#include "x86/cpuid_builder.h"
#include "x86/cpuid_table.h"

namespace doppel::accel::soft {
namespace {

bool supports(std::string_view name) {
  return supported_features().has(x86::find_feature(name)->bit);
}

TEST(SupportedCpuidTest, WhatEveryPcHas) {
  for (const std::string_view name :
       {"fpu",  "mmx",     "sse",  "sse2",   "cmov", "cx8",      "cx16", "lm",      "nx",     "syscall",
        "sep",  "pae",     "apic", "x2apic", "tsc",  "msr",      "mtrr", "pat",     "fxsr",   "hypervisor",
        "pcid", "invpcid", "smep", "smap",   "umip", "fsgsbase", "la57", "pdpe1gb", "rdtscp", "xsave"})
    EXPECT_TRUE(supports(name)) << name;
}

TEST(SupportedCpuidTest, WhatNobodyCarriesOut) {
  for (const std::string_view name : {"vmx", "svm", "smx", "mpx", "sgx", "intel-pt", "amx-tile", "shstk", "ibt", "hle",
                                      "rtm", "monitor", "pks", "uintr", "waitpkg", "key-locker", "pdcm", "mwaitx"})
    EXPECT_FALSE(supports(name)) << name;
}

TEST(SupportedCpuidTest, TableSaysTheSame) {
  const x86::FeatureSet shown = x86::features_of(supported_cpuid());
  const x86::FeatureSet supported = supported_features();
  for (const x86::FeatureWordInfo& info : x86::feature_words())
    if (info.msr == 0) {
      EXPECT_EQ(shown.word(info.word), supported.word(info.word)) << std::hex << info.leaf;
    }
}

TEST(SupportedCpuidTest, NothingLacksItsFoundation) {
  x86::FeatureSet features = supported_features();
  x86::drop_unfounded(features);
  EXPECT_EQ(features, supported_features());
}

TEST(SupportedCpuidTest, LeavesAreSortedAndWithinTheirLimits) {
  const x86::CpuidTable table = supported_cpuid();
  EXPECT_TRUE(std::ranges::is_sorted(
      table, {}, [](const x86::CpuidEntry& entry) { return std::pair(entry.leaf, entry.subleaf.value_or(0)); }));
  const std::uint32_t basic = x86::find_cpuid(table, 0)->eax;
  const std::uint32_t extended = x86::find_cpuid(table, 0x8000'0000)->eax;
  for (const x86::CpuidEntry& entry : table)
    EXPECT_TRUE(entry.leaf <= basic || (entry.leaf >= 0x8000'0000 && entry.leaf <= extended) ||
                entry.leaf >> 4U == x86::kKvmSignatureLeaf >> 4U)
        << std::hex << entry.leaf;
  EXPECT_GE(basic, 0xdU);
  EXPECT_GE(extended, 0x8000'0008U);
}

TEST(SupportedCpuidTest, XsaveComponentsAreIntelsAndFillTheirArea) {
  const x86::CpuidTable table = supported_cpuid();
  const std::uint64_t xcr0 = x86::xcr0_of(supported_features());
  const x86::CpuidEntry* user = x86::find_cpuid(table, 0xd, 0);
  ASSERT_NE(user, nullptr);
  EXPECT_EQ(user->eax | std::uint64_t{user->edx} << 32U, xcr0);
  std::uint32_t end = 576;
  for (const x86::XsaveComponent& component : x86::xsave_components()) {
    if (component.supervisor || !test_bit(xcr0, component.index)) continue;
    const x86::CpuidEntry* row = x86::find_cpuid(table, 0xd, component.index);
    ASSERT_NE(row, nullptr) << component.index;
    EXPECT_EQ(row->ebx, component.offset);
    end = std::max(end, row->ebx + row->eax);
  }
  EXPECT_EQ(user->ecx, end);
}

TEST(SupportedCpuidTest, AddressWidths) {
  const std::uint32_t sizes = x86::find_cpuid(supported_cpuid(), 0x8000'0008)->eax;
  EXPECT_GE(sizes & 0xff, 32U);
  EXPECT_LE(sizes & 0xff, 52U);
  EXPECT_EQ(sizes >> 8U & 0xff, 57U);
}

}  // namespace
}  // namespace doppel::accel::soft
