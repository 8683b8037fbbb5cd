#include "host_state.h"

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

}  // namespace

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

}  // namespace doppel::oracle
