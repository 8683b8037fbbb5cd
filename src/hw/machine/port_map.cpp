#include "hw/machine/port_map.h"

namespace doppel::hw {

namespace {

constexpr std::uint64_t kPortCount = 0x10000;

}  // namespace

Result<> PortMap::add(std::string name, std::uint64_t port, std::uint64_t count, memory::IoHandler& handler,
                      memory::IoSizes sizes) {
  DOPPEL_TRY(reserve(name, port, count));
  ports_.root().add(topology_.io(std::move(name), count, handler, sizes), port);
  return {};
}

Result<> PortMap::reserve(std::string name, std::uint64_t port, std::uint64_t count) {
  if (count == 0 || count > kPortCount || port > kPortCount - count)
    return fail(ErrorKind::kOutOfRange, "{}: {} ports at {:#x} do not fit below 0x10000", name, count, port);
  const std::uint64_t last = port + count - 1;
  for (const Range& range : ranges_)
    if (port <= range.last && range.first <= last)
      return fail(ErrorKind::kAlreadyExists, "{}: ports {:#x}-{:#x} overlap those of {}, {:#x}-{:#x}", name, port, last,
                  range.name, range.first, range.last);
  ranges_.push_back({.name = std::move(name), .first = port, .last = last});
  return {};
}

}  // namespace doppel::hw
