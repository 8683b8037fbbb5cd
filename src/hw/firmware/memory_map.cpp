#include "hw/firmware/memory_map.h"

#include <algorithm>

#include "base/bits.h"

namespace doppel::hw {

void MemoryMap::add(std::uint64_t address, std::uint64_t size, MemoryType type) {
  if (size == 0) return;
  const MemoryRange added{address, size, type};
  std::vector<MemoryRange> kept;
  for (const MemoryRange& old : ranges_) {
    if (old.address < added.address)
      kept.push_back({old.address, std::min(old.end(), added.address) - old.address, old.type});
    if (old.end() > added.end()) {
      const std::uint64_t start = std::max(old.address, added.end());
      kept.push_back({start, old.end() - start, old.type});
    }
  }
  kept.push_back(added);
  std::ranges::sort(kept, {}, &MemoryRange::address);
  ranges_.clear();
  for (const MemoryRange& range : kept) {
    const bool joins = !ranges_.empty() && ranges_.back().type == range.type && ranges_.back().end() == range.address;
    if (joins)
      ranges_.back().size += range.size;
    else
      ranges_.push_back(range);
  }
}

bool MemoryMap::is_ram(std::uint64_t address, std::uint64_t size) const {
  return std::ranges::any_of(ranges_, [&](const MemoryRange& range) {
    return range.type == MemoryType::kRam && address >= range.address && size <= range.size &&
           address - range.address <= range.size - size;
  });
}

std::uint64_t MemoryMap::low_ram_end() const {
  for (const MemoryRange& range : ranges_)
    if (range.type == MemoryType::kRam && range.address <= kMiB && range.end() > kMiB) return range.end();
  return kMiB;
}

std::vector<AddressWindow> MemoryMap::ram() const {
  std::vector<AddressWindow> windows;
  for (const MemoryRange& range : ranges_)
    if (range.type == MemoryType::kRam) windows.push_back({range.address, range.end()});
  return windows;
}

Bytes MemoryMap::encode_e820() const {
  ByteWriter writer;
  for (const MemoryRange& range : ranges_)
    writer.u64(range.address).u64(range.size).u32(static_cast<std::uint32_t>(range.type));
  return writer.take();
}

MemoryMap firmware_memory_map(std::uint64_t ram_below_4g, std::uint64_t ram_above_4g) {
  MemoryMap map;
  map.add(0, ram_below_4g, MemoryType::kRam);
  map.add(4 * kGiB, ram_above_4g, MemoryType::kRam);
  // Where the accelerator keeps its task state segment and identity map on hosts that need them.
  map.add(0xfeffc000, 0x4000, MemoryType::kReserved);
  return map;
}

MemoryMap direct_memory_map(std::uint64_t ram_below_4g, std::uint64_t ram_above_4g) {
  MemoryMap map = firmware_memory_map(ram_below_4g, ram_above_4g);
  map.add(kEbdaBase, kMiB - kEbdaBase, MemoryType::kReserved);
  return map;
}

}  // namespace doppel::hw
