#include "accel/soft/mmu/tlb.h"

#include <algorithm>

namespace doppel::accel::soft {

Tlb::Tlb() {
  for (unsigned at = 0; at < kMmuIndexes * kEntries; ++at) clear_entry(at);
}

template <class Visit>
void Tlb::for_each_used(Visit visit) {
  for (const List* list : {&local_, &global_})
    for (unsigned i = 0; i < list->count; ++i) visit(list->positions[i]);
}

std::optional<std::uint64_t> Tlb::linear_of(MmuIndex index, std::uintptr_t host) const {
  constexpr std::uintptr_t kOffset = 0xfff;
  for (const List* list : {&local_, &global_})
    for (unsigned i = 0; i < list->count; ++i) {
      const unsigned at = list->positions[i];
      const bool used = at / kEntries == static_cast<unsigned>(index) && info_[at].linear != TlbInfo::kNone;
      if (used && entries_[at / kEntries][at % kEntries].host == (host & ~kOffset))
        return info_[at].linear | (host & kOffset);
    }
  // A site may know a page still whose entry another page has taken.
  if (const auto page = sites_.linear_of(host & ~kOffset)) return *page | (host & kOffset);
  return std::nullopt;
}

void Tlb::clear_entry(unsigned position) {
  const std::uint64_t none = no_tag(position);
  entry_at(position) = {.read_tag = none, .write_tag = none, .host = 0, .addend = 0};
}

void Tlb::clear(unsigned position) {
  clear_entry(position);
  info_[position].linear = TlbInfo::kNone;
}

const TlbInfo& Tlb::insert(MmuIndex index, const TlbInfo& info) {
  const unsigned at = position(index, info.linear);
  clear_entry(at);
  info_[at] = info;
  (info.global ? global_ : local_).add(at);
  keys_ = static_cast<std::uint16_t>(keys_ | 1U << info.protection_key);
  if (info.size_shift > 12) {
    const std::uint64_t size = std::uint64_t{1} << info.size_shift;
    const std::uint64_t first = info.linear & ~(size - 1);
    large_first_ = std::min(large_first_, first);
    large_last_ = std::max(large_last_, first + (size - 1));
  }
  ++statistics_.fills;
  if (observer_ != nullptr) observer_->tlb_filled(index, info);
  return info_[at];
}

void Tlb::note_flush(TlbFlush what, std::uint64_t linear) {
  ++statistics_.flushes.at(static_cast<std::size_t>(what));
  if (observer_ != nullptr) observer_->tlb_flushed(what, linear);
}

void Tlb::note_change() {
  ++changes_;
  sites_.forget();
}

void Tlb::flush_all() {
  note_flush(TlbFlush::kAll, 0);
  for (List* list : {&local_, &global_}) {
    for (unsigned i = 0; i < list->count; ++i) {
      clear(list->positions[i]);
      list->holds[list->positions[i]] = false;
    }
    list->count = 0;
  }
  large_first_ = ~std::uint64_t{0};
  large_last_ = 0;
  keys_ = 0;
  code_.flush_all();
  ++generation_;
  note_change();
}

void Tlb::flush_non_global() {
  note_flush(TlbFlush::kNonGlobal, 0);
  for (unsigned i = 0; i < local_.count; ++i) {
    const unsigned at = local_.positions[i];
    local_.holds[at] = false;
    if (!info_[at].global) clear(at);
  }
  local_.count = 0;
  code_.flush_non_global();
  ++generation_;
  note_change();
}

void Tlb::flush_page(std::uint64_t linear) {
  note_flush(TlbFlush::kPage, linear);
  const std::uint64_t page = linear & ~std::uint64_t{0xfff};
  for (unsigned index = 0; index < kMmuIndexes; ++index) {
    const unsigned at = position(static_cast<MmuIndex>(index), page);
    if (info_[at].linear == page) clear(at);
  }
  code_.flush_page(linear);
  if (linear >= large_first_ && linear <= large_last_) {
    code_.flush_all();
    for_each_used([&](unsigned at) {
      const TlbInfo& info = info_[at];
      if (info.size_shift > 12 && (info.linear ^ linear) >> info.size_shift == 0) clear(at);
    });
  }
  ++generation_;
  note_change();
}

void Tlb::drop_writes(std::uint64_t gpa) {
  note_change();
  for_each_used([&](unsigned at) {
    if (info_[at].gpa == gpa) entry_at(at).write_tag = no_tag(at);
  });
}

void Tlb::drop_all_writes() {
  note_change();
  for_each_used([&](unsigned at) { entry_at(at).write_tag = no_tag(at); });
}

}  // namespace doppel::accel::soft
