#include "host_state.h"

#include <cstring>

#include "processor_state.h"
#include "x86/registers.h"

namespace doppel::oracle {

namespace {

template <x86::SegmentName name>
std::uint16_t host_selector() {
  std::uint16_t value = 0;
  if constexpr (name == x86::kEs) asm volatile("mov %%es, %0" : "=r"(value));
  if constexpr (name == x86::kCs) asm volatile("mov %%cs, %0" : "=r"(value));
  if constexpr (name == x86::kSs) asm volatile("mov %%ss, %0" : "=r"(value));
  if constexpr (name == x86::kDs) asm volatile("mov %%ds, %0" : "=r"(value));
  if constexpr (name == x86::kFs) asm volatile("mov %%fs, %0" : "=r"(value));
  if constexpr (name == x86::kGs) asm volatile("mov %%gs, %0" : "=r"(value));
  return value;
}

std::uint64_t host_xcr0() {
  std::uint32_t low = 0, high = 0;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return std::uint64_t{high} << 32U | low;
}

void take_host_selectors(x86::CpuState& state) {
  state.segment[x86::kEs].selector = host_selector<x86::kEs>();
  state.segment[x86::kCs].selector = host_selector<x86::kCs>();
  state.segment[x86::kSs].selector = host_selector<x86::kSs>();
  state.segment[x86::kDs].selector = host_selector<x86::kDs>();
  state.segment[x86::kFs].selector = host_selector<x86::kFs>();
  state.segment[x86::kGs].selector = host_selector<x86::kGs>();
}

}  // namespace

void take_host_environment(x86::CpuState& state, std::uint64_t pml4, std::uint64_t fs_base, std::uint64_t gs_base) {
  state.rflags = x86::rflags::kFixed | x86::rflags::kIf;
  state.cr0 |= x86::cr0::kAm;
  state.cr3 = pml4;
  state.cr4 |= x86::cr4::kOsxsave | x86::cr4::kUmip;
  state.xcr0 = host_xcr0();
  state.tr.limit = 0x63;  // no I/O permission bitmap
  state.segment[x86::kFs].base = fs_base;
  state.segment[x86::kGs].base = gs_base;
  take_host_selectors(state);
}

void write_upper_tables(std::byte* ram, std::uint64_t pml4, std::uint64_t entry) {
  for (unsigned level = 0; level < 3; ++level) {
    const std::uint64_t table = pml4 + level * layout::kPage;
    const std::uint64_t index = layout::kBase >> (39U - 9 * level) & 0x1ff;
    const std::uint64_t value = (table + layout::kPage) | entry;
    std::memcpy(ram + table + index * 8, &value, sizeof value);
  }
}

}  // namespace doppel::oracle
