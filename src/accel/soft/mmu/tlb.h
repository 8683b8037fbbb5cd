// The software TLB of one vCPU: linear page to guest-physical page, one direct-mapped array per privilege view, in two
// parts. TlbEntry is what the inlined fast path of an access looks at: host memory that may be touched without further
// ado. TlbInfo beside it is the translation itself, so that accesses which need more than that (stores to be noted,
// MMIO, data breakpoints) are spared the walk through the page tables. Behind both stands the second level, which
// remembers translations only.
//
// An entry's tag is the page's linear address where the access is allowed just so, else that of a page which is not
// canonical and would stand in another entry. A page whose stores must be noted (it holds code, or its dirty bit is to
// be set) has no write tag; memory that is no RAM has no tags. Large pages are entered 4 KiB at a time.
//
// Translated code indexes the entries itself, by their size and their members' offsets.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "accel/soft/mmu/itlb.h"
#include "accel/soft/mmu/large_pages.h"
#include "accel/soft/mmu/mmu_index.h"
#include "accel/soft/mmu/second_level_tlb.h"
#include "accel/soft/mmu/tlb_info.h"
#include "accel/soft/mmu/tlb_observer.h"
#include "accel/soft/mmu/tlb_sites.h"
#include "accel/soft/runtime/guest_ram.h"

namespace doppel::accel::soft {

struct alignas(32) TlbEntry {
  std::uint64_t read_tag = 0;
  std::uint64_t write_tag = 0;
  std::uintptr_t host = 0;    // address of the page
  std::uintptr_t addend = 0;  // host address minus linear address
};

class Tlb {
 public:
  static constexpr unsigned kEntries = 16384;  // few enough hot pages for two of them to seldom meet

  Tlb();

  [[nodiscard]] TlbEntry& entry(MmuIndex index, std::uint64_t linear) {
    return entries_[static_cast<unsigned>(index)][(linear >> 12U) % kEntries];
  }
  [[nodiscard]] const TlbEntry& entry(MmuIndex index, std::uint64_t linear) const {
    return entries_[static_cast<unsigned>(index)][(linear >> 12U) % kEntries];
  }
  /// The translation of LINEAR's page if INFO().linear is that page.
  [[nodiscard]] const TlbInfo& info(MmuIndex index, std::uint64_t linear) const {
    return info_[position(index, linear)];
  }
  /// Puts INFO in its place, without tags yet.
  const TlbInfo& insert(MmuIndex index, const TlbInfo& info);

  /// Counts flushes: what was derived from an older generation's translations is to be looked up again.
  [[nodiscard]] std::uint32_t generation() const { return generation_; }
  /// Counts flushes and lost write tags: what was looked up before may not be accessed so any more.
  [[nodiscard]] std::uint32_t changes() const { return changes_; }
  /// The pages that translated code may be entered at. Flushed along with the rest.
  [[nodiscard]] Itlb& code() { return code_; }
  [[nodiscard]] const Itlb& code() const { return code_; }
  /// Emptied at each of the changes().
  [[nodiscard]] TlbSites& sites() { return sites_; }
  [[nodiscard]] const TlbSites& sites() const { return sites_; }
  [[nodiscard]] const TlbEntry* entries(MmuIndex index) const { return entries_[static_cast<unsigned>(index)].data(); }

  using Pcid = SecondLevelTlb::Pcid;
  /// Asked where INFO() does not know a page.
  [[nodiscard]] SecondLevelTlb& second_level() { return second_level_; }

  void flush_all();
  /// Of all address spaces.
  void flush_non_global();
  /// The guest goes to the address space of PCID, and may keep what the second level knows of it.
  void enter_space(Pcid pcid, bool keep);
  /// Non-global translations of PCID's address space, which may be the present one.
  void flush_space(Pcid pcid);
  /// The rights of the protection keys in KEYS, bit by bit, are others now.
  void flush_keys(std::uint16_t keys) {
    if ((keys_ & keys) != 0) flush_all();
  }
  /// LINEAR's page in PCID's address space, and if it is global. Also what else came from the same large page (SDM 3A
  /// 4.10.4.1).
  void flush_page(Pcid pcid, std::uint64_t linear);
  /// Takes the write tags from all entries of the guest-physical page GPA. Any thread while the owner stands still.
  void drop_writes(std::uint64_t gpa);
  void drop_all_writes();

  struct Statistics {
    std::uint64_t fills = 0;
    std::uint64_t second_level = 0;                    // of those, that it knew
    std::array<std::uint64_t, kTlbFlushes> flushes{};  // by TlbFlush
  };
  [[nodiscard]] const Statistics& statistics() const { return statistics_; }
  void count_second_level() { ++statistics_.second_level; }
  /// Null: nobody.
  void watch(TlbObserver* observer) { observer_ = observer; }

 private:
  // Which entries are in use, so that a flush costs what was used and not what there is. An entry that was global once
  // and is no more may stand in both lists.
  struct List {
    std::array<std::uint32_t, std::size_t{kMmuIndexes} * kEntries> positions;
    std::array<bool, std::size_t{kMmuIndexes} * kEntries> holds{};
    unsigned count = 0;

    void add(unsigned position) {
      if (holds[position]) return;
      holds[position] = true;
      positions[count++] = position;
    }
  };

  static unsigned position(MmuIndex index, std::uint64_t linear) {
    return static_cast<unsigned>(index) * kEntries + static_cast<unsigned>((linear >> 12U) % kEntries);
  }
  [[nodiscard]] TlbEntry& entry_at(unsigned position) { return entries_[position / kEntries][position % kEntries]; }
  /// A tag that no address which comes by POSITION can have.
  static std::uint64_t no_tag(unsigned position) {
    constexpr std::uint64_t kNotCanonical = std::uint64_t{1} << 63U;
    return kNotCanonical | std::uint64_t{(position ^ kEntries / 2) % kEntries} << 12U;
  }
  void note_flush(TlbFlush what, std::uint64_t linear);
  void note_change();
  void clear_entry(unsigned position);
  void clear(unsigned position);
  void drop_non_global();
  template <class Visit>
  void for_each_used(Visit visit);

  std::array<std::array<TlbEntry, kEntries>, kMmuIndexes> entries_;
  std::array<TlbInfo, std::size_t{kMmuIndexes} * kEntries> info_;
  List local_;
  List global_;
  Itlb code_;
  TlbSites sites_;
  SecondLevelTlb second_level_;
  LargePages large_;
  std::uint16_t keys_ = 0;  // that entries had, since everything was flushed last
  std::uint32_t generation_ = 0;
  std::uint32_t changes_ = 0;
  Statistics statistics_;
  TlbObserver* observer_ = nullptr;
};

}  // namespace doppel::accel::soft
