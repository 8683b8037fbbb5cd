// Base address registers: PCI Local Bus 3.0, section 6.2.5.
#pragma once

#include <cstdint>
#include <optional>

#include "base/error.h"
#include "hw/pci/config_space.h"
#include "memory/region.h"

namespace doppel::hw {

enum class BarKind : std::uint8_t { kIo, kMemory32, kMemory64, kRom };
enum class Prefetch : std::uint8_t { kNo, kYes };

/// One base address register and the region that it places on the bus. Guarded by its function's lock.
class Bar {
 public:
  /// The region's size must be a power of two: 4 B to 32 KiB of I/O, from 16 B of memory (32-bit: up to 2 GiB),
  /// 2 KiB to 16 MiB of ROM. OFFSET is the register's.
  static Result<Bar> create(BarKind kind, Prefetch prefetch, unsigned offset, memory::RegionPtr region);

  [[nodiscard]] BarKind kind() const { return kind_; }
  [[nodiscard]] unsigned offset() const { return offset_; }
  [[nodiscard]] const memory::RegionPtr& region() const { return region_; }
  /// Where the region is on the bus now, if it is.
  [[nodiscard]] const std::optional<std::uint64_t>& mapped_at() const { return mapped_at_; }

  /// Lays out the register(s) in CONFIG: type bits, and address bits writable above the size.
  void define(ConfigSpace& config) const;
  /// Moves, shows or hides the region as CONFIG says. DECODES are the COMMAND bits in force.
  /// Address 0, addresses beyond the space and the end of 32-bit memory (what sizing with all ones gives) decode
  /// nothing.
  void update(const ConfigSpace& config, std::uint16_t decodes);

 private:
  Bar(BarKind kind, Prefetch prefetch, unsigned offset, memory::RegionPtr region);
  [[nodiscard]] std::optional<std::uint64_t> decode(const ConfigSpace& config, std::uint16_t decodes) const;

  BarKind kind_;
  Prefetch prefetch_;
  unsigned offset_;
  std::uint64_t size_;
  memory::RegionPtr region_;
  std::optional<std::uint64_t> mapped_at_;
};

}  // namespace doppel::hw
