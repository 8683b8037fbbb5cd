#include "accel/soft/mmu/tlb.h"

#include <algorithm>

namespace doppel::accel::soft {

void Tlb::note_large_page(std::uint64_t linear, std::uint64_t size) {
  const std::uint64_t first = linear & ~(size - 1);
  large_first_ = std::min(large_first_, first);
  large_last_ = std::max(large_last_, first + (size - 1));
}

void Tlb::flush_all() {
  for (auto& view : entries_) view.fill(TlbEntry{});
  large_first_ = ~std::uint64_t{0};
  large_last_ = 0;
  ++generation_;
}

void Tlb::flush_non_global() {
  for (auto& view : entries_)
    for (TlbEntry& entry : view)
      if (!entry.global) entry = TlbEntry{};
  ++generation_;
}

void Tlb::flush_page(std::uint64_t linear) {
  if (linear >= large_first_ && linear <= large_last_) return flush_all();
  for (unsigned index = 0; index < kMmuIndexes; ++index) entry(static_cast<MmuIndex>(index), linear) = TlbEntry{};
  ++generation_;
}

void Tlb::drop_writes(std::uint64_t gpa) {
  for (auto& view : entries_)
    for (TlbEntry& entry : view)
      if (entry.gpa == gpa) entry.write_tag = TlbEntry::kNoTag;
}

void Tlb::drop_all_writes() {
  for (auto& view : entries_)
    for (TlbEntry& entry : view) entry.write_tag = TlbEntry::kNoTag;
}

}  // namespace doppel::accel::soft
