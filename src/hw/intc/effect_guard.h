// The DeviceGuard of chips whose outputs are messages and calls, not only wires.
//
// Lock order of the interrupt controllers: every chip's lock is a leaf. What a chip wants of others while it holds its
// lock it notes in its Effects, and the guard carries them out after letting go. So an I/O APIC, the bus, a local APIC
// and the vCPU behind it may call each other in any direction without deadlock or recursion into a held lock.
#pragma once

#include <optional>
#include <utility>

#include "hw/core/device.h"

namespace doppel::hw {

/// OWNER is a Device with a nested struct Effects, a member `Effects effects_` (filled under its lock) and a method
/// `perform(const Effects&)`, called once with no lock held.
template <class Owner>
class EffectGuard {
 public:
  explicit EffectGuard(Owner& owner) : owner_(owner) { guard_.emplace(owner); }
  ~EffectGuard() {
    const auto effects = std::exchange(owner_.effects_, {});
    guard_.reset();
    owner_.perform(effects);
  }
  EffectGuard(const EffectGuard&) = delete;
  EffectGuard& operator=(const EffectGuard&) = delete;

 private:
  Owner& owner_;
  std::optional<DeviceGuard> guard_;
};

}  // namespace doppel::hw
