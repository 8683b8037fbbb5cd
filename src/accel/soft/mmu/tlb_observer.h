// Somebody who wants to see what enters the TLB and what leaves it.
#pragma once

#include <cstdint>

#include "accel/soft/mmu/mmu_index.h"

namespace doppel::accel::soft {

struct TlbInfo;

enum class TlbFlush : std::uint8_t { kAll, kNonGlobal, kPage };
inline constexpr unsigned kTlbFlushes = 3;

/// Called on the vCPU's thread, or while it stands still.
class TlbObserver {
 public:
  TlbObserver() = default;
  virtual ~TlbObserver() = default;
  TlbObserver(const TlbObserver&) = delete;
  TlbObserver& operator=(const TlbObserver&) = delete;

  virtual void tlb_filled(MmuIndex index, const TlbInfo& info) = 0;
  /// LINEAR is kPage's.
  virtual void tlb_flushed(TlbFlush what, std::uint64_t linear) = 0;
};

}  // namespace doppel::accel::soft
