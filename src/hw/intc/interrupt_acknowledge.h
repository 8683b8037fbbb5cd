// The processor's INTA cycle, as seen by the local APIC and the run loop.
#pragma once

#include <cstdint>

namespace doppel::hw {

/// A controller behind the INTR pin. Any thread, no device lock held.
class InterruptAcknowledge {
 public:
  virtual ~InterruptAcknowledge() = default;
  /// Takes the most urgent request into service and returns its vector; a spurious one if there is none any more.
  virtual std::uint8_t acknowledge() = 0;
};

}  // namespace doppel::hw
