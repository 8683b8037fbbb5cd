// Which linear pages translated code may be entered at without being looked up again: the instruction side's TLB of one
// vCPU. It holds numbers that the translator gives to pairs of a linear and a guest-physical page; a block that is
// jumped to from another page compares its own number with the one that stands here for its linear page.
#pragma once

#include <array>
#include <cstdint>

#include "accel/soft/mmu/mmu_index.h"

namespace doppel::accel::soft {

class Itlb {
 public:
  static constexpr unsigned kEntries = 32768;  // few enough hot pages for two of them to seldom meet

  /// Zero, which is no page's number, where nothing is known. Translated code reads the place.
  [[nodiscard]] const std::uint32_t& number(MmuIndex index, std::uint64_t linear) const {
    return numbers_[position(index, linear)];
  }
  void insert(MmuIndex index, std::uint64_t linear, std::uint32_t number, bool global) {
    const unsigned at = position(index, linear);
    numbers_[at] = number;
    global_[at] = global;
    if (listed_[at]) return;
    listed_[at] = true;
    used_[used_count_++] = at;
  }

  void flush_all() { flush(false); }
  void flush_non_global() { flush(true); }
  void flush_page(std::uint64_t linear) {
    for (unsigned index = 0; index < kMmuIndexes; ++index) numbers_[position(static_cast<MmuIndex>(index), linear)] = 0;
  }

 private:
  static constexpr unsigned kPositions = kMmuIndexes * kEntries;

  static unsigned position(MmuIndex index, std::uint64_t linear) {
    return static_cast<unsigned>(index) * kEntries + static_cast<unsigned>((linear >> 12U) % kEntries);
  }
  void flush(bool keep_global) {
    unsigned kept = 0;
    for (unsigned i = 0; i < used_count_; ++i) {
      const std::uint32_t at = used_[i];
      if (keep_global && global_[at] && numbers_[at] != 0) {
        used_[kept++] = at;
      } else {
        numbers_[at] = 0;
        listed_[at] = false;
      }
    }
    used_count_ = kept;
  }

  std::array<std::uint32_t, kPositions> numbers_{};
  std::array<bool, kPositions> global_{};
  std::array<bool, kPositions> listed_{};  // in USED_
  std::array<std::uint32_t, kPositions> used_{};
  unsigned used_count_ = 0;
};

}  // namespace doppel::accel::soft
