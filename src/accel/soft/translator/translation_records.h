// Where translations are kept: one behind the other in each region of the code memory's, so that they come and go with
// their code. A translation's id tells where it is.
#pragma once

#include <cstddef>
#include <cstdint>

#include "accel/soft/translator/translation.h"

namespace doppel::accel::soft {

/// On the translator's thread.
class TranslationRecords {
 public:
  /// CAPACITY in bytes, which cost nothing until used. Throws std::bad_alloc.
  explicit TranslationRecords(std::size_t capacity);
  ~TranslationRecords();
  TranslationRecords(const TranslationRecords&) = delete;
  TranslationRecords& operator=(const TranslationRecords&) = delete;

  /// The most bytes that one takes.
  static constexpr std::size_t kMost = 4096;
  /// Of the most that ids are enough for.
  static constexpr std::size_t kMostCapacity = std::size_t{1} << 30U;

  /// The translation of DRAFT at the offset of its id; CURSOR, an offset, moves on behind it.
  Translation& put(const TranslationDraft& draft, std::size_t& cursor);
  [[nodiscard]] Translation& at(TranslationId id) const {
    return *reinterpret_cast<Translation*>(memory_ + std::size_t{id} * kUnit);
  }
  /// Of what is put at CURSOR, a multiple of kUnit that is not 0.
  [[nodiscard]] static TranslationId id_at(std::size_t cursor) { return static_cast<TranslationId>(cursor / kUnit); }

  static constexpr std::size_t kUnit = 16;  // bytes
  static_assert(kMostCapacity / kUnit <= std::size_t{1} << Translation::kIdBits);

 private:
  const std::size_t capacity_;
  std::byte* memory_;
};

}  // namespace doppel::accel::soft
