// CPUID tables: what a processor says of itself.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace doppel::x86 {

struct CpuidEntry {
  std::uint32_t leaf = 0;
  std::optional<std::uint32_t> subleaf;  // empty where the leaf has no sub-leaves
  std::uint32_t eax = 0;
  std::uint32_t ebx = 0;
  std::uint32_t ecx = 0;
  std::uint32_t edx = 0;
  bool operator==(const CpuidEntry&) const = default;
};

using CpuidTable = std::vector<CpuidEntry>;

}  // namespace doppel::x86
