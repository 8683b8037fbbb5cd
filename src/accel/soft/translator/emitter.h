// Generates a block's code: the guest's own instructions with memory operands looked up in the software TLB, and what
// replaces the rest (stack, branches). Instructions that need more leave through the gate to be interpreted; so does
// each access that the TLB does not let pass.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "accel/soft/interpreter/cpu.h"
#include "accel/soft/runtime/low_memory.h"
#include "accel/soft/translator/gate.h"
#include "accel/soft/translator/plan.h"
#include "accel/soft/translator/translation.h"

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
  static constexpr std::size_t kSets = 65536;
  static constexpr std::uint8_t kHashShift = 12;
  /// The set of a linear address; translated code computes the same.
  [[nodiscard]] static std::size_t index(std::uint64_t linear) {
    return (linear + std::rotr(linear, kHashShift)) % kSets;
  }

  JumpCache() { mark_empty(); }
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
    clear_low(*this);
    mark_empty();
  }

 private:
  /// An empty entry's address, 0, is another set's than this.
  void mark_empty() {
    constexpr std::uint64_t kOfAnotherSet = 1;
    for (JumpCacheEntry& entry : sets_[index(0)])
      if (entry.code == 0) entry.linear = kOfAnotherSet;
  }

  std::array<Set, kSets> sets_;
};

class Emitter {
 public:
  /// WRITABLE is the code memory of CAPACITY bytes. All of CPU and STATE lies below 2 GiB.
  Emitter(std::byte* writable, std::size_t capacity, const Cpu& cpu, const GateState& state, const GateCode& gate);
  ~Emitter();
  Emitter(const Emitter&) = delete;
  Emitter& operator=(const Emitter&) = delete;

  /// Where code goes that runs all the time, and that which leaves. Both move on.
  struct Cursors {
    std::size_t hot = 0;
    std::size_t cold = 0;
  };
  /// The most that one block takes of either.
  static constexpr std::size_t kMostHot = 32768;
  static constexpr std::size_t kMostCold = 8192;

  /// Fills in TRANSLATION, whose key, id and page number are set. JUMP_CACHE is the one for its key.
  void emit(const BlockPlan& plan, const JumpCache* jump_cache, Cursors& cursors, Translation& translation);
  /// Makes the jump at SITE go to TARGET, both positions.
  void patch(std::uint32_t site, std::uint32_t target);

 private:
  class Generator;
  std::unique_ptr<Generator> generator_;
};

}  // namespace doppel::accel::soft
