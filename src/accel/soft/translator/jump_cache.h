// Where translated code that branches to an address it has computed finds the code made for it.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "accel/soft/runtime/low_memory.h"
#include "accel/soft/translator/return_cache.h"

namespace doppel::accel::soft {

/// Where indirect branches look for their targets, by a hash of the linear address.
struct JumpCacheEntry {
  std::uint64_t linear;
  std::uint64_t code;  // address to jump to
};

/// Sits in the zeroed memory of make_low(), which costs nothing until used: hence no initializers.
class JumpCache {
 public:
  using Set = std::array<JumpCacheEntry, 2>;  // the latest comes first
  static constexpr std::size_t kSets = 32768;
  static constexpr std::uint8_t kHashShift = 12;
  /// The set of a linear address; translated code computes the same.
  [[nodiscard]] static std::size_t index(std::uint64_t linear) {
    return (linear + std::rotr(linear, kHashShift)) % kSets;
  }

  /// Returns that nobody called for go to address 0 by NOWHERE.
  explicit JumpCache(std::uint64_t nowhere) : nowhere_(nowhere) {
    mark_empty();
    clear_returns();
  }
  void insert(const JumpCacheEntry& entry) {
    Set& set = sets_[index(entry.linear)];
    if (set[0].linear != entry.linear) set[1] = set[0];
    set[0] = entry;
  }
  /// The code of LINEAR; 0: it is not there.
  [[nodiscard]] std::uint64_t find(std::uint64_t linear) const {
    for (const JumpCacheEntry& entry : sets_[index(linear)])
      if (entry.linear == linear) return entry.code;
    return 0;
  }
  void erase(std::uint64_t linear) {
    for (JumpCacheEntry& entry : sets_[index(linear)])
      if (entry.linear == linear) entry = {};
    mark_empty();
  }
  void clear() {
    clear_low(sets_);
    mark_empty();
    clear_returns();
  }
  /// What translated code looks at first, for returns.
  [[nodiscard]] const ReturnCache& returns() const { return returns_; }
  void clear_returns() { returns_.clear(nowhere_); }

 private:
  /// An empty entry's address, 0, is another set's than this.
  void mark_empty() {
    constexpr std::uint64_t kOfAnotherSet = 1;
    for (JumpCacheEntry& entry : sets_[index(0)])
      if (entry.code == 0) entry.linear = kOfAnotherSet;
  }

  std::array<Set, kSets> sets_;
  ReturnCache returns_;
  std::uint64_t nowhere_;
};

}  // namespace doppel::accel::soft
