// The ring in which the kernel gathers writes that may arrive late.
#pragma once

#include <mutex>

#include "accel/accelerator.h"
#include "accel/kvm/kvm_abi.h"

namespace doppel::accel::kvm {

/// Any thread may drain. The kernel fills at `last`, we empty at `first`; one page holds the header and the entries.
class CoalescedRing {
 public:
  explicit CoalescedRing(kvm_coalesced_mmio_ring* ring) : ring_(ring) {}

  void drain(const Vm::CoalescedWrite& write);

  static constexpr std::uint32_t kEntries =
      (memory::kPageSize - sizeof(kvm_coalesced_mmio_ring)) / sizeof(kvm_coalesced_mmio);

 private:
  std::mutex mutex_;  // one reader at a time, so that writes stay in order
  kvm_coalesced_mmio_ring* const ring_;
};

}  // namespace doppel::accel::kvm
