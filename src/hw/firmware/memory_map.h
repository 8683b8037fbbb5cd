// The guest's physical memory map in the form of INT 15h, function E820.
#pragma once

#include <cstdint>
#include <vector>

#include "hw/firmware/acpi_config.h"
#include "hw/firmware/blob.h"

namespace doppel::hw {

enum class MemoryType : std::uint32_t { kRam = 1, kReserved = 2, kAcpi = 3, kNvs = 4, kUnusable = 5 };

struct MemoryRange {
  std::uint64_t address = 0;
  std::uint64_t size = 0;
  MemoryType type = MemoryType::kRam;
  [[nodiscard]] std::uint64_t end() const { return address + size; }
  bool operator==(const MemoryRange&) const = default;
};

/// Ranges sorted by address, never overlapping; what is in none of them is a hole.
class MemoryMap {
 public:
  /// Adds a range, cutting what was there before: the later word wins.
  void add(std::uint64_t address, std::uint64_t size, MemoryType type);

  [[nodiscard]] const std::vector<MemoryRange>& ranges() const { return ranges_; }
  /// Whether [ADDRESS, ADDRESS + SIZE) is RAM throughout.
  [[nodiscard]] bool is_ram(std::uint64_t address, std::uint64_t size) const;
  /// The end of the RAM that begins at 1 MiB: where low loading stops.
  [[nodiscard]] std::uint64_t low_ram_end() const;
  [[nodiscard]] std::vector<AddressWindow> ram() const;

  /// Entries of 20 bytes, as "etc/e820" and Linux's boot_params want them.
  [[nodiscard]] Bytes encode_e820() const;

 private:
  std::vector<MemoryRange> ranges_;
};

/// What RAM there is, for firmware, which itself knows what it takes of it: "etc/e820".
MemoryMap firmware_memory_map(std::uint64_t ram_below_4g, std::uint64_t ram_above_4g);

/// The same as a guest booted without firmware sees it: the extended BIOS data area and the BIOS area are reserved.
MemoryMap direct_memory_map(std::uint64_t ram_below_4g, std::uint64_t ram_above_4g);

inline constexpr std::uint64_t kEbdaBase = 0x9fc00;

}  // namespace doppel::hw
