// Message signalled interrupts on their way out of a function.
#pragma once

#include <cstdint>
#include <mutex>
#include <vector>

#include "hw/core/irq_line.h"

namespace doppel::hw {

/// What an interrupt message writes where.
struct MsiMessage {
  std::uint64_t address = 0;
  std::uint32_t data = 0;
  bool operator==(const MsiMessage&) const = default;
};

/// Takes interrupt messages: on a PC those to FEExxxxxh, for the local APICs. Any thread, no device lock held.
class MsiSink {
 public:
  virtual ~MsiSink() = default;
  virtual void signal(std::uint64_t address, std::uint32_t data) = 0;
};

/// Holds the messages that a function sends until its DeviceGuard lets go, in their order. An equal message still
/// waiting swallows the new one, as a second edge would be.
class MsiOutput final : private IrqSink {
 public:
  /// A null SINK drops everything.
  MsiOutput(Device& owner, MsiSink* sink) : sink_(sink), doorbell_(owner, {this, 0}) {}

  /// Under the owner's lock.
  void send(const MsiMessage& message);

 private:
  void set_irq(unsigned pin, bool level) override;

  MsiSink* const sink_;
  std::mutex mutex_;  // guards waiting_
  std::vector<MsiMessage> waiting_;
  IrqLine doorbell_;  // rings when the owner's guard is released
};

}  // namespace doppel::hw
