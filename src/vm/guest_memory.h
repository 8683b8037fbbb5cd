// The guest's RAM: blocks made as -m, -mem-path, -object memory-backend-* and -numa ask, laid end to end.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "memory/region.h"
#include "vm/config.h"

namespace doppel::vm {

/// One NUMA node as the ACPI tables describe it: which RAM, counted from the start of all RAM, and which CPUs.
struct NumaNode {
  unsigned id = 0;
  std::uint64_t ram_start = 0;
  std::uint64_t ram_size = 0;
  std::vector<unsigned> cpus;
};

struct GuestMemory {
  std::vector<std::shared_ptr<memory::RamBlock>> blocks;  // in order
  memory::RegionPtr ram;                                  // all of it in one container, from offset 0
  memory::RegionPtr low_ram;                              // the first block's region, at least 1 MiB
  std::uint64_t size = 0;                                 // bytes
  std::vector<NumaNode> nodes;                            // empty without -numa
  std::vector<std::uint8_t> distances;                    // nodes * nodes, row by row; empty if none was given
};

/// MEMORY_BACKEND is `-machine memory-backend=`, or empty. CPUS is maxcpus.
Result<GuestMemory> create_guest_memory(const VmConfig& config, std::string_view memory_backend, unsigned cpus,
                                        memory::Topology& topology);

}  // namespace doppel::vm
