// The TLB's second level, which is asked before the page tables are walked: what the first one lost because two pages
// share an entry there, and what it dropped when the guest went to another address space. Its entries belong to an
// address space (SDM 3A 4.10.1: PCID), so that those of several stay side by side.
#pragma once

#include <array>
#include <cstdint>

#include "accel/soft/mmu/large_pages.h"
#include "accel/soft/mmu/mmu_index.h"
#include "accel/soft/mmu/tlb_info.h"

namespace doppel::accel::soft {

/// On its vCPU's thread, or while that stands still.
class SecondLevelTlb {
 public:
  using Pcid = std::uint16_t;  // 0 to 4095; 0 where PCIDs are not in use

  /// What is known of LINEAR's page in PCID's address space; null: nothing. Valid until the next call.
  [[nodiscard]] const TlbInfo* find(MmuIndex index, Pcid pcid, std::uint64_t linear) const;
  void insert(MmuIndex index, Pcid pcid, const TlbInfo& info);

  void flush_all();
  /// Of PCID's address space, but for global pages.
  void flush_space(Pcid pcid) { spaces_[pcid] = 0; }
  /// LINEAR's page in PCID's address space, or if it is global. Of a large page all that is here.
  void flush_page(Pcid pcid, std::uint64_t linear);

 private:
  static constexpr unsigned kWays = 4;
  static constexpr unsigned kSets = 2048;

  /// An address space's entries until it is flushed: a number that is never used again.
  using Epoch = std::uint64_t;
  struct Entry {
    Epoch epoch = 0;
    MmuIndex index = MmuIndex::kSupervisor;
    TlbInfo info;
  };
  using Set = std::array<Entry, kWays>;

  [[nodiscard]] static unsigned set_of(std::uint64_t linear) {
    return static_cast<unsigned>((linear >> 12U ^ linear >> 23U) % kSets);
  }
  [[nodiscard]] bool is_valid(const Entry& entry, Pcid pcid) const {
    return entry.epoch >= oldest_ && entry.epoch == (entry.info.global ? global_ : spaces_[pcid]);
  }
  /// The number that EPOCH holds, a new one if the old one's time is over.
  Epoch current(Epoch& epoch) {
    if (epoch < oldest_) epoch = next_++;
    return epoch;
  }

  std::array<Set, kSets> sets_;
  std::array<Epoch, 4096> spaces_{};  // by PCID
  Epoch global_ = 0;
  Epoch next_ = 1;
  Epoch oldest_ = 1;                        // that is valid
  std::array<std::uint8_t, kSets> turn_{};  // which way goes next
  LargePages large_;
};

}  // namespace doppel::accel::soft
