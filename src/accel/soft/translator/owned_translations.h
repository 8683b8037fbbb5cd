// The translations of one decoded block.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "accel/soft/translator/translator.h"

namespace doppel::accel::soft {

/// A block's translations: it owns those that begin with it, and knows those that have it as another part, which go
/// with it as well. There is one for nearly each block, so it is small.
class Translator::Owned final : public BlockTranslations {
 public:
  explicit Owned(Translator& translator) : translator_(translator) {}
  ~Owned() override {
    if (translator_.is_abandoned_) return;
    clear();
    while (users_ != 0) {
      Translation& user = translator_.regions_.of(Translation::whole(users_));
      users_ = part_of(users_).next_user;
      translator_.take_from_block(user);
      translator_.discard(user);
    }
  }
  [[nodiscard]] bool empty() const override { return first_ == 0 && users_ == 0; }
  void clear() {
    while (first_ != 0) {
      Translation& translation = translator_.regions_.of(first_);
      take(translation);
      translator_.discard(translation);
    }
  }

  void add(Translation& translation) {
    translation.next = std::exchange(first_, translation.id);
    ++size_;
    if (translation.key.linear == waiting_) runs_ = 0;
  }
  void take(Translation& translation) {
    for (TranslationId* place = &first_; *place != 0; place = &translator_.regions_.of(*place).next)
      if (*place == translation.id) {
        *place = std::exchange(translation.next, 0);
        --size_;
        return;
      }
  }
  [[nodiscard]] std::size_t size() const { return size_; }
  /// The first that IS_IT. It is the first to be looked at next time.
  template <class Predicate>
  [[nodiscard]] Translation* find(const Predicate& is_it) {
    TranslationId previous = 0;
    for (TranslationId id = first_; id != 0; id = translator_.regions_.of(id).next) {
      Translation& translation = translator_.regions_.of(id);
      if (is_it(translation)) {
        if (previous != 0) {
          translator_.regions_.of(previous).next = translation.next;
          translation.next = std::exchange(first_, id);
        }
        return &translation;
      }
      previous = id;
    }
    return nullptr;
  }

  // Those that have the block as the part of that number.
  void add_user(Translation& user, std::size_t part) {
    user.parts()[part].next_user = std::exchange(users_, Translation::piece(user.id, part));
  }
  void take_user(const Translation& user, std::size_t part) {
    const PieceId piece = Translation::piece(user.id, part);
    for (PieceId* place = &users_; *place != 0; place = &part_of(*place).next_user)
      if (*place == piece) {
        *place = user.parts()[part].next_user;
        return;
      }
  }

  [[nodiscard]] bool is_poor_site(std::uint64_t distance) const {
    return poor_sites_ != nullptr && std::ranges::find(*poor_sites_, distance) != poor_sites_->end();
  }
  /// False: it was one.
  bool add_poor_site(std::uint64_t distance) {
    if (is_poor_site(distance)) return false;
    if (poor_sites_ == nullptr) poor_sites_ = std::make_unique<std::vector<std::uint64_t>>();
    poor_sites_->push_back(distance);
    return true;
  }

  /// Is it counted how often the block runs at LINEAR, where it has no translation?
  [[nodiscard]] bool waits_at(std::uint64_t linear) const { return runs_ != 0 && waiting_ == linear; }
  /// Counts how often the block was to run at LINEAR, where it has no translation yet, up to LIMIT. Shared code is met
  /// at one address after the other, by processes that may soon be gone.
  bool is_hot_at(std::uint64_t linear, unsigned limit) {
    if (std::exchange(waiting_, linear) != linear) runs_ = 0;
    return ++runs_ > limit;
  }

  std::optional<ExtendedRegisters> registers;  // that the translations need; nothing: none was made yet
  std::uint16_t revision = 0;                  // of how the block is translated
  std::uint8_t broken = 0;                     // translations of several parts whose page changed, up to kOftenBroken
  bool shares_lookups = true;                  // they fail here time and again, otherwise
  bool is_hot = false;
  std::uint8_t samples = 0;  // that met it, up to what makes it hot
  static constexpr std::uint8_t kOftenBroken = 2;

 private:
  [[nodiscard]] Translation::Part& part_of(PieceId piece) const {
    return translator_.regions_.of(Translation::whole(piece)).parts()[Translation::number(piece)];
  }

  std::uint8_t size_ = 0;
  Translator& translator_;
  TranslationId first_ = 0;
  PieceId users_ = 0;
  std::uint64_t waiting_ = 0;  // linear address
  unsigned runs_ = 0;
  std::unique_ptr<std::vector<std::uint64_t>> poor_sites_;  // instructions that are better off without, by distance
                                                            // from the first
};

}  // namespace doppel::accel::soft
