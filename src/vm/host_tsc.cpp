#include "vm/host_tsc.h"

#include <cpuid.h>
#include <x86intrin.h>

#include <chrono>
#include <thread>

namespace doppel::vm {

namespace {

/// CPUID.15H: the ratio to the core crystal clock, and that clock where it is enumerated (SDM 2A, CPUID).
std::uint64_t enumerated_hz() {
  unsigned denominator = 0;
  unsigned numerator = 0;
  unsigned crystal_hz = 0;
  unsigned reserved = 0;
  if (__get_cpuid_count(0x15, 0, &denominator, &numerator, &crystal_hz, &reserved) == 0) return 0;
  if (denominator == 0 || numerator == 0) return 0;
  return std::uint64_t{crystal_hz} * numerator / denominator;
}

/// Leaf 40000010H of hypervisors that have it: kHz.
std::uint64_t hypervisor_hz() {
  constexpr unsigned kTimingLeaf = 0x40000010;
  unsigned eax = 0;
  unsigned ebx = 0;
  unsigned ecx = 0;
  unsigned edx = 0;
  __cpuid(1, eax, ebx, ecx, edx);
  if ((ecx & 1U << 31U) == 0) return 0;
  __cpuid(0x40000000, eax, ebx, ecx, edx);
  if (eax < kTimingLeaf || eax > 0x40000100) return 0;
  __cpuid(kTimingLeaf, eax, ebx, ecx, edx);
  return std::uint64_t{eax} * 1000;
}

std::uint64_t measured_hz() {
  using Clock = std::chrono::steady_clock;
  const auto begin = Clock::now();
  const std::uint64_t first = host_tsc();
  std::this_thread::sleep_for(std::chrono::milliseconds(10));
  const auto elapsed = std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - begin).count();
  const std::uint64_t ticks = host_tsc() - first;
  return static_cast<std::uint64_t>(static_cast<unsigned __int128>(ticks) * 1'000'000'000 /
                                    static_cast<std::uint64_t>(elapsed));
}

}  // namespace

std::uint64_t host_tsc() {
  return __rdtsc();
}

std::uint64_t host_tsc_hz() {
  if (const std::uint64_t hz = enumerated_hz(); hz != 0) return hz;
  if (const std::uint64_t hz = hypervisor_hz(); hz != 0) return hz;
  return measured_hz();
}

}  // namespace doppel::vm
