#include "accel/soft/interpreter/cpuid.h"

#include <algorithm>

#include "x86/cpu_reset.h"
#include "x86/cpuid_builder.h"
#include "x86/cpuid_table.h"

namespace doppel::accel::soft {

namespace {

constexpr std::uint32_t kExtendedBase = 0x8000'0000;

/// Bytes of an XSAVE area in compacted format (SDM 1 13.4.3).
std::uint32_t compacted_size(const Cpu& cpu, std::uint64_t components) {
  constexpr std::uint32_t kAligned = 2;
  std::uint32_t size = x86::kXsaveMinimumSize;
  for (unsigned i = 2; i < 63; ++i) {
    if (!test_bit(components, i)) continue;
    const x86::CpuidEntry* row = x86::find_cpuid(cpu.cpuid, 0xd, i);
    if (row == nullptr) continue;
    if ((row->ecx & kAligned) != 0) size = align_up(size, 64U);
    size += row->eax;
  }
  return size;
}

void follow_state(const Cpu& cpu, x86::CpuidEntry& row, std::uint32_t leaf, std::uint32_t subleaf) {
  constexpr std::uint32_t kOsxsave = 1U << 27U;
  constexpr std::uint32_t kOspke = 1U << 4U;
  if (leaf == 1) {
    row.ecx = (cpu.cr4 & x86::cr4::kOsxsave) != 0 ? row.ecx | kOsxsave : row.ecx & ~kOsxsave;
  } else if (leaf == 7 && subleaf == 0) {
    row.ecx = (cpu.cr4 & x86::cr4::kPke) != 0 ? row.ecx | kOspke : row.ecx & ~kOspke;
  } else if (leaf == 0xd && subleaf == 0) {
    row.ebx = x86::xsave_area_size(cpu.cpuid, cpu.xcr0);
  } else if (leaf == 0xd && subleaf == 1) {
    constexpr std::uint32_t kXsavec = 1U << 1U;
    constexpr std::uint32_t kXsaves = 1U << 3U;
    if ((row.eax & (kXsavec | kXsaves)) != 0) row.ebx = compacted_size(cpu, cpu.xcr0 | cpu.msrs.xss);
  }
}

/// Leaves beyond the last basic one read as that one on Intel's processors, as zero on others.
std::uint32_t effective_leaf(const Cpu& cpu, std::uint32_t leaf) {
  const x86::CpuidEntry* basic = x86::find_cpuid(cpu.cpuid, 0);
  const x86::CpuidEntry* extended = x86::find_cpuid(cpu.cpuid, kExtendedBase);
  if (basic == nullptr || leaf <= basic->eax) return leaf;
  if (extended != nullptr && leaf >= kExtendedBase && leaf <= extended->eax) return leaf;
  if (x86::find_cpuid(cpu.cpuid, leaf) != nullptr) return leaf;  // such as a hypervisor's
  constexpr std::uint32_t kGenuine = 0x756e6547;
  return basic->ebx == kGenuine ? basic->eax : leaf;
}

}  // namespace

x86::CpuidEntry cpuid(const Cpu& cpu, std::uint32_t leaf, std::uint32_t subleaf) {
  leaf = effective_leaf(cpu, leaf);
  if (const x86::CpuidEntry* found = x86::find_cpuid(cpu.cpuid, leaf, subleaf)) {
    x86::CpuidEntry row = *found;
    follow_state(cpu, row, leaf, subleaf);
    return row;
  }
  x86::CpuidEntry row{.leaf = leaf, .subleaf = subleaf};
  if (leaf != 0xb && leaf != 0x1f) return row;
  // Topology levels that there are not still tell the sub-leaf and the APIC id.
  if (const x86::CpuidEntry* first = x86::find_cpuid(cpu.cpuid, leaf, 0)) {
    row.ecx = subleaf & 0xff;
    row.edx = first->edx;
  }
  return row;
}

}  // namespace doppel::accel::soft
