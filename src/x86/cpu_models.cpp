#include "x86/cpu_models.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>

#include "base/bits.h"
#include "base/text.h"

namespace doppel::x86 {
namespace {

constexpr auto kSpecialModels = std::to_array<SpecialModel>({
    {"base", "no features but those asked for"},
    {"host", "the host's processor, as far as the accelerator passes it on"},
    {"max", "every feature that the accelerator offers on this host"},
});

constexpr std::string_view kTypeSuffix = "-x86_64-cpu";
/// Longer chains of parents than this would be a loop in the table.
constexpr unsigned kMostParents = 40;

std::array<std::span<const CpuModelRow>, 3> all_tables() {
  return {generic_models(), intel_models(), amd_models()};
}

const CpuModelRow* find_version(std::string_view name, unsigned version) {
  for (const auto table : all_tables())
    for (const CpuModelRow& row : table)
      if (row.name == name && row.version == version) return &row;
  return nullptr;
}

const CpuModelRow* parent_of(const CpuModelRow& row) {
  if (!row.parent.empty()) return find_cpu_model(row.parent);
  return row.version > 1 ? find_version(row.name, row.version - 1) : nullptr;
}

void apply_features(FeatureSet& set, std::string_view names) {
  for (std::string_view name : split(names, ' ')) {
    const bool on = !name.starts_with('-');
    if (!on) name.remove_prefix(1);
    if (const Feature* feature = find_feature(name)) set.set(feature->bit, on);
  }
}

void apply_row(CpuModelFacts& facts, const CpuModelRow& row) {
  if (!row.vendor.empty()) facts.vendor = row.vendor;
  if (row.signature) facts.signature = *row.signature;
  if (row.level != 0) facts.level = row.level;
  if (row.xlevel) facts.xlevel = *row.xlevel;
  if (!row.model_id.empty()) facts.model_id = row.model_id;
  if (row.caches) facts.caches = *row.caches;
  apply_features(facts.features, row.features);
}

}  // namespace

std::uint32_t encode_signature(const Signature& signature) {
  const std::uint32_t base_family = std::min(signature.family, 15U);
  const std::uint32_t extended_family = signature.family - base_family;
  return (extended_family & 0xff) << 20 | bits(signature.model, 7, 4) << 16 | base_family << 8 |
         bits(signature.model, 3, 0) << 4 | (signature.stepping & 0xf);
}

Signature decode_signature(std::uint32_t eax) {
  Signature signature;
  signature.family = bits(eax, 11, 8);
  signature.model = bits(eax, 7, 4);
  signature.stepping = bits(eax, 3, 0);
  if (signature.family == 15 || signature.family == 6) signature.model |= bits(eax, 19, 16) << 4;
  if (signature.family == 15) signature.family += bits(eax, 27, 20);
  return signature;
}

const CpuModelRow* find_cpu_model(std::string_view name) {
  if (name.ends_with(kTypeSuffix)) name.remove_suffix(kTypeSuffix.size());
  for (const auto table : all_tables())
    for (const CpuModelRow& row : table)
      if ((row.version == 1 && row.name == name) || row.alias == name || versioned_name(row) == name)
        return name.empty() ? nullptr : &row;
  return nullptr;
}

CpuModelFacts cpu_model_facts(const CpuModelRow& row) {
  std::vector<const CpuModelRow*> lineage;
  for (const CpuModelRow* at = &row; at != nullptr && lineage.size() < kMostParents; at = parent_of(*at))
    lineage.push_back(at);
  CpuModelFacts facts;
  facts.name = versioned_name(row);
  for (auto at = lineage.rbegin(); at != lineage.rend(); ++at) apply_row(facts, **at);
  return facts;
}

std::string versioned_name(const CpuModelRow& row) {
  return fmt::format("{}-v{}", row.name, row.version);
}

std::span<const SpecialModel> special_models() {
  return kSpecialModels;
}

std::vector<std::string> cpu_model_names() {
  std::vector<std::string> names;
  for (const auto table : all_tables()) {
    for (const CpuModelRow& row : table) {
      if (row.version == 1) names.emplace_back(row.name);
      if (!row.alias.empty()) names.emplace_back(row.alias);
      names.push_back(versioned_name(row));
    }
  }
  for (const SpecialModel& special : kSpecialModels) names.emplace_back(special.name);
  return names;
}

}  // namespace doppel::x86
