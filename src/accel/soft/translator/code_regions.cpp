#include "accel/soft/translator/code_regions.h"

#include <algorithm>
#include <cassert>

#include "base/bits.h"

namespace doppel::accel::soft {

CodeRegions::CodeRegions(std::size_t begin, std::size_t capacity)
    : begin_(begin),
      hot_size_((capacity / 4 * 3 - begin) / kRegions),
      cold_begin_(begin + hot_size_ * kRegions),
      cold_size_((capacity - cold_begin_) / kRegions),
      records_size_(align_down(capacity / kRegions, TranslationRecords::kUnit)),
      records_(capacity) {
  assert(hot_size_ >= Emitter::kMostHot && cold_size_ >= Emitter::kMostCold &&
         records_size_ >= 2 * TranslationRecords::kMost && capacity <= TranslationRecords::kMostCapacity);
  for (std::size_t i = 0; i < kRegions; ++i) {
    regions_.at(i).cursors = begin_of(i);
    regions_.at(i).record = record_begin_of(i);
  }
}

Emitter::Cursors CodeRegions::begin_of(std::size_t region) const {
  return {.hot = begin_ + region * hot_size_, .cold = cold_begin_ + region * cold_size_};
}

/// No translation has the id 0.
std::size_t CodeRegions::record_begin_of(std::size_t region) const {
  return std::max(region * records_size_, TranslationRecords::kUnit);
}

bool CodeRegions::has_room() const {
  const Emitter::Cursors end = begin_of(at_work_ + 1);
  const Emitter::Cursors& now = at_work().cursors;
  return now.hot + Emitter::kMostHot <= end.hot && now.cold + Emitter::kMostCold <= end.cold &&
         at_work().record + TranslationRecords::kMost <= record_begin_of(at_work_ + 1);
}

Translation& CodeRegions::add(const TranslationDraft& draft) {
  Translation& made = records_.put(draft, at_work().record);
  at_work().translations.push_back(made.id);
  at_work().used = ++clock_;
  return made;
}

void CodeRegions::list(const Region& region, std::vector<Translation*>& existing) const {
  for (const TranslationId id : region.translations)
    if (of(id).exists) existing.push_back(&of(id));
}

std::vector<Translation*> CodeRegions::advance() {
  const auto oldest = std::ranges::min_element(regions_, {}, &Region::used);
  at_work_ = static_cast<std::size_t>(oldest - regions_.begin());
  std::vector<Translation*> there;
  list(at_work(), there);
  at_work().translations.clear();
  at_work().cursors = begin_of(at_work_);
  at_work().record = record_begin_of(at_work_);
  return there;
}

std::vector<Translation*> CodeRegions::all() const {
  std::vector<Translation*> all;
  for (const Region& region : regions_) list(region, all);
  return all;
}

Translation& CodeRegions::at(std::uint32_t position) const {
  const Region& region = regions_.at(region_of(position));
  const auto end = [&](TranslationId id) { return of(id).end(); };
  return of(*std::ranges::upper_bound(region.translations, position, {}, end));
}

}  // namespace doppel::accel::soft
