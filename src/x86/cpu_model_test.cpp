#include "x86/cpu_model.h"

#include "base/text.h"
#include "x86/cpuid_table.h"

namespace doppel::x86 {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::string error_of(std::string_view text) {
  const auto config = parse_cpu_option(text);
  return config ? "no error" : config.error().describe();
}

CpuConfig parsed(std::string_view text) {
  auto config = parse_cpu_option(text);
  EXPECT_TRUE(config) << (config ? "" : config.error().describe());
  return config ? *config : CpuConfig{};
}

/// An accelerator that offers just what MODEL has, and EXTRA.
CpuSupport support_like(std::string_view model, std::initializer_list<std::string_view> extra = {}) {
  const CpuModelFacts facts = cpu_model_facts(*find_cpu_model(model));
  FeatureSet set = facts.features;
  for (const std::string_view name : extra) set.set(find_feature(name)->bit);
  CpuSupport support;
  support.arch_capabilities = set.word(FeatureWord::kArchCapabilities);
  support.cpuid.push_back(
      {.leaf = 0, .subleaf = {}, .eax = 0xd, .ebx = 0x756e6547, .ecx = 0x6c65746e, .edx = 0x49656e69});
  support.cpuid.push_back({.leaf = 0x80000000, .subleaf = {}, .eax = 0x80000008});
  for (const FeatureWordInfo& info : feature_words()) {
    if (info.msr != 0) continue;
    CpuidEntry* entry = find_cpuid(support.cpuid, info.leaf, info.subleaf.value_or(0));
    if (entry == nullptr) entry = &support.cpuid.emplace_back(CpuidEntry{.leaf = info.leaf, .subleaf = info.subleaf});
    std::uint32_t& reg = info.reg == CpuidRegister::kEax   ? entry->eax
                         : info.reg == CpuidRegister::kEbx ? entry->ebx
                         : info.reg == CpuidRegister::kEcx ? entry->ecx
                                                           : entry->edx;
    reg = set.word(info.word);
  }
  find_cpuid(support.cpuid, 1)->eax = encode_signature(facts.signature);
  find_cpuid(support.cpuid, 0x80000008)->eax = 46;
  return support;
}

ResolvedCpu resolved(std::string_view text, const CpuSupport& support) {
  auto result = resolve_cpu(parsed(text), support);
  EXPECT_TRUE(result) << (result ? "" : result.error().describe());
  return result ? *result : ResolvedCpu{};
}

TEST(ParseCpu, ModelAlone) {
  const CpuConfig config = parsed("Haswell");
  EXPECT_EQ(config.model, "Haswell");
  EXPECT_THAT(config.features, IsEmpty());
}

TEST(ParseCpu, FeaturesInEveryForm) {
  const CpuConfig config = parsed("qemu64,+avx,-svm,sse4_1=on,lahf_lm=off,ssse3,+sse3");
  EXPECT_THAT(config.features,
              ElementsAre(FeatureChange{"avx", true}, FeatureChange{"svm", false}, FeatureChange{"sse4.1", true},
                          FeatureChange{"lahf-lm", false}, FeatureChange{"ssse3", true}, FeatureChange{"pni", true}));
}

TEST(ParseCpu, Properties) {
  const CpuConfig config = parsed(
      "max,level=0xd,xlevel=0x80000008,vendor=AuthenticAMD,family=25,model=1,stepping=1,model-id=My CPU,migratable=off,"
      "host-cache-info=on,kvm=off,enforce,check=off,phys-bits=46,host-phys-bits=on,pmu=off,tsc-frequency=2500M,l3-"
      "cache=off");
  EXPECT_EQ(config.level, 13U);
  EXPECT_EQ(config.xlevel, 0x80000008U);
  EXPECT_EQ(config.vendor, "AuthenticAMD");
  EXPECT_EQ(config.family, 25U);
  EXPECT_EQ(config.model_number, 1U);
  EXPECT_EQ(config.stepping, 1U);
  EXPECT_EQ(config.model_id, "My CPU");
  EXPECT_FALSE(config.migratable);
  EXPECT_TRUE(config.host_cache_info);
  EXPECT_FALSE(config.kvm);
  EXPECT_TRUE(config.enforce);
  EXPECT_FALSE(config.check);
  EXPECT_EQ(config.phys_bits, 46U);
  EXPECT_EQ(config.host_phys_bits, true);
  EXPECT_EQ(config.pmu, false);
  EXPECT_EQ(config.tsc_frequency, 2'500'000'000U);
  EXPECT_FALSE(config.l3_cache);
}

TEST(ParseCpu, TakesWhatHasNoEffectAndSaysSo) {
  const CpuConfig config = parsed("host,hv_relaxed,hv-spinlocks=0x1fff,vmx-ept=on,lmce=on,xlevel=8");
  ASSERT_EQ(config.notes.size(), 5U);
  EXPECT_EQ(config.notes[0], "the Hyper-V enlightenment 'hv-relaxed' is not supported and has no effect");
  EXPECT_THAT(config.notes[2], HasSubstr("'vmx-ept' has no effect"));
  EXPECT_EQ(config.xlevel, 0x80000008U);
}

TEST(ParseCpu, ErrorsNameTheNearestSpelling) {
  EXPECT_EQ(error_of("Haswel"), "there is no CPU model 'Haswel' (did you mean 'Haswell'?); '-cpu help' lists them");
  EXPECT_EQ(error_of("qemu64,+avx22"), "there is no feature or option 'avx22' (did you mean 'avx2'?)");
  EXPECT_EQ(error_of("qemu64,levle=3"), "there is no feature or option 'levle' (did you mean 'level'?)");
  EXPECT_THAT(error_of("qemu64,hv-relaxedd"), HasSubstr("(did you mean 'hv-relaxed'?)"));
}

TEST(ParseCpu, ErrorsOfValues) {
  EXPECT_THAT(error_of(""), HasSubstr("the name of a CPU model comes first"));
  EXPECT_THAT(error_of(",+avx"), HasSubstr("the name of a CPU model comes first"));
  EXPECT_THAT(error_of("max,,+avx"), HasSubstr("empty option"));
  EXPECT_THAT(error_of("max,"), HasSubstr("empty option"));
  EXPECT_THAT(error_of("max,+"), HasSubstr("no feature or option ''"));
  EXPECT_THAT(error_of("max,avx=maybe"), HasSubstr("option 'avx': "));
  EXPECT_EQ(error_of("max,stepping=16"), "option 'stepping' is 16; it must be from 0 to 15");
  EXPECT_EQ(error_of("max,vendor=Intel"), "option 'vendor' is 'Intel'; it must have exactly 12 characters");
  EXPECT_THAT(error_of("max,vendor=GenuineIntel2"), HasSubstr("exactly 12"));
  EXPECT_THAT(error_of("max,level=x"), HasSubstr("option 'level': 'x' is not a number"));
  EXPECT_THAT(error_of("max,tsc-frequency=99999999999999999G"), HasSubstr("too large"));
  EXPECT_NE(error_of("max,phys-bits=53"), "no error");
}

TEST(ResolveCpu, GivesAllThatTheHostHas) {
  const ResolvedCpu cpu = resolved("Haswell", support_like("Skylake-Client"));
  EXPECT_THAT(cpu.missing, IsEmpty());
  EXPECT_THAT(cpu.warnings, IsEmpty());
  EXPECT_TRUE(cpu.model.has(feature::kAvx));
  EXPECT_TRUE(cpu.model.has(feature::kHypervisor));
  EXPECT_EQ(cpu.model.xcr0(), 7U);
  EXPECT_EQ(cpu.model.signature, (Signature{6, 60, 4}));
}

TEST(ResolveCpu, NamesWhatTheHostLacks) {
  const ResolvedCpu cpu = resolved("Haswell,+aes", support_like("SandyBridge"));
  EXPECT_THAT(cpu.missing, testing::IsSupersetOf({"fma", "movbe", "avx2", "bmi1"}));
  EXPECT_THAT(cpu.missing, testing::Not(testing::Contains("aes")));
  ASSERT_EQ(cpu.warnings.size(), 1U);
  EXPECT_THAT(cpu.warnings[0], HasSubstr("cannot give the CPU 'Haswell' the features "));
  EXPECT_FALSE(cpu.model.has(find_feature("avx2")->bit));

  EXPECT_THAT(resolved("Haswell,check=off", support_like("SandyBridge")).warnings, IsEmpty());
  const auto refused = resolve_cpu(parsed("Haswell,enforce"), support_like("SandyBridge"));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind(), ErrorKind::kUnsupported);
  EXPECT_THAT(resolved("Haswell,x-force-features=on", support_like("SandyBridge")).missing, IsEmpty());
}

TEST(ResolveCpu, TakingAwayAFeatureTakesItsDependants) {
  const ResolvedCpu cpu = resolved("Skylake-Server,-avx", support_like("Icelake-Server"));
  EXPECT_THAT(cpu.missing, IsEmpty());
  for (const char* name : {"avx", "avx2", "avx512f", "avx512bw", "fma", "f16c"})
    EXPECT_FALSE(cpu.model.has(find_feature(name)->bit)) << name;
  EXPECT_TRUE(cpu.model.has(feature::kPku));
  EXPECT_EQ(cpu.model.xcr0(), 0x203U);
}

TEST(ResolveCpu, LastWordWins) {
  const CpuSupport support = support_like("Haswell");
  EXPECT_TRUE(resolved("qemu64,-avx,+xsave,+avx", support).model.has(feature::kAvx));
  EXPECT_FALSE(resolved("Haswell,+avx,avx=off", support).model.has(feature::kAvx));
}

TEST(ResolveCpu, KvmBringsItsDefaults) {
  CpuSupport support = support_like(
      "EPYC", {"kvmclock", "kvm-nopiodelay", "kvm-asyncpf", "kvm-steal-time", "kvm-pv-eoi", "kvmclock-stable-bit"});
  support.kvm = true;
  support.kernel_lapic = true;
  const ResolvedCpu cpu = resolved("EPYC", support);
  EXPECT_THAT(cpu.missing, IsEmpty());
  EXPECT_TRUE(cpu.model.has(feature::kX2apic));
  EXPECT_TRUE(cpu.model.has(find_feature("kvm-pv-eoi")->bit));
  EXPECT_FALSE(cpu.model.has(feature::kSvm));
  EXPECT_FALSE(cpu.model.has(find_feature("npt")->bit));
  EXPECT_TRUE(cpu.model.kvm_signature);
  EXPECT_TRUE(resolved("EPYC,+svm", support).model.has(feature::kSvm));

  const ResolvedCpu hidden = resolved("EPYC,kvm=off", support);
  EXPECT_FALSE(hidden.model.kvm_signature);
  EXPECT_EQ(hidden.model.features.word(FeatureWord::kKvmEax), 0U);

  support.kernel_lapic = false;
  EXPECT_THAT(resolved("EPYC", support).missing, ElementsAre("x2apic"));
}

TEST(ResolveCpu, HostAndMaxAreWhatTheAcceleratorHas) {
  const CpuSupport support = support_like("Icelake-Server", {"invtsc"});
  for (const char* name : {"host", "max"}) {
    const ResolvedCpu cpu = resolved(name, support);
    EXPECT_EQ(cpu.model.vendor, "GenuineIntel");
    EXPECT_EQ(cpu.model.signature, (Signature{6, 134, 0}));
    EXPECT_TRUE(cpu.model.has(feature::kAvx512f));
    EXPECT_FALSE(cpu.model.has(feature::kInvtsc));
    EXPECT_EQ(cpu.model.phys_bits, 46U);
    EXPECT_THAT(cpu.warnings, IsEmpty());
  }
  EXPECT_TRUE(resolved("host,migratable=off", support).model.has(feature::kInvtsc));
  EXPECT_EQ(resolved("host,host-phys-bits-limit=42", support).model.phys_bits, 42U);
  EXPECT_EQ(resolved("host,phys-bits=39", support).model.phys_bits, 39U);
  EXPECT_EQ(resolved("host,host-phys-bits=off", support).model.phys_bits, 40U);
  EXPECT_FALSE(resolve_cpu(parsed("host,phys-bits=20"), support));
}

TEST(ResolveCpu, HostOnThisVeryHost) {
  CpuSupport support;
  support.cpuid = host_cpuid_table();
  const ResolvedCpu cpu = resolved("host,migratable=off", support);
  FeatureSet expected = features_of(support.cpuid);
  expected.set(feature::kHypervisor);
  expected.set(feature::kHt, false);
  expected.set(feature::kCmpLegacy, false);
  expected.set_word(FeatureWord::kKvmEdx, 0);
  drop_unfounded(expected);
  EXPECT_EQ(cpu.model.features, expected);
  EXPECT_EQ(cpu.model.vendor, vendor_of(support.cpuid));
}

TEST(ResolveCpu, BaseHasNothingButWhatIsAsked) {
  const ResolvedCpu cpu = resolved("base,+fpu,+tsc", support_like("Haswell"));
  EXPECT_THAT(cpu.model.features.names(), ElementsAre("fpu", "tsc"));
  EXPECT_EQ(cpu.model.phys_bits, 32U);
  EXPECT_EQ(cpu.model.level, 1U);
}

TEST(ResolveCpu, LevelsRiseWithTheFeatures) {
  const CpuSupport support = support_like("Icelake-Server");
  EXPECT_EQ(resolved("qemu64", support).model.level, 0xdU);
  EXPECT_EQ(resolved("pentium3,+smep", support).model.level, 7U);
  EXPECT_EQ(resolved("pentium3", support).model.xlevel, 0U);
  EXPECT_EQ(resolved("pentium3,+lm", support).model.xlevel, 0x80000008U);
  EXPECT_EQ(resolved("pentium3,+smep,level=3", support).model.level, 3U);
  EXPECT_EQ(resolved("pentium3,min-level=5", support).model.level, 5U);
  EXPECT_EQ(resolved("pentium3,+smep,full-cpuid-auto-level=off", support).model.level, 3U);
}

TEST(ResolveCpu, EveryModelResolvesOnAnEmptyHost) {
  CpuSupport nothing;
  for (const std::string& name : cpu_model_names()) {
    const ResolvedCpu cpu = resolved(name, nothing);
    FeatureSet left = cpu.model.features;
    left.set(feature::kHypervisor, false);
    EXPECT_TRUE(left.empty()) << name;
  }
}

TEST(CpuHelp, HasTheFormThatProgramsParse) {
  const std::string help = cpu_help();
  EXPECT_TRUE(help.starts_with("Available CPUs:\nx86 486                   (alias configured by machine type)\n"));
  EXPECT_THAT(help, HasSubstr("\nx86 Broadwell-noTSX-IBRS  (alias of Broadwell-v4)\n"));
  EXPECT_THAT(
      help,
      HasSubstr(
          "\nx86 Skylake-Server-v4     Intel Xeon Processor (Skylake, IBRS, no TSX) [IBRS, EPT switching, no TSX]\n"));
  EXPECT_THAT(help, HasSubstr("\nx86 Cascadelake-Server-v1  Intel Xeon Processor (Cascadelake)\n"));
  EXPECT_THAT(help, HasSubstr("\n\nRecognized CPUID flags:\n  3dnow 3dnowext 3dnowprefetch abm ace2 "));
  for (const std::string_view line : split(help.substr(help.find("Recognized")), '\n'))
    EXPECT_LE(line.size(), 75U) << line;
  EXPECT_TRUE(help.ends_with(" xtpr\n"));
}

}  // namespace
}  // namespace doppel::x86
