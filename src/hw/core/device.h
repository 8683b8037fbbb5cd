// What every device has in common: its lock, its lines, its life cycle.
//
// Life cycle, in this order:
//   1. Constructed with all it needs injected (pins, clock, DMA space, backend, Logger). It touches nobody yet.
//   2. Attached: its Regions are added to a bus. From here on vCPU threads may call its IoHandlers.
//   3. reset() before the first instruction, and at each machine reset, with all vCPUs stopped.
//   4. save() and load() only while the machine is paused.
//   5. Detached from the bus, then destroyed, with all vCPUs stopped and on the loop's thread.
// While paused, backends and realtime timers may still call in.
//
// Locking: each device has one mutex. Every entry point (IoHandler, timer, backend callback, set_irq input) begins with
//   DeviceGuard guard(*this);
// and calls no other device while it holds it: interrupt outputs are IrqLines, which the guard delivers on release.
#pragma once

#include <mutex>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "state/state.h"

namespace doppel::hw {

class IrqLine;

class Device {
 public:
  Device() = default;
  virtual ~Device() = default;
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  /// The chip's name, as in `-device NAME` where it can be asked for.
  [[nodiscard]] virtual std::string_view name() const = 0;
  /// Back to the power-on state of the data sheet.
  virtual void reset() = 0;
  /// Appends this device's section(s); nothing by default, for a device without state.
  virtual void save(state::Writer& /*writer*/) {}
  /// Takes over a saved state, or fails and is reset() by the caller.
  virtual Result<> load(state::Reader& /*reader*/) { return {}; }

 private:
  friend class DeviceGuard;
  friend class IrqLine;
  std::mutex mutex_;
  std::vector<IrqLine*> lines_;  // fixed after construction
};

/// Holds a device's lock; on release, delivers what its IrqLines gathered.
class DeviceGuard {
 public:
  explicit DeviceGuard(Device& device) : device_(device) { device_.mutex_.lock(); }
  ~DeviceGuard();
  DeviceGuard(const DeviceGuard&) = delete;
  DeviceGuard& operator=(const DeviceGuard&) = delete;

 private:
  Device& device_;
};

}  // namespace doppel::hw
