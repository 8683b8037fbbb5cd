#include "x86/features.h"

#include <bit>
#include <set>

#include "x86/cpuid_table.h"

namespace doppel::x86 {
namespace {

FeatureSet with(std::initializer_list<std::string_view> names) {
  FeatureSet set;
  for (const std::string_view name : names) set.set(find_feature(name)->bit);
  return set;
}

TEST(Features, EveryNameAndAliasIsUnique) {
  std::set<std::string> seen;
  for (const Feature& feature : features())
    EXPECT_TRUE(seen.insert(normalize_feature_name(feature.name)).second) << feature.name;
  for (const FeatureAlias& alias : feature_aliases()) {
    EXPECT_TRUE(seen.insert(normalize_feature_name(alias.alias)).second) << alias.alias;
    EXPECT_NE(find_feature(alias.name), nullptr) << alias.alias;
  }
  for (const std::string_view control : vmx_control_names())
    EXPECT_TRUE(seen.insert(std::string(control)).second) << control;
}

TEST(Features, NoTwoShareABit) {
  FeatureSet seen;
  for (const Feature& feature : features()) {
    EXPECT_EQ(seen.word(feature.bit.word) & feature.bit.mask, 0U) << feature.name;
    EXPECT_EQ(std::popcount(feature.bit.mask), feature.name == "kvmclock" ? 2 : 1) << feature.name;
    seen.set(feature.bit);
  }
}

TEST(Features, WordsStandInTheOrderOfTheirEnum) {
  ASSERT_EQ(feature_words().size(), kFeatureWordCount);
  for (std::size_t i = 0; i < kFeatureWordCount; ++i) EXPECT_EQ(static_cast<std::size_t>(feature_words()[i].word), i);
}

TEST(Features, AcceptsEverySpelling) {
  for (const char* name : {"sse4.1", "sse4-1", "sse4_1"}) {
    ASSERT_NE(find_feature(name), nullptr) << name;
    EXPECT_EQ(find_feature(name)->name, "sse4.1");
  }
  EXPECT_EQ(find_feature("sse3"), find_feature("pni"));
  EXPECT_EQ(find_feature("lahf_lm")->name, "lahf-lm");
  EXPECT_EQ(find_feature("i64")->name, "lm");
  EXPECT_EQ(find_feature("xd")->name, "nx");
  EXPECT_EQ(find_feature("kvm_pv_eoi")->name, "kvm-pv-eoi");
  EXPECT_EQ(find_feature("avx3"), nullptr);
  EXPECT_EQ(find_feature(""), nullptr);
  EXPECT_TRUE(is_vmx_control("vmx_ept"));
  EXPECT_FALSE(is_vmx_control("vmx"));
}

TEST(Features, NamedConstantsMatchTheTable) {
  EXPECT_EQ(find_feature("x2apic")->bit, feature::kX2apic);
  EXPECT_EQ(find_feature("tsc-deadline")->bit, feature::kTscDeadline);
  EXPECT_EQ(find_feature("xsave")->bit, feature::kXsave);
  EXPECT_EQ(find_feature("avx")->bit, feature::kAvx);
  EXPECT_EQ(find_feature("avx512f")->bit, feature::kAvx512f);
  EXPECT_EQ(find_feature("pku")->bit, feature::kPku);
  EXPECT_EQ(find_feature("la57")->bit, feature::kLa57);
  EXPECT_EQ(find_feature("amx-tile")->bit, feature::kAmxTile);
  EXPECT_EQ(find_feature("arch-lbr")->bit, feature::kArchLbr);
  EXPECT_EQ(find_feature("shstk")->bit, feature::kCetSs);
  EXPECT_EQ(find_feature("xsaves")->bit, feature::kXsaves);
  EXPECT_EQ(find_feature("arat")->bit, feature::kArat);
  EXPECT_EQ(find_feature("lm")->bit, feature::kLm);
  EXPECT_EQ(find_feature("cmp-legacy")->bit, feature::kCmpLegacy);
  EXPECT_EQ(find_feature("topoext")->bit, feature::kTopoext);
  EXPECT_EQ(find_feature("invtsc")->bit, feature::kInvtsc);
  EXPECT_EQ(find_feature("hypervisor")->bit, feature::kHypervisor);
  EXPECT_EQ(find_feature("pse36")->bit, feature::kPse36);
  EXPECT_EQ(find_feature("ht")->bit, feature::kHt);
  EXPECT_EQ(find_feature("apic")->bit, feature::kApic);
  EXPECT_EQ(find_feature("monitor")->bit, feature::kMonitor);
  EXPECT_EQ(find_feature("vmx")->bit, feature::kVmx);
  EXPECT_EQ(find_feature("svm")->bit, feature::kSvm);
  EXPECT_EQ(find_feature("mpx")->bit, feature::kMpx);
  EXPECT_EQ(find_feature("intel-pt")->bit, feature::kIntelPt);
  EXPECT_EQ(find_feature("sgx")->bit, feature::kSgx);
  EXPECT_EQ(find_feature("pdcm")->bit, feature::kPdcm);
}

TEST(Features, NeedsNameFeaturesThatExist) {
  for (const FeatureNeed& need : feature_needs()) {
    EXPECT_NE(find_feature(need.needs), nullptr) << need.needs;
    if (!need.name.empty()) {
      EXPECT_NE(find_feature(need.name), nullptr) << need.name;
    }
  }
}

TEST(Features, DropsWhatHasLostItsGround) {
  FeatureSet set = with({"sse2", "avx", "avx2", "avx512f", "avx512-fp16", "avx512bw", "fma", "xsaveopt", "pku"});
  drop_unfounded(set);  // no xsave
  EXPECT_EQ(set, with({"sse2"}));

  FeatureSet svm = with({"npt", "nrip-save", "rdctl-no"});
  drop_unfounded(svm);
  EXPECT_TRUE(svm.empty());

  FeatureSet whole = with({"xsave", "avx", "avx2", "svm", "npt", "arch-capabilities", "rdctl-no"});
  const FeatureSet before = whole;
  drop_unfounded(whole);
  EXPECT_EQ(whole, before);
}

TEST(Features, XsaveComponentsFollowTheirOwners) {
  EXPECT_EQ(xcr0_of(with({"avx"})), 0U);
  EXPECT_EQ(xcr0_of(with({"xsave"})), 0x3U);
  EXPECT_EQ(xcr0_of(with({"xsave", "avx"})), 0x7U);
  EXPECT_EQ(xcr0_of(with({"xsave", "avx", "avx512f", "pku"})), 0x2e7U);
  EXPECT_EQ(xcr0_of(with({"xsave", "avx", "mpx", "amx-tile"})), 0x6001fU);
  EXPECT_EQ(xss_of(with({"xsave", "arch-lbr"})), 0U);
  EXPECT_EQ(xss_of(with({"xsave", "xsaves", "arch-lbr"})), 0x8000U);
}

TEST(Features, SetArithmetic) {
  const FeatureSet a = with({"sse", "sse2", "avx"});
  const FeatureSet b = with({"sse2", "avx2"});
  EXPECT_EQ(a & b, with({"sse2"}));
  EXPECT_EQ(a - b, with({"sse", "avx"}));
  FeatureSet c = a;
  c |= b;
  EXPECT_THAT(c.names(), testing::ElementsAre("sse", "sse2", "avx", "avx2"));
}

TEST(Features, AreReadFromATable) {
  const CpuidTable table = {{.leaf = 1, .subleaf = {}, .ecx = 1U << 28, .edx = 1U << 25},
                            {.leaf = 7, .subleaf = 0, .ebx = 1U << 5},
                            {.leaf = 7, .subleaf = 1, .eax = 1U << 4},
                            {.leaf = 0xd, .subleaf = 1, .eax = 8}};
  EXPECT_EQ(features_of(table), with({"sse", "avx", "avx2", "avx-vnni", "xsaves"}));
}

TEST(Features, LeavesOutWhatFollowsTheGuestsCr4) {
  const CpuidTable table = {{.leaf = 1, .subleaf = {}, .ecx = 0xffffffff},
                            {.leaf = 7, .subleaf = 0, .ecx = 0xffffffff}};
  const FeatureSet set = features_of(table);
  EXPECT_EQ(set.word(FeatureWord::k1Ecx), ~(1U << 27));
  EXPECT_EQ(set.word(FeatureWord::k7Ecx), ~(1U << 4));
  EXPECT_EQ(named_features().names().size(), features().size());
}

TEST(CpuidTable, HostAnswersLikeTheInstruction) {
  const CpuidTable table = host_cpuid_table();
  const CpuidEntry leaf0 = host_cpuid(0);
  ASSERT_NE(find_cpuid(table, 0), nullptr);
  EXPECT_EQ(find_cpuid(table, 0)->eax, leaf0.eax);
  EXPECT_EQ(vendor_of(table).size(), 12U);
  EXPECT_EQ(features_of(table).has(feature::kAvx), (host_cpuid(1).ecx & feature::kAvx.mask) != 0);
  EXPECT_TRUE(features_of(table).has(feature::kLm));
  EXPECT_LE(brand_of(table).size(), 48U);
}

TEST(CpuidTable, FindsBySubleaf) {
  CpuidTable table = {
      {.leaf = 1, .subleaf = {}}, {.leaf = 4, .subleaf = 0, .eax = 10}, {.leaf = 4, .subleaf = 1, .eax = 11}};
  EXPECT_EQ(find_cpuid(table, 4, 1)->eax, 11U);
  EXPECT_NE(find_cpuid(table, 1, 77), nullptr);
  EXPECT_EQ(find_cpuid(table, 4, 2), nullptr);
  EXPECT_EQ(find_cpuid(table, 9), nullptr);
  EXPECT_EQ(vendor_of(table), "");
  EXPECT_EQ(brand_of(table), "");
}

}  // namespace
}  // namespace doppel::x86
