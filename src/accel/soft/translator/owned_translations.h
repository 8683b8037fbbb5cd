// The translations of one decoded block.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "accel/soft/translator/translator.h"

namespace doppel::accel::soft {

/// A block's translations: it owns those that begin with it, and knows those that have it as another part, which go
/// with it as well.
class Translator::Owned final : public BlockTranslations {
 public:
  explicit Owned(Translator& translator) : translator_(translator) {}
  ~Owned() override {
    clear();
    while (!users.empty()) {
      Translation& user = *users.back();
      users.pop_back();  // this may be out of its block's sight already
      std::erase(translator_.translations_of(user.block()).list, Placed(user));
      translator_.discard(user);
    }
  }
  [[nodiscard]] bool empty() const override { return list.empty() && users.empty(); }
  void clear() {
    for (const Placed& placed : std::exchange(list, {})) translator_.discard(*placed.translation);
  }

  std::optional<ExtendedRegisters> registers;  // that the translations need; nothing: none was made yet
  /// A translation and where it is, so that others need not be looked at.
  struct Placed {
    explicit Placed(Translation& of) : linear(of.key.linear), translation(&of) {}
    std::uint64_t linear;
    Translation* translation;
    bool operator==(const Placed&) const = default;
  };
  std::vector<Placed> list;
  std::vector<Translation*> users;
  unsigned broken = 0;         // translations of several parts whose page changed
  bool shares_lookups = true;  // they fail here time and again, otherwise
  bool is_hot = false;
  std::vector<std::uint64_t> poor_sites;  // instructions that are better off without, by distance from the first
  unsigned revision = 0;                  // of how the block is translated

  [[nodiscard]] bool is_poor_site(std::uint64_t distance) const {
    return std::ranges::find(poor_sites, distance) != poor_sites.end();
  }

  /// Counts how often the block was to run at LINEAR, where it has no translation yet, up to LIMIT. Shared code is met
  /// at one address after the other, by processes that may soon be gone.
  bool is_hot_at(std::uint64_t linear, unsigned limit) {
    if (std::exchange(waiting_, linear) != linear) runs_ = 0;
    return ++runs_ > limit;
  }

 private:
  Translator& translator_;
  std::uint64_t waiting_ = 0;  // linear address
  unsigned runs_ = 0;
};

}  // namespace doppel::accel::soft
