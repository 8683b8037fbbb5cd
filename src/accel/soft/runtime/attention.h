// The request to a vCPU's thread to come to a safepoint.
#pragma once

#include <atomic>
#include <cstdint>

namespace doppel::accel::soft {

/// Any thread may request; the vCPU's looks and clears. A pointer that is null when something is asked for: translated
/// code polls by a load through it, which faults then and needs no flags and no branch otherwise.
class Attention {
 public:
  void request() { place_.store(nullptr, std::memory_order_release); }
  [[nodiscard]] bool requested() const { return place_.load(std::memory_order_relaxed) == nullptr; }
  /// Was it requested? Not any more then. To be called before looking at what was asked for: what the requester wrote
  /// before is visible afterwards.
  bool take() { return place_.exchange(&kQuiet, std::memory_order_acq_rel) == nullptr; }

 private:
  static constexpr std::uint8_t kQuiet = 0;
  std::atomic<const std::uint8_t*> place_{&kQuiet};
};
static_assert(sizeof(Attention) == sizeof(void*));

}  // namespace doppel::accel::soft
