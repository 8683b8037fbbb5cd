// The software TLB of one vCPU: linear page to host memory, one direct-mapped array per privilege view.
//
// An entry's tag is the page's linear address where the access is allowed without further ado, else kNoTag. A page
// whose stores must be noted (it holds code, or its dirty bit is to be set) has no write tag; memory that is no RAM has
// no entry. Large pages are entered 4 KiB at a time.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace doppel::accel::soft {

/// Whose rights an access has. kSupervisorAc: SMAP is off or suspended by EFLAGS.AC.
enum class MmuIndex : std::uint8_t { kSupervisor, kUser, kSupervisorAc };
inline constexpr unsigned kMmuIndexes = 3;

struct TlbEntry {
  static constexpr std::uint64_t kNoTag = ~std::uint64_t{0};
  std::uint64_t read_tag = kNoTag;
  std::uint64_t write_tag = kNoTag;
  std::uint64_t fetch_tag = kNoTag;
  std::uintptr_t addend = 0;  // host address minus linear address
  std::uint64_t gpa = 0;      // of the page
  bool global = false;
};

class Tlb {
 public:
  static constexpr unsigned kEntries = 1024;

  [[nodiscard]] TlbEntry& entry(MmuIndex index, std::uint64_t linear) {
    return entries_[static_cast<unsigned>(index)][(linear >> 12U) % kEntries];
  }
  /// Counts flushes: what was derived from an older generation's translations is to be looked up again.
  [[nodiscard]] std::uint32_t generation() const { return generation_; }

  /// LINEAR lies in a mapping of SIZE bytes, larger than 4 KiB: flush_page() must know.
  void note_large_page(std::uint64_t linear, std::uint64_t size);
  void flush_all();
  void flush_non_global();
  void flush_page(std::uint64_t linear);
  /// Takes the write tags from all entries of the guest-physical page GPA. Any thread while the owner stands still.
  void drop_writes(std::uint64_t gpa);
  void drop_all_writes();

 private:
  std::array<std::array<TlbEntry, kEntries>, kMmuIndexes> entries_;
  std::uint64_t large_first_ = ~std::uint64_t{0};  // hull of the large pages that were entered
  std::uint64_t large_last_ = 0;
  std::uint32_t generation_ = 0;
};

}  // namespace doppel::accel::soft
