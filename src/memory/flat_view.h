// An address space with all overlaps resolved: sorted, disjoint ranges, immutable once published.
#pragma once

#include <cstdint>
#include <vector>

#include "memory/address.h"
#include "memory/region.h"

namespace doppel::memory {

/// A run of addresses that one region answers.
struct FlatRange {
  GuestPhysAddr start = {};
  std::uint64_t size = 0;
  RegionPtr region = {};            // kRam, kRom, kRomDevice or kIo
  std::uint64_t region_offset = 0;  // of START in the region
  bool readable_ram = false;        // reads come straight from host memory
  bool writable_ram = false;        // writes go straight to host memory
  bool rom_device = false;          // readable, and writes go to the handler

  [[nodiscard]] GuestPhysAddr end() const { return start + size; }
  [[nodiscard]] bool contains(GuestPhysAddr address) const { return address >= start && address - start < size; }
  /// Host address of START; only where readable_ram.
  [[nodiscard]] std::byte* host() const { return region->ram()->host() + ram_offset(); }
  /// Offset of START in the region's RamBlock.
  [[nodiscard]] std::uint64_t ram_offset() const { return region->ram_offset() + region_offset; }
  bool operator==(const FlatRange&) const = default;
};

class FlatView {
 public:
  FlatView() = default;
  explicit FlatView(std::vector<FlatRange> ranges) : ranges_(std::move(ranges)) {}

  [[nodiscard]] const std::vector<FlatRange>& ranges() const { return ranges_; }
  /// The range that holds ADDRESS, or nullptr for a hole.
  [[nodiscard]] const FlatRange* find(GuestPhysAddr address) const;
  /// From ADDRESS to the start of the next range, or to the last address there is.
  [[nodiscard]] std::uint64_t bytes_to_next(GuestPhysAddr address) const;

 private:
  std::vector<FlatRange> ranges_;
};

}  // namespace doppel::memory
