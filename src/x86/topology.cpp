#include "x86/topology.h"

#include <bit>

#include "base/bits.h"

namespace doppel::x86 {

unsigned id_bits(unsigned count) {
  return count <= 1 ? 0 : static_cast<unsigned>(std::bit_width(count - 1));
}

ApicIdShifts apic_id_shifts(const CpuTopology& topology) {
  ApicIdShifts shifts;
  shifts.core = id_bits(topology.threads);
  shifts.die = shifts.core + id_bits(topology.cores);
  shifts.socket = shifts.die + id_bits(topology.dies);
  return shifts;
}

CpuPlace place_of(const CpuTopology& topology, unsigned index) {
  CpuPlace place;
  place.thread = index % topology.threads;
  index /= topology.threads;
  place.core = index % topology.cores;
  index /= topology.cores;
  place.die = index % topology.dies;
  place.socket = index / topology.dies;
  return place;
}

std::uint32_t apic_id_of(const CpuTopology& topology, unsigned index) {
  const CpuPlace place = place_of(topology, index);
  const ApicIdShifts shifts = apic_id_shifts(topology);
  return place.socket << shifts.socket | place.die << shifts.die | place.core << shifts.core | place.thread;
}

CpuPlace place_of_apic_id(const CpuTopology& topology, std::uint32_t apic_id) {
  const ApicIdShifts shifts = apic_id_shifts(topology);
  const auto field = [&](unsigned from, unsigned to) {
    return static_cast<unsigned>((apic_id >> from) & low_mask(to - from));
  };
  return {apic_id >> shifts.socket, field(shifts.die, shifts.socket), field(shifts.core, shifts.die),
          field(0, shifts.core)};
}

Result<> check_topology(const CpuTopology& topology, unsigned most) {
  std::uint64_t count = 1;
  for (const unsigned factor : {topology.sockets, topology.dies, topology.cores, topology.threads}) {
    if (factor == 0)
      return fail(ErrorKind::kInvalidArgument, "sockets, dies, cores and threads must each be at least 1");
    if (factor > most || count * factor > most)
      return fail(ErrorKind::kInvalidArgument,
                  "{} sockets of {} dies of {} cores of {} threads are more than {} processors", topology.sockets,
                  topology.dies, topology.cores, topology.threads, most);
    count *= factor;
  }
  return {};
}

}  // namespace doppel::x86
