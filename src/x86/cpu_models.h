// The processors that -cpu can name, as a table of facts. A row is one version of a model and tells what differs from
// another row, so that a generation reads as what it brought.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "x86/cache_info.h"
#include "x86/features.h"

namespace doppel::x86 {

/// Family, model and stepping as people write them, extended fields added in.
struct Signature {
  unsigned family = 0;
  unsigned model = 0;
  unsigned stepping = 0;
  bool operator==(const Signature&) const = default;
};

/// CPUID.1:EAX of a signature, and back.
std::uint32_t encode_signature(const Signature& signature);
Signature decode_signature(std::uint32_t eax);

/// What is left at its default is as in the parent: the row named so or, for versions after the first, the version
/// before.
struct CpuModelRow {
  std::string_view name;
  unsigned version = 1;
  std::string_view parent = {};  // with its version: "Haswell-v1"
  std::string_view alias = {};   // another name for just this version
  std::string_view vendor = {};
  std::optional<Signature> signature = {};
  std::uint32_t level = 0;
  std::optional<std::uint32_t> xlevel = {};
  std::string_view model_id = {};
  std::optional<CacheSet> caches = {};
  std::string_view note = {};      // what -cpu help adds in brackets
  std::string_view features = {};  // names added; names taken away have '-' before them
};

std::span<const CpuModelRow> generic_models();
std::span<const CpuModelRow> intel_models();
std::span<const CpuModelRow> amd_models();

/// A row with everything filled in.
struct CpuModelFacts {
  std::string name;  // with its version
  std::string vendor;
  Signature signature;
  std::uint32_t level = 0;
  std::uint32_t xlevel = 0;
  std::string model_id;
  CacheSet caches = CacheSet::kLegacy;
  FeatureSet features;
};

/// The row for NAME: "Haswell" (its version 1), "Haswell-v4", "Haswell-noTSX"; also with QEMU's "-x86_64-cpu" behind
/// it. Null if there is none.
const CpuModelRow* find_cpu_model(std::string_view name);
CpuModelFacts cpu_model_facts(const CpuModelRow& row);

/// A row's full name, "Haswell-v4".
std::string versioned_name(const CpuModelRow& row);

/// Models that have no row because they follow the accelerator: "max", "host" and the bare "base".
struct SpecialModel {
  std::string_view name;
  std::string_view help;
};
std::span<const SpecialModel> special_models();

/// Every name that -cpu takes, for suggestions: models, versions, aliases and special ones.
std::vector<std::string> cpu_model_names();

}  // namespace doppel::x86
