// Generates a block's code: the guest's own instructions with memory operands looked up in the software TLB, and what
// replaces the rest (stack, branches). Instructions that need more leave through the gate to be interpreted; so does
// each access that the TLB does not let pass.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "accel/soft/interpreter/cpu.h"
#include "accel/soft/translator/gate.h"
#include "accel/soft/translator/jump_cache.h"
#include "accel/soft/translator/plan.h"
#include "accel/soft/translator/translation.h"

namespace doppel::accel::soft {

class Emitter {
 public:
  /// WRITABLE is the code memory of CAPACITY bytes. All of CPU and STATE lies below 2 GiB. Code counts its lookups in
  /// STATE if COUNTS.
  Emitter(std::byte* writable, std::size_t capacity, const Cpu& cpu, const GateState& state, const GateCode& gate,
          bool counts);
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

  /// Fills in DRAFT, whose key, id and page numbers are set. JUMP_CACHE is the one for its key.
  /// Takes sites for lookups from SITES, as long as there are any.
  void emit(const BlockPlan& plan, const JumpCache* jump_cache, TlbSites& sites, Cursors& cursors,
            TranslationDraft& draft);
  /// Makes the jump at SITE go to TARGET, both positions.
  void patch(std::uint32_t site, std::uint32_t target);

 private:
  class Generator;
  std::unique_ptr<Generator> generator_;
};

}  // namespace doppel::accel::soft
