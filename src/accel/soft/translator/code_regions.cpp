#include "accel/soft/translator/code_regions.h"

#include <algorithm>
#include <cassert>

namespace doppel::accel::soft {

CodeRegions::CodeRegions(std::size_t begin, std::size_t capacity)
    : begin_(begin),
      hot_size_((capacity / 4 * 3 - begin) / kRegions),
      cold_begin_(begin + hot_size_ * kRegions),
      cold_size_((capacity - cold_begin_) / kRegions) {
  assert(hot_size_ >= Emitter::kMostHot && cold_size_ >= Emitter::kMostCold);
  for (std::size_t i = 0; i < kRegions; ++i) regions_.at(i).cursors = begin_of(i);
}

Emitter::Cursors CodeRegions::begin_of(std::size_t region) const {
  return {.hot = begin_ + region * hot_size_, .cold = cold_begin_ + region * cold_size_};
}

bool CodeRegions::has_room() const {
  const Emitter::Cursors end = begin_of(at_work_ + 1);
  const Emitter::Cursors& now = at_work().cursors;
  return now.hot + Emitter::kMostHot <= end.hot && now.cold + Emitter::kMostCold <= end.cold;
}

void CodeRegions::add(Translation& translation) {
  at_work().ranges.push_back({.end = translation.end, .translation = &translation});
  at_work().used = ++clock_;
}

void CodeRegions::remove(const Translation& translation) {
  Region& region = regions_.at(region_of(translation.end - 1));
  const std::size_t at = range_at(region, translation.end - 1);
  if (at < region.ranges.size()) region.ranges[at].translation = nullptr;  // else advance() took it away
}

std::vector<Translation*> CodeRegions::advance() {
  const auto oldest = std::ranges::min_element(regions_, {}, &Region::used);
  at_work_ = static_cast<std::size_t>(oldest - regions_.begin());
  std::vector<Translation*> there;
  for (const Range& range : at_work().ranges)
    if (range.translation != nullptr) there.push_back(range.translation);
  at_work().ranges.clear();
  at_work().cursors = begin_of(at_work_);
  return there;
}

std::vector<Translation*> CodeRegions::all() const {
  std::vector<Translation*> all;
  for (const Region& region : regions_)
    for (const Range& range : region.ranges)
      if (range.translation != nullptr) all.push_back(range.translation);
  return all;
}

Translation& CodeRegions::at(std::uint32_t position) const {
  const Region& region = regions_.at(region_of(position));
  return *region.ranges.at(range_at(region, position)).translation;
}

std::size_t CodeRegions::range_at(const Region& region, std::uint32_t position) {
  const auto range = std::ranges::upper_bound(region.ranges, position, {}, &Range::end);
  return static_cast<std::size_t>(range - region.ranges.begin());
}

}  // namespace doppel::accel::soft
