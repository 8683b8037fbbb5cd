// How the code memory is shared out: in regions, each with a hot and a cold part, that are filled one after the other,
// and with the translations whose code that is. When all are full, the one that was used longest ago is emptied for
// what comes next.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "accel/soft/translator/emitter.h"
#include "accel/soft/translator/translation.h"
#include "accel/soft/translator/translation_records.h"

namespace doppel::accel::soft {

/// Positions are offsets in the code memory. On the translator's thread.
class CodeRegions {
 public:
  static constexpr std::size_t kRegions = 8;

  /// Of the code memory from BEGIN to CAPACITY; a region has room for a translation of the largest size at least.
  CodeRegions(std::size_t begin, std::size_t capacity);

  /// Has the region at work room for one more translation, however large? There is as much memory for records as for
  /// code.
  [[nodiscard]] bool has_room() const;
  /// Where it goes; the emitter moves them on.
  [[nodiscard]] Emitter::Cursors& cursors() { return at_work().cursors; }
  /// Of the translation that is emitted there next.
  [[nodiscard]] TranslationId next_id() const { return TranslationRecords::id_at(at_work().record); }
  /// The translation of DRAFT, which was just emitted there. Until its region is emptied.
  Translation& add(const TranslationDraft& draft);
  [[nodiscard]] Translation& of(TranslationId id) const { return records_.at(id); }
  /// Goes on in another region. What is in there, which is returned, must be removed before anything is emitted.
  [[nodiscard]] std::vector<Translation*> advance();
  [[nodiscard]] std::vector<Translation*> all() const;

  /// Whose code is at POSITION, in a hot part.
  [[nodiscard]] Translation& at(std::uint32_t position) const;
  /// Code at POSITION is in use.
  void note_use(std::uint32_t position) { regions_[region_of(position)].used = ++clock_; }

 private:
  struct Region {
    Emitter::Cursors cursors;
    std::size_t record = 0;                   // where the next one goes
    std::vector<TranslationId> translations;  // one behind the other, as they were made
    std::uint64_t used = 0;                   // when, by the clock; 0: never
  };
  [[nodiscard]] Region& at_work() { return regions_[at_work_]; }
  [[nodiscard]] const Region& at_work() const { return regions_[at_work_]; }
  [[nodiscard]] std::size_t region_of(std::uint32_t position) const { return (position - begin_) / hot_size_; }
  [[nodiscard]] Emitter::Cursors begin_of(std::size_t region) const;
  [[nodiscard]] std::size_t record_begin_of(std::size_t region) const;
  void list(const Region& region, std::vector<Translation*>& existing) const;

  std::size_t begin_;
  std::size_t hot_size_;  // of a region
  std::size_t cold_begin_;
  std::size_t cold_size_;
  std::size_t records_size_;
  TranslationRecords records_;
  std::array<Region, kRegions> regions_;
  std::size_t at_work_ = 0;
  std::uint64_t clock_ = 0;
};

}  // namespace doppel::accel::soft
