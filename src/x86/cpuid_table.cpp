#include "x86/cpuid_table.h"

#include <cpuid.h>

#include <algorithm>
#include <array>
#include <cstring>

namespace doppel::x86 {
namespace {

/// How many sub-leaves to read of the leaves that have them.
std::uint32_t subleaf_count(std::uint32_t leaf) {
  switch (leaf) {
    case 4:
    case 0x8000001d: return 8;
    case 0xd: return 64;
    case 7:
    case 0x14:
    case 0x1d: return host_cpuid(leaf).eax + 1;
    case 0xb:
    case 0x1f:
    case 0x12:
    case 0x1e: return 4;
    default: return 0;
  }
}

void append_range(CpuidTable& table, std::uint32_t first) {
  // A hostile or broken hypervisor below us must not make this loop long.
  constexpr std::uint32_t kMostLeaves = 0x40;
  const std::uint32_t last = host_cpuid(first).eax;
  if (last < first || last - first > 0xffff) return;
  for (std::uint32_t leaf = first; leaf <= std::min(last, first + kMostLeaves); ++leaf) {
    const std::uint32_t count = std::min(subleaf_count(leaf), 64U);
    if (count == 0) table.push_back(host_cpuid(leaf));
    for (std::uint32_t subleaf = 0; subleaf < count; ++subleaf) {
      CpuidEntry entry = host_cpuid(leaf, subleaf);
      entry.subleaf = subleaf;
      if (leaf == 0xd && subleaf > 1 && entry.eax == 0) continue;
      table.push_back(entry);
    }
  }
}

template <class Table>
auto* find_in(Table& table, std::uint32_t leaf, std::uint32_t subleaf) {
  const auto found = std::ranges::find_if(
      table, [&](const CpuidEntry& entry) { return entry.leaf == leaf && entry.subleaf.value_or(subleaf) == subleaf; });
  return found == table.end() ? nullptr : &*found;
}

}  // namespace

const CpuidEntry* find_cpuid(const CpuidTable& table, std::uint32_t leaf, std::uint32_t subleaf) {
  return find_in(table, leaf, subleaf);
}

CpuidEntry* find_cpuid(CpuidTable& table, std::uint32_t leaf, std::uint32_t subleaf) {
  return find_in(table, leaf, subleaf);
}

std::uint32_t cpuid_register(const CpuidEntry& entry, CpuidRegister reg) {
  switch (reg) {
    case CpuidRegister::kEax: return entry.eax;
    case CpuidRegister::kEbx: return entry.ebx;
    case CpuidRegister::kEcx: return entry.ecx;
    case CpuidRegister::kEdx: return entry.edx;
  }
  return 0;
}

std::string vendor_of(const CpuidTable& table) {
  const CpuidEntry* entry = find_cpuid(table, 0);
  if (entry == nullptr) return {};
  const std::array<std::uint32_t, 3> words = {entry->ebx, entry->edx, entry->ecx};
  std::string vendor(sizeof words, '\0');
  std::memcpy(vendor.data(), words.data(), sizeof words);
  return vendor;
}

std::string brand_of(const CpuidTable& table) {
  std::string brand;
  for (std::uint32_t leaf = 0x80000002; leaf <= 0x80000004; ++leaf) {
    const CpuidEntry* entry = find_cpuid(table, leaf);
    if (entry == nullptr) return {};
    const std::array<std::uint32_t, 4> words = {entry->eax, entry->ebx, entry->ecx, entry->edx};
    brand.append(reinterpret_cast<const char*>(words.data()), sizeof words);
  }
  brand.erase(std::ranges::find(brand, '\0'), brand.end());
  return brand;
}

CpuidEntry host_cpuid(std::uint32_t leaf, std::uint32_t subleaf) {
  CpuidEntry entry;
  entry.leaf = leaf;
  __cpuid_count(leaf, subleaf, entry.eax, entry.ebx, entry.ecx, entry.edx);
  return entry;
}

CpuidTable host_cpuid_table() {
  CpuidTable table;
  append_range(table, 0);
  append_range(table, 0x80000000);
  return table;
}

}  // namespace doppel::x86
