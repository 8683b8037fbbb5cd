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
  if (info.size_shift > 12) large_.add(info.linear, info.size_shift);
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
  large_.clear();
  keys_ = 0;
  code_.flush_all();
  second_level_.flush_all();
  ++generation_;
  note_change();
}

void Tlb::flush_non_global() {
  second_level_.flush_all();
  drop_non_global();
}

void Tlb::enter_space(Pcid pcid, bool keep) {
  if (!keep) second_level_.flush_space(pcid);
  drop_non_global();
}

void Tlb::flush_space(Pcid pcid) {
  second_level_.flush_space(pcid);
  drop_non_global();
}

void Tlb::drop_non_global() {
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

void Tlb::flush_page(Pcid pcid, std::uint64_t linear) {
  note_flush(TlbFlush::kPage, linear);
  second_level_.flush_page(pcid, linear);
  const std::uint64_t page = linear & ~std::uint64_t{0xfff};
  for (unsigned index = 0; index < kMmuIndexes; ++index) {
    const unsigned at = position(static_cast<MmuIndex>(index), page);
    if (info_[at].linear == page) clear(at);
  }
  code_.flush_page(linear);
  if (large_.may_contain(linear)) {
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
