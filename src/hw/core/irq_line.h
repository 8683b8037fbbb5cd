// Interrupt wires between chips.
#pragma once

#include <atomic>
#include <functional>
#include <mutex>

namespace doppel::hw {

/// The receiving end: a chip or a board's wiring with numbered input pins. Any thread, no device lock held.
class IrqSink {
 public:
  virtual ~IrqSink() = default;
  virtual void set_irq(unsigned pin, bool level) = 0;
};

/// One pin of a sink, or nothing at all. A value: this is what a device is given at birth.
struct IrqPin {
  IrqSink* sink = nullptr;
  unsigned pin = 0;

  void set(bool level) const {
    if (sink != nullptr) sink->set_irq(pin, level);
  }
};

/// An IrqSink out of a function, for wiring and tests.
class IrqFunction final : public IrqSink {
 public:
  explicit IrqFunction(std::function<void(unsigned pin, bool level)> function) : function_(std::move(function)) {}
  void set_irq(unsigned pin, bool level) override { function_(pin, level); }

 private:
  std::function<void(unsigned, bool)> function_;
};

class Device;

/// A device's interrupt output. The device sets it under its own lock; the level travels to the sink when the
/// DeviceGuard lets go of that lock, so no chip ever calls another with its lock held. Rising edges are never lost
/// (several in one hold become one); the last level always arrives.
class IrqLine {
 public:
  IrqLine(Device& owner, IrqPin pin);
  IrqLine(const IrqLine&) = delete;
  IrqLine& operator=(const IrqLine&) = delete;

  /// Under the owner's lock.
  void set(bool level);
  void raise() { set(true); }
  void lower() { set(false); }
  /// A rising edge, whatever the level was; the line ends high.
  void edge();
  [[nodiscard]] bool level() const { return level_; }

 private:
  friend class DeviceGuard;
  void deliver();

  const IrqPin pin_;
  std::atomic<bool> level_{false};
  std::atomic<unsigned> edges_{0};
  std::atomic<bool> changed_{false};  // since the last delivery began
  std::mutex delivery_mutex_;         // orders deliveries; taken with no device lock held
  bool delivered_level_ = false;
  unsigned delivered_edges_ = 0;
};

}  // namespace doppel::hw
