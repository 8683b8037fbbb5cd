#include "x86/cpu_models.h"

#include <set>

namespace doppel::x86 {
namespace {

/// What these processors are known to show: 1.EAX, and the feature words in the order of kWordsShown.
struct KnownWords {
  std::string_view name;
  std::uint32_t signature;
  std::array<std::uint32_t, 12> words;
};

using enum FeatureWord;
constexpr std::array<FeatureWord, 12> kWordsShown = {
    k1Edx, k1Ecx, k7Ebx, k7Ecx, k7Edx, k7s1Eax, k80000001Edx, k80000001Ecx, k80000008Ebx, k8000000aEdx, kDs1Eax, k6Eax};

constexpr KnownWords kKnown[] = {
    {"486-v1", 0x480, {0x9, 0x80000000, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}},
    {"pentium3-v1", 0x673, {0x383fbfd, 0x80000000, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}},
    {"qemu64-v1", 0x60fb1, {0x78bfbfd, 0x80002001, 0, 0, 0, 0, 0x2193fbfd, 0x5, 0, 0, 0, 0}},
    {"kvm64-v1", 0xf61, {0x78bfbfd, 0x80002001, 0, 0, 0, 0, 0x20100800, 0, 0, 0, 0, 0}},
    {"Conroe-v1", 0x6f3, {0x78bfbfd, 0x80000201, 0, 0, 0, 0, 0x20100800, 0x1, 0, 0, 0, 0}},
    {"Nehalem-v2", 0x106a3, {0x78bfbfd, 0x80982201, 0, 0, 0x4000000, 0, 0x20100800, 0x1, 0, 0, 0, 0}},
    {"SandyBridge-v1", 0x206a1, {0x78bfbfd, 0x97b82203, 0, 0, 0, 0, 0x28100800, 0x1, 0, 0, 0x1, 0x4}},
    {"Haswell-v4", 0x306c1, {0x78bfbfd, 0xf7fa3203, 0x7a9, 0, 0x4000000, 0, 0x28100800, 0x21, 0, 0, 0x1, 0x4}},
    {"Skylake-Server-v3",
     0x50654,
     {0x78bfbfd, 0xf7fa3203, 0xd11f07a9, 0x8, 0x4000000, 0, 0x2c100800, 0x121, 0, 0, 0x7, 0x4}},
    {"Icelake-Server-v4",
     0x606a0,
     {0x78bfbfd, 0xf7fa3203, 0xf1bf07a9, 0x415f4e, 0xa4000010, 0, 0x2c100800, 0x121, 0x200, 0, 0x7, 0x4}},
    {"Opteron_G5-v1", 0x600f20, {0x78bfbfd, 0xb6983203, 0, 0, 0, 0, 0x2d93fbfd, 0x2109e5, 0, 0x9, 0, 0}},
    {"EPYC-v3", 0x800f12, {0x78bfbfd, 0xf6d8320b, 0x209c01a9, 0, 0, 0, 0x2fd3fbfd, 0xc003f5, 0x1005, 0x9, 0xf, 0x4}},
    {"EPYC-Milan-v1",
     0xa00f11,
     {0x78bfbfd, 0xf6da320b, 0x219c07a9, 0x40000c, 0x10, 0, 0x2fd3fbfd, 0xc003f5, 0x100d205, 0x10000009, 0xf, 0x4}},
    {"Dhyana-v1", 0x900f01, {0x78bfbfd, 0xf4d83209, 0x9c01a9, 0, 0, 0, 0x2e500800, 0x4003f5, 0x1000, 0x9, 0x7, 0x4}},
    {"Snowridge-v4",
     0x80661,
     {0x78bfbfd, 0xc7f8220b, 0x21940281, 0x1a000104, 0xa4000000, 0, 0x2c100800, 0x101, 0, 0, 0xf, 0x4}},
};

// Which depend on the accelerator or are shown twice: vme, hypervisor, and AMD's copies of leaf 1.
constexpr std::uint32_t kVme = 2;
constexpr std::uint32_t kHypervisor = 0x80000000;
constexpr std::uint32_t kCopies = 0x0183f3ff;

TEST(CpuModels, ShowTheWordsTheyAreKnownFor) {
  for (const KnownWords& known : kKnown) {
    const CpuModelRow* row = find_cpu_model(known.name);
    ASSERT_NE(row, nullptr) << known.name;
    const CpuModelFacts facts = cpu_model_facts(*row);
    EXPECT_EQ(encode_signature(facts.signature), known.signature) << known.name;
    for (std::size_t i = 0; i < kWordsShown.size(); ++i) {
      const std::uint32_t ignored = kWordsShown[i] == k1Edx          ? kVme
                                    : kWordsShown[i] == k1Ecx        ? kHypervisor
                                    : kWordsShown[i] == k80000001Edx ? kCopies
                                                                     : 0;
      EXPECT_EQ(facts.features.word(kWordsShown[i]) & ~ignored, known.words[i] & ~ignored)
          << known.name << " word " << i;
    }
  }
}

std::vector<const CpuModelRow*> all_rows() {
  std::vector<const CpuModelRow*> rows;
  for (const auto table : {generic_models(), intel_models(), amd_models()})
    for (const CpuModelRow& row : table) rows.push_back(&row);
  return rows;
}

TEST(CpuModels, EveryRowIsComplete) {
  for (const CpuModelRow* row : all_rows()) {
    const CpuModelFacts facts = cpu_model_facts(*row);
    EXPECT_EQ(facts.vendor.size(), 12U) << facts.name;
    EXPECT_GE(facts.signature.family, 4U) << facts.name;
    EXPECT_GE(facts.level, 1U) << facts.name;
    EXPECT_LE(facts.model_id.size(), 48U) << facts.name;
    EXPECT_TRUE(facts.features.has(find_feature("fpu")->bit)) << facts.name;
    if (!row->parent.empty()) {
      EXPECT_NE(find_cpu_model(row->parent), nullptr) << facts.name;
    }
  }
}

TEST(CpuModels, RowsNameOnlyFeaturesThatExistAndMakeADifference) {
  for (const CpuModelRow* row : all_rows()) {
    std::string_view rest = row->features;
    while (!rest.empty()) {
      std::string_view name = rest.substr(0, rest.find(' '));
      rest.remove_prefix(std::min(rest.size(), name.size() + 1));
      if (name.starts_with('-')) name.remove_prefix(1);
      EXPECT_NE(find_feature(name), nullptr) << versioned_name(*row) << ": " << name;
    }
  }
}

TEST(CpuModels, NoModelHasAFeatureWithoutItsGround) {
  for (const CpuModelRow* row : all_rows()) {
    const FeatureSet all = cpu_model_facts(*row).features;
    FeatureSet founded = all;
    drop_unfounded(founded);
    EXPECT_EQ(founded, all) << versioned_name(*row);
  }
}

TEST(CpuModels, NamesAreUniqueAndFound) {
  std::set<std::string> seen;
  for (const std::string& name : cpu_model_names()) EXPECT_TRUE(seen.insert(name).second) << name;
  EXPECT_TRUE(seen.contains("max"));
  for (const char* name : {"qemu64", "kvm32", "486", "n270", "Haswell-noTSX-IBRS", "Skylake-Server-v5", "EPYC-IBPB",
                           "EPYC-Genoa", "SapphireRapids", "KnightsMill", "Opteron_G3"})
    EXPECT_NE(find_cpu_model(name), nullptr) << name;
  EXPECT_EQ(find_cpu_model("qemu64-x86_64-cpu"), find_cpu_model("qemu64-v1"));
  EXPECT_EQ(versioned_name(*find_cpu_model("Haswell-noTSX")), "Haswell-v2");
  EXPECT_EQ(find_cpu_model("haswell"), nullptr);
  EXPECT_EQ(find_cpu_model(""), nullptr);
  EXPECT_EQ(find_cpu_model("max"), nullptr);
  EXPECT_EQ(find_cpu_model("Haswell-v9"), nullptr);
}

TEST(CpuModels, SignaturesRoundTrip) {
  for (const CpuModelRow* row : all_rows()) {
    const Signature signature = cpu_model_facts(*row).signature;
    EXPECT_EQ(decode_signature(encode_signature(signature)), signature) << versioned_name(*row);
  }
  EXPECT_EQ(encode_signature({25, 1, 1}), 0x00a00f11U);
  EXPECT_EQ(encode_signature({6, 0x9e, 10}), 0x000906eaU);
}

TEST(CpuModels, NewerThanTheTable) {
  const CpuModelFacts genoa = cpu_model_facts(*find_cpu_model("EPYC-Genoa"));
  EXPECT_TRUE(genoa.features.has(find_feature("avx512-bf16")->bit));
  EXPECT_TRUE(genoa.features.has(find_feature("auto-ibrs")->bit));
  EXPECT_EQ(genoa.xlevel, 0x80000022U);
  EXPECT_EQ(genoa.caches, CacheSet::kGenoa);
  const CpuModelFacts rapids = cpu_model_facts(*find_cpu_model("SapphireRapids"));
  EXPECT_TRUE(rapids.features.has(feature::kAmxTile));
  EXPECT_FALSE(rapids.features.has(feature::kMpx));
  EXPECT_EQ(rapids.level, 0x20U);
}

}  // namespace
}  // namespace doppel::x86
