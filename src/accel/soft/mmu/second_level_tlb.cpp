#include "accel/soft/mmu/second_level_tlb.h"

#include <algorithm>

namespace doppel::accel::soft {

namespace {

constexpr std::uint64_t kPageMask = ~std::uint64_t{0xfff};

}  // namespace

const TlbInfo* SecondLevelTlb::find(MmuIndex index, Pcid pcid, std::uint64_t linear) const {
  for (const Entry& entry : sets_[set_of(linear)])
    if (entry.info.linear == (linear & kPageMask) && entry.index == index && is_valid(entry, pcid)) return &entry.info;
  return nullptr;
}

void SecondLevelTlb::insert(MmuIndex index, Pcid pcid, const TlbInfo& info) {
  if (info.size_shift > 12) large_.add(info.linear, info.size_shift);
  const unsigned at = set_of(info.linear);
  Set& set = sets_[at];
  // What it replaces: the same page, whose rights were less or which was global, else what is of no use any more.
  const auto is_same = [&](const Entry& entry) {
    return entry.info.linear == info.linear && entry.index == index && is_valid(entry, pcid);
  };
  auto place = std::ranges::find_if(set, is_same);
  if (place == set.end()) place = std::ranges::find_if(set, [&](const Entry& entry) { return entry.epoch < oldest_; });
  if (place == set.end()) place = set.begin() + turn_[at]++ % kWays;
  *place = {.epoch = current(info.global ? global_ : spaces_[pcid]), .index = index, .info = info};
}

void SecondLevelTlb::flush_all() {
  oldest_ = next_;
  large_.clear();
}

void SecondLevelTlb::flush_page(Pcid pcid, std::uint64_t linear) {
  if (large_.may_contain(linear)) return flush_all();
  for (Entry& entry : sets_[set_of(linear)])
    if (entry.info.linear == (linear & kPageMask) && is_valid(entry, pcid)) entry.epoch = 0;
}

}  // namespace doppel::accel::soft
