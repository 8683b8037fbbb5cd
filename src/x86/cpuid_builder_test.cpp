#include "x86/cpuid_builder.h"

#include <set>

#include "x86/cpuid_table.h"

namespace doppel::x86 {
namespace {

/// NAME with all its features, whatever this host has.
CpuModel unfiltered(std::string_view text) {
  auto config = parse_cpu_option(text);
  EXPECT_TRUE(config) << (config ? "" : config.error().describe());
  config->force_features = true;
  auto cpu = resolve_cpu(*config, {});
  EXPECT_TRUE(cpu);
  return cpu->model;
}

CpuidTable table_of(std::string_view text, const CpuTopology& topology = {}, unsigned index = 0) {
  return build_cpuid(unfiltered(text), topology, index, {});
}

CpuidEntry entry(const CpuidTable& table, std::uint32_t leaf, std::uint32_t subleaf = 0) {
  const CpuidEntry* found = find_cpuid(table, leaf, subleaf);
  EXPECT_NE(found, nullptr) << std::hex << leaf << "." << subleaf;
  return found == nullptr ? CpuidEntry{} : *found;
}

TEST(Topology, IdsTakeAsManyBitsAsTheirCountsNeed) {
  const CpuTopology topology{.sockets = 2, .dies = 2, .cores = 3, .threads = 2};
  EXPECT_EQ(topology.cpu_count(), 24U);
  const ApicIdShifts shifts = apic_id_shifts(topology);
  EXPECT_EQ(shifts.core, 1U);
  EXPECT_EQ(shifts.die, 3U);
  EXPECT_EQ(shifts.socket, 4U);
  EXPECT_EQ(apic_id_of(topology, 5), 5U);
  EXPECT_EQ(apic_id_of(topology, 6), 8U);
  EXPECT_EQ(apic_id_of(topology, 12), 16U);
  std::set<std::uint32_t> ids;
  for (unsigned i = 0; i < topology.cpu_count(); ++i) {
    EXPECT_TRUE(ids.insert(apic_id_of(topology, i)).second);
    EXPECT_EQ(place_of_apic_id(topology, apic_id_of(topology, i)), place_of(topology, i));
  }
}

TEST(Topology, IdBits) {
  EXPECT_EQ(id_bits(1), 0U);
  EXPECT_EQ(id_bits(2), 1U);
  EXPECT_EQ(id_bits(3), 2U);
  EXPECT_EQ(id_bits(4), 2U);
  EXPECT_EQ(id_bits(255), 8U);
}

TEST(Topology, RefusesNonsense) {
  EXPECT_TRUE(check_topology({}, 1));
  EXPECT_FALSE(check_topology({.sockets = 0}, 255));
  EXPECT_FALSE(check_topology({.sockets = 2, .cores = 128}, 255));
  EXPECT_FALSE(check_topology({.sockets = 65536, .dies = 65536, .cores = 65536, .threads = 65536}, 255));
}

TEST(CpuidBuilder, IdentityLeaves) {
  const CpuidTable table = table_of("Haswell-v1");
  const CpuidEntry leaf0 = entry(table, 0);
  EXPECT_EQ(leaf0.eax, 0xdU);
  EXPECT_EQ(leaf0.ebx, 0x756e6547U);
  EXPECT_EQ(leaf0.edx, 0x49656e69U);
  EXPECT_EQ(leaf0.ecx, 0x6c65746eU);
  EXPECT_EQ(entry(table, 1).eax, 0x306c4U);
  EXPECT_EQ(entry(table, 1).ebx, 0x800U);
  EXPECT_EQ(entry(table, 1).edx & feature::kHt.mask, 0U);
  EXPECT_EQ(entry(table, 0x80000000).eax, 0x80000008U);
  EXPECT_EQ(brand_of(table), "Intel Core Processor (Haswell)");
  EXPECT_EQ(entry(table, 0x80000008).eax, 0x3028U);
}

TEST(CpuidBuilder, TablesReadBackAsTheFeaturesTheyWereMadeFrom) {
  for (const std::string& name : cpu_model_names()) {
    const CpuModel model = unfiltered(name);
    FeatureSet shown = features_of(build_cpuid(model, {}, 0, {}));
    FeatureSet expected = model.features;
    for (const FeatureWord word :
         {FeatureWord::kArchCapabilities, FeatureWord::kCoreCapability, FeatureWord::kPerfCapabilities})
      expected.set_word(word, 0);
    // AMD repeats leaf 1 in 80000001.
    if (model.is_amd()) {
      shown.set_word(FeatureWord::k80000001Edx, shown.word(FeatureWord::k80000001Edx) & ~0x0183f3ffU);
    }
    EXPECT_EQ(shown, expected) << name;
  }
}

TEST(CpuidBuilder, LeavesAreUniqueAndWithinTheirLevels) {
  for (const std::string& name : cpu_model_names()) {
    const CpuidTable table = table_of(name, {.sockets = 1, .dies = 2, .cores = 2, .threads = 2}, 3);
    std::set<std::pair<std::uint32_t, std::uint32_t>> seen;
    for (const CpuidEntry& row : table) {
      EXPECT_TRUE(seen.insert({row.leaf, row.subleaf.value_or(0)}).second) << name << " " << std::hex << row.leaf;
      if (row.leaf < 0x40000000) {
        EXPECT_LE(row.leaf, entry(table, 0).eax) << name;
      }
      if (row.leaf >= 0x80000000) {
        EXPECT_LE(row.leaf, entry(table, 0x80000000).eax) << name;
      }
    }
  }
}

TEST(CpuidBuilder, ApicIdAndLogicalCount) {
  const CpuidEntry leaf = entry(table_of("Haswell", {.sockets = 2, .cores = 3, .threads = 2}, 7), 1);
  EXPECT_EQ(leaf.ebx >> 24, 9U);         // socket 1, core 0, thread 1
  EXPECT_EQ(leaf.ebx >> 16 & 0xff, 8U);  // addressable ids of a socket
  EXPECT_NE(leaf.edx & feature::kHt.mask, 0U);
}

TEST(CpuidBuilder, IntelCaches) {
  const CpuidTable table = table_of("Haswell", {.cores = 4, .threads = 2});
  EXPECT_EQ(entry(table, 2).edx, 0x2c307dU);
  const CpuidEntry l1d = entry(table, 4, 0);
  EXPECT_EQ(l1d.eax, 3U << 26 | 1U << 14 | 0x121U);
  EXPECT_EQ(l1d.ebx, 7U << 22 | 63U);
  EXPECT_EQ(l1d.ecx, 63U);
  EXPECT_EQ(entry(table, 4, 1).eax & 0x1f, 2U);
  const CpuidEntry l3 = entry(table, 4, 3);
  EXPECT_EQ(l3.eax, 3U << 26 | 7U << 14 | 0x163U);
  EXPECT_EQ((l3.ebx >> 22) + 1, 16U);
  EXPECT_EQ(l3.ecx, 16383U);
  EXPECT_EQ(entry(table, 4, 4).eax, 0U);
  EXPECT_EQ(entry(table_of("Haswell,l3-cache=off"), 4, 3).eax, 0U);
  EXPECT_EQ(entry(table, 0x80000005).ecx, 0U);
  EXPECT_EQ(entry(table, 0x80000006).ecx, 0x10008140U);
  EXPECT_EQ(entry(table, 0x80000006).edx, 0U);
}

TEST(CpuidBuilder, AmdCaches) {
  const CpuidTable table = table_of("EPYC", {.cores = 4, .threads = 2}, 5);
  EXPECT_EQ(entry(table, 4).eax, 0U);
  EXPECT_EQ(entry(table, 0x80000005).ecx, 0x20080140U);
  EXPECT_EQ(entry(table, 0x80000005).edx, 0x40040140U);
  EXPECT_EQ(entry(table, 0x80000006).ecx, 0x02006140U);
  EXPECT_EQ(entry(table, 0x80000006).edx, 16U << 18 | 0x8140U);
  EXPECT_EQ(entry(table, 0x8000001d, 0).eax, 1U << 14 | 0x121U);
  EXPECT_EQ(entry(table, 0x8000001d, 3).eax, 7U << 14 | 0x163U);
  EXPECT_EQ(entry(table, 0x8000001d, 3).edx, 6U);
  EXPECT_EQ(entry(table, 0x8000001d, 4).eax, 0U);
  const CpuidEntry place = entry(table, 0x8000001e);
  EXPECT_EQ(place.eax, 5U);
  EXPECT_EQ(place.ebx, 0x102U);
  EXPECT_EQ(place.ecx, 0U);
  EXPECT_EQ(entry(table, 0x80000008).ecx, 3U << 12 | 7U);
  EXPECT_NE(entry(table, 0x80000001).ecx & feature::kCmpLegacy.mask, 0U);
  EXPECT_EQ(find_cpuid(table_of("EPYC,-topoext"), 0x8000001d), nullptr);
}

TEST(CpuidBuilder, ExtendedTopology) {
  const CpuTopology topology{.sockets = 2, .dies = 2, .cores = 4, .threads = 2};
  const CpuidTable table = table_of("Icelake-Server", topology, 21);
  EXPECT_EQ(entry(table, 0).eax, 0x1fU);
  const std::uint32_t apic_id = apic_id_of(topology, 21);
  EXPECT_EQ(entry(table, 0xb, 0), (CpuidEntry{0xb, 0, 1, 2, 0x100, apic_id}));
  EXPECT_EQ(entry(table, 0xb, 1), (CpuidEntry{0xb, 1, 4, 16, 0x201, apic_id}));
  EXPECT_EQ(entry(table, 0xb, 2), (CpuidEntry{0xb, 2, 0, 0, 2, apic_id}));
  EXPECT_EQ(entry(table, 0x1f, 1), (CpuidEntry{0x1f, 1, 3, 8, 0x201, apic_id}));
  EXPECT_EQ(entry(table, 0x1f, 2), (CpuidEntry{0x1f, 2, 4, 16, 0x502, apic_id}));
  EXPECT_EQ(find_cpuid(table_of("Icelake-Server"), 0x1f), nullptr);
  EXPECT_EQ(find_cpuid(table_of("Icelake-Server,cpuid-0xb=off"), 0xb), nullptr);
  EXPECT_EQ(entry(table_of("Icelake-Server,level=13", topology), 0).eax, 13U);
}

TEST(CpuidBuilder, XsaveByTheManual) {
  const CpuidTable table = table_of("SapphireRapids");
  EXPECT_EQ(entry(table, 0xd, 0), (CpuidEntry{0xd, 0, 0x602e7, 576, 11008, 0}));
  EXPECT_EQ(entry(table, 0xd, 1).eax, 0x1fU);
  EXPECT_EQ(entry(table, 0xd, 2), (CpuidEntry{0xd, 2, 256, 576, 0, 0}));
  EXPECT_EQ(entry(table, 0xd, 9), (CpuidEntry{0xd, 9, 8, 2688, 0, 0}));
  EXPECT_EQ(entry(table, 0xd, 18), (CpuidEntry{0xd, 18, 8192, 2816, 6, 0}));
  EXPECT_EQ(entry(table, 0x1d, 1).eax, 0x04002000U);
  EXPECT_EQ(entry(table, 0x1e, 0).ebx, 0x4010U);
  EXPECT_EQ(find_cpuid(table_of("Nehalem"), 0xd), nullptr);
}

TEST(CpuidBuilder, XsaveLayoutIsTheHosts) {
  // Where AMD puts PKRU.
  const CpuidTable host = {{0xd, 2, 256, 576, 0, 0}, {0xd, 9, 8, 832, 0, 0}};
  const CpuidTable table = build_cpuid(unfiltered("EPYC-Milan"), {}, 0, host);
  EXPECT_EQ(entry(table, 0xd, 9).ebx, 832U);
  EXPECT_EQ(entry(table, 0xd, 0).ecx, 840U);
  EXPECT_EQ(xsave_area_size(host, 0x207), 840U);
  EXPECT_EQ(xsave_area_size({}, 3), 576U);
}

TEST(CpuidBuilder, ParavirtualLeaves) {
  CpuModel model = unfiltered("qemu64,+kvmclock,+kvm-pv-eoi,tsc-frequency=3000000000");
  EXPECT_EQ(find_cpuid(build_cpuid(model, {}, 0, {}), kKvmSignatureLeaf), nullptr);
  model.kvm_signature = true;
  const CpuidTable table = build_cpuid(model, {}, 0, {});
  const CpuidEntry signature = entry(table, kKvmSignatureLeaf);
  EXPECT_EQ(signature.eax, 0x40000010U);
  EXPECT_EQ(signature.ebx, 0x4b4d564bU);
  EXPECT_EQ(signature.ecx, 0x564b4d56U);
  EXPECT_EQ(signature.edx, 0x4dU);
  EXPECT_EQ(entry(table, 0x40000001).eax, 0x49U);
  EXPECT_EQ(entry(table, 0x40000010).eax, 3'000'000U);
  model.tsc_frequency = 0;
  EXPECT_EQ(entry(build_cpuid(model, {}, 0, {}), kKvmSignatureLeaf).eax, 0x40000001U);
}

TEST(CpuidBuilder, CopiesFromTheHostWhereAsked) {
  const CpuidTable host = {
      {4, 0, 0x121, 1, 2, 3}, {4, 1, 0, 0, 0, 0}, {0xa, {}, 0x07300404, 0, 0, 0x603}, {2, {}, 1, 2, 3, 4}};
  CpuModel model = unfiltered("Haswell,host-cache-info=on,pmu=on");
  const CpuidTable table = build_cpuid(model, {}, 0, host);
  EXPECT_EQ(entry(table, 4, 0).edx, 3U);
  EXPECT_EQ(entry(table, 2).edx, 4U);
  EXPECT_EQ(entry(table, 0xa).eax, 0x07300404U);
  EXPECT_EQ(entry(table_of("Haswell"), 0xa).eax, 0U);
}

TEST(CpuidBuilder, HugeLevelsStayFinite) {
  const CpuidTable table = table_of("Haswell,level=0xffffffff,xlevel=0xffffffff,xlevel2=0xc0000005");
  EXPECT_LT(table.size(), 100U);
  EXPECT_EQ(entry(table, 0).eax, 0xffffffffU);
  EXPECT_EQ(entry(table, 0xc0000000).eax, 0xc0000005U);
}

TEST(CpuidBuilder, HostShowsThisHostsFeatures) {
  CpuSupport support;
  support.cpuid = host_cpuid_table();
  const auto cpu = resolve_cpu(*parse_cpu_option("host"), support);
  ASSERT_TRUE(cpu);
  const CpuidTable table = build_cpuid(cpu->model, {}, 0, support.cpuid);
  EXPECT_EQ(vendor_of(table), vendor_of(support.cpuid));
  EXPECT_EQ(brand_of(table), brand_of(support.cpuid));
  EXPECT_EQ(entry(table, 1).eax & 0x0fff3fff, entry(support.cpuid, 1).eax & 0x0fff3fff);
  const std::uint32_t decided_elsewhere = feature::kHt.mask;
  const CpuidEntry host1 = host_cpuid(1);
  EXPECT_EQ(entry(table, 1).edx & ~decided_elsewhere & ~host1.edx, 0U);
  if (cpu->model.has(feature::kXsave) && cpu->model.has(feature::kAvx)) {
    EXPECT_EQ(entry(table, 0xd, 2).eax, 256U);
    EXPECT_EQ(entry(table, 0xd, 0).ecx, xsave_area_size(support.cpuid, cpu->model.xcr0()));
  }
}

}  // namespace
}  // namespace doppel::x86
