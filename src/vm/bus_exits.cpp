#include "vm/bus_exits.h"

#include <bit>

#include "base/endian.h"

namespace doppel::vm {

using accel::IoDirection;
using memory::GuestPhysAddr;

void carry_out(memory::AddressSpace& ports, accel::IoExit& exit) {
  std::byte* element = exit.data.data();
  for (std::uint32_t i = 0; i < exit.count; ++i, element += exit.size) {
    if (exit.direction == IoDirection::kOut)
      ports.write(GuestPhysAddr{exit.port}, exit.size, load_le_sized(element, exit.size));
    else
      store_le_sized(element, exit.size, ports.read(GuestPhysAddr{exit.port}, exit.size));
  }
}

void carry_out(memory::AddressSpace& memory, accel::MmioExit& exit) {
  const std::size_t size = exit.data.size();
  const bool is_bus_width = size <= 8 && std::has_single_bit(size);
  if (exit.direction == IoDirection::kOut) {
    if (is_bus_width)
      memory.write(exit.address, static_cast<unsigned>(size), load_le_sized(exit.data.data(), size));
    else
      memory.write(exit.address, std::span<const std::byte>(exit.data));
  } else if (is_bus_width) {
    store_le_sized(exit.data.data(), size, memory.read(exit.address, static_cast<unsigned>(size)));
  } else {
    memory.read(exit.address, exit.data);
  }
}

}  // namespace doppel::vm
