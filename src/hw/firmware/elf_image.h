// ELF executables for x86, as far as a boot loader reads them.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "hw/firmware/blob.h"
#include "hw/firmware/boot_plan.h"

namespace doppel::hw {

struct ElfSegment {
  std::uint64_t physical_address = 0;
  std::uint64_t memory_size = 0;
  Blob data;
};

struct ElfImage {
  bool is_64 = false;
  std::uint64_t entry = 0;
  std::vector<ElfSegment> load;  // PT_LOAD, in the file's order, empty ones left out
  std::vector<Blob> notes;       // PT_NOTE

  /// The first 4 or 8 bytes of the description of the note NAME, TYPE.
  [[nodiscard]] std::optional<std::uint64_t> find_note(std::string_view name, std::uint32_t type) const;
};

bool is_elf_image(const Blob& file);

/// Checks all that is used. NAME is for errors.
Result<ElfImage> parse_elf(const Blob& file, std::string_view name);

/// Adds the segments to PLAN. The end of the highest one is returned.
std::uint64_t add_segments(BootPlan& plan, const ElfImage& image);

}  // namespace doppel::hw
