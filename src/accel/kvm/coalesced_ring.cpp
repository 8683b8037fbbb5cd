#include "accel/kvm/coalesced_ring.h"

#include <algorithm>
#include <atomic>
#include <span>

namespace doppel::accel::kvm {

void CoalescedRing::drain(const Vm::CoalescedWrite& write) {
  std::atomic_ref<std::uint32_t> first(ring_->first);
  std::atomic_ref<std::uint32_t> last(ring_->last);
  if (first.load(std::memory_order_relaxed) == last.load(std::memory_order_acquire)) return;
  const std::scoped_lock lock(mutex_);
  std::uint32_t at = first.load(std::memory_order_relaxed);
  while (at % kEntries != last.load(std::memory_order_acquire) % kEntries) {
    const kvm_coalesced_mmio entry = ring_->coalesced_mmio[at % kEntries];
    at = (at + 1) % kEntries;
    first.store(at, std::memory_order_release);
    const std::size_t size = std::min<std::size_t>(entry.len, sizeof entry.data);
    write({entry.phys_addr}, entry.pio != 0, std::as_bytes(std::span(entry.data)).first(size));
  }
}

}  // namespace doppel::accel::kvm
