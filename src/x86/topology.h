// How logical processors are arranged, and the APIC ids that follow (SDM 3A 9.9; AMD APM 3 appendix E.5).
#pragma once

#include <cstdint>

#include "base/error.h"

namespace doppel::x86 {

/// Counts per next larger unit, each at least 1.
struct CpuTopology {
  unsigned sockets = 1;
  unsigned dies = 1;     // per socket
  unsigned cores = 1;    // per die
  unsigned threads = 1;  // per core
  [[nodiscard]] unsigned threads_per_die() const { return cores * threads; }
  [[nodiscard]] unsigned threads_per_socket() const { return dies * threads_per_die(); }
  [[nodiscard]] unsigned cpu_count() const { return sockets * threads_per_socket(); }
  bool operator==(const CpuTopology&) const = default;
};

/// Where a logical processor sits.
struct CpuPlace {
  unsigned socket = 0;
  unsigned die = 0;
  unsigned core = 0;
  unsigned thread = 0;
  bool operator==(const CpuPlace&) const = default;
};

/// Number of the lowest APIC id bit of each unit; every unit takes as many bits as its count needs.
struct ApicIdShifts {
  unsigned core = 0;
  unsigned die = 0;
  unsigned socket = 0;
};

/// Bits to number COUNT things, COUNT at least 1: 0 for one, 2 for three.
unsigned id_bits(unsigned count);

ApicIdShifts apic_id_shifts(const CpuTopology& topology);
/// The logical processor numbered INDEX, threads counted first.
CpuPlace place_of(const CpuTopology& topology, unsigned index);
std::uint32_t apic_id_of(const CpuTopology& topology, unsigned index);
CpuPlace place_of_apic_id(const CpuTopology& topology, std::uint32_t apic_id);

/// kInvalidArgument if a count is 0, or if there are more than MOST processors.
Result<> check_topology(const CpuTopology& topology, unsigned most);

}  // namespace doppel::x86
