// The I/O ports that a board's devices have taken.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/error.h"
#include "memory/address_space.h"

namespace doppel::hw {

/// Puts handlers on the port space and keeps two from the same port. Built before the machine runs.
class PortMap {
 public:
  PortMap(memory::Topology& topology, memory::AddressSpace& ports) : topology_(topology), ports_(ports) {}

  /// HANDLER outlives the port space's use. An overlap is an error that names both ranges.
  Result<> add(std::string name, std::uint64_t port, std::uint64_t count, memory::IoHandler& handler,
               memory::IoSizes sizes);
  /// Notes ports that somebody else decodes.
  Result<> reserve(std::string name, std::uint64_t port, std::uint64_t count);

 private:
  struct Range {
    std::string name;
    std::uint64_t first;
    std::uint64_t last;
  };

  memory::Topology& topology_;
  memory::AddressSpace& ports_;
  std::vector<Range> ranges_;
};

}  // namespace doppel::hw
