#include "memory/flat_view.h"

#include <algorithm>

namespace doppel::memory {

const FlatRange* FlatView::find(GuestPhysAddr address) const {
  const auto next = std::ranges::upper_bound(ranges_, address, {}, &FlatRange::start);
  if (next == ranges_.begin() || !std::prev(next)->contains(address)) return nullptr;
  return &*std::prev(next);
}

std::uint64_t FlatView::bytes_to_next(GuestPhysAddr address) const {
  const auto next = std::ranges::upper_bound(ranges_, address, {}, &FlatRange::start);
  return next == ranges_.end() ? ~address.value : next->start - address;
}

}  // namespace doppel::memory
