// How the code memory is shared out: in regions, each with a hot and a cold part, that are filled one after the other.
// When all are full, the one that was used longest ago is emptied for what comes next.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "accel/soft/translator/emitter.h"
#include "accel/soft/translator/translation.h"

namespace doppel::accel::soft {

/// Positions are offsets in the code memory. On the translator's thread.
class CodeRegions {
 public:
  static constexpr std::size_t kRegions = 8;

  /// Of the code memory from BEGIN to CAPACITY; a region has room for a translation of the largest size at least.
  CodeRegions(std::size_t begin, std::size_t capacity);

  /// Has the region at work room for one more translation, however large?
  [[nodiscard]] bool has_room() const;
  /// Where it goes; the emitter moves them on.
  [[nodiscard]] Emitter::Cursors& cursors() { return at_work().cursors; }
  /// TRANSLATION was just emitted there.
  void add(Translation& translation);
  void remove(const Translation& translation);
  /// Goes on in another region. What is in there, which is returned, must be removed before anything is emitted.
  [[nodiscard]] std::vector<Translation*> advance();
  [[nodiscard]] std::vector<Translation*> all() const;

  /// Whose code is at POSITION, in a hot part.
  [[nodiscard]] Translation& at(std::uint32_t position) const;
  /// Code at POSITION is in use.
  void note_use(std::uint32_t position) { regions_[region_of(position)].used = ++clock_; }

 private:
  struct Range {
    std::uint32_t end = 0;
    Translation* translation = nullptr;  // null: it is no more
  };
  struct Region {
    Emitter::Cursors cursors;
    std::vector<Range> ranges;  // one behind the other, as they were made
    std::uint64_t used = 0;     // when, by the clock; 0: never
  };
  [[nodiscard]] Region& at_work() { return regions_[at_work_]; }
  [[nodiscard]] const Region& at_work() const { return regions_[at_work_]; }
  [[nodiscard]] std::size_t region_of(std::uint32_t position) const { return (position - begin_) / hot_size_; }
  [[nodiscard]] Emitter::Cursors begin_of(std::size_t region) const;
  [[nodiscard]] static std::size_t range_at(const Region& region, std::uint32_t position);

  std::size_t begin_;
  std::size_t hot_size_;  // of a region
  std::size_t cold_begin_;
  std::size_t cold_size_;
  std::array<Region, kRegions> regions_;
  std::size_t at_work_ = 0;
  std::uint64_t clock_ = 0;
};

}  // namespace doppel::accel::soft
