// What all virtio devices have in common, whatever bus they are on: status, feature negotiation, queues, and requests
// under way. Virtual I/O Device 1.2, sections 2 and 3.
//
// Threads. The loop is the main thread's, or that of an iothread. A queue has a doorbell; whoever kicks it (the guest,
// through an ioeventfd or a register; the device itself) signals that, and the loop's thread looks at the queue.
// Requests are taken and given back there, in batches: while a batch is taken the driver is asked not to kick, and what
// is done within one turn of the loop is shown to the driver together, with one interrupt. Registers are read and
// written on vCPU threads. The owner's lock guards everything.
//
// Reset. Requests under way cannot be called back. Queues that are set up after a reset wait for those before it: a
// later write is never overtaken by an earlier one. A request's data may be moved to and from guest memory by others
// while the lock is free if lend_memory() allows it: its driver waits for the end of a reset (status_shown()), and so
// does a reset of the whole machine. Otherwise it passes through host memory of its own and reaches the guest under the
// lock, if there was no reset since the request was taken.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/log.h"
#include "event/event_fd.h"
#include "event/loop.h"
#include "hw/core/device.h"
#include "hw/virtio/virtio_registers.h"
#include "hw/virtio/virtio_state.h"
#include "hw/virtio/virtqueue.h"

namespace doppel::hw {

/// The transport, as its device sees it. All of it under the owner's lock.
class VirtioHost {
 public:
  virtual ~VirtioHost() = default;
  /// Whose lock guards the device.
  [[nodiscard]] virtual Device& owner() = 0;
  [[nodiscard]] virtual event::Loop& loop() = 0;
  [[nodiscard]] virtual const Logger& device_log() const = 0;
  /// Guest memory, while the guest lets the device reach it.
  [[nodiscard]] virtual Result<memory::DmaSpace> device_memory() const = 0;
  virtual void interrupt_queue(unsigned queue) = 0;
  virtual void interrupt_config() = 0;
};

/// `-device virtio-*` properties that all of them have.
struct VirtioOptions {
  bool packed = false;
  bool event_index = true;
  bool indirect = true;
  std::uint16_t queues = 1;
  std::uint16_t queue_size = 256;
};

/// A chain that a device works on.
struct VirtioRequest {
  virtual ~VirtioRequest() = default;
  unsigned queue = 0;
  Chain chain;
  std::uint64_t epoch = 0;  // resets before it was taken
  std::size_t place = 0;    // among those under way
};
using VirtioRequestPtr = std::shared_ptr<VirtioRequest>;

/// Made and destroyed on the main thread, while the loop runs in no other.
class VirtioDevice {
 public:
  VirtioDevice(VirtioHost& host, const VirtioOptions& options);
  virtual ~VirtioDevice();
  VirtioDevice(const VirtioDevice&) = delete;
  VirtioDevice& operator=(const VirtioDevice&) = delete;

  // ---- For the transport; under the lock

  /// Features that this device has; the transport adds VERSION_1.
  [[nodiscard]] std::uint64_t offered_features() const { return ring_features() | own_features(); }
  [[nodiscard]] std::uint64_t driver_features() const { return driver_features_; }
  void set_driver_features(std::uint64_t features);
  [[nodiscard]] std::uint8_t status() const { return status_; }
  /// What a driver of version 1 sees: a reset has ended when the status is 0 (section 4.1.4.3.2), and then the memory
  /// of all requests is the driver's again.
  [[nodiscard]] std::uint8_t status_shown() const { return status_ == 0 && stale_ != 0 ? status_at_reset_ : status_; }
  /// TRANSPORT_FEATURES are those that the transport offers besides.
  void set_status(std::uint8_t status, std::uint64_t transport_features);
  /// Back to the power-on state.
  void reset();
  /// Counts changes of the configuration (section 2.5.2).
  [[nodiscard]] std::uint8_t config_generation() const { return config_generation_; }

  [[nodiscard]] unsigned queue_count() const { return static_cast<unsigned>(queues_.size()); }
  /// nullptr if there is no such queue.
  [[nodiscard]] VirtioQueueState* queue(unsigned index);
  [[nodiscard]] std::uint16_t most_slots() const { return options_.queue_size; }
  /// The driver has set up QUEUE, or given it up.
  void enable_queue(unsigned queue, bool enabled);
  /// Signalled to have the queue looked at. Any thread, with or without the lock.
  [[nodiscard]] const event::EventFd& doorbell(unsigned queue) const { return queues_[queue]->doorbell; }

  /// The device's configuration structure. Reads beyond its end give zeroes.
  [[nodiscard]] virtual std::size_t config_size() const = 0;
  [[nodiscard]] std::uint64_t read_config(std::uint64_t offset, unsigned size) const;
  virtual void write_config(std::uint64_t /*offset*/, unsigned /*size*/, std::uint64_t /*value*/) {}

  [[nodiscard]] VirtioDeviceState save() const;
  Result<> load(const VirtioDeviceState& saved, std::uint64_t transport_features);

 protected:
  /// Holds the lock on the loop's thread; when it lets go, first interrupts travel, then what begin_later() gathered.
  class Guard {
   public:
    explicit Guard(VirtioDevice& device) : device_(device) { guard_.emplace(device.host_.owner()); }
    ~Guard();
    Guard(const Guard&) = delete;
    Guard& operator=(const Guard&) = delete;

   private:
    VirtioDevice& device_;
    std::optional<DeviceGuard> guard_;
  };

  // ---- What a device type is

  [[nodiscard]] virtual std::uint64_t own_features() const = 0;
  /// The configuration structure as it is now; config_size() bytes.
  [[nodiscard]] virtual std::vector<std::byte> config() const = 0;
  /// A chain came in QUEUE. An error means that the driver broke the rules.
  virtual Result<> take(unsigned queue, Chain chain) = 0;
  /// Has it room for another chain of QUEUE? If not, it is asked again when something was completed.
  [[nodiscard]] virtual bool has_room(unsigned queue) const = 0;
  virtual void reset_own() = 0;
  virtual void driver_ready() {}
  [[nodiscard]] virtual std::vector<std::uint8_t> save_own() const { return {}; }
  virtual Result<> load_own(const std::vector<std::uint8_t>& saved) {
    return saved.empty() ? Result<>()
                         : fail(ErrorKind::kCorrupt, "the saved device has settings that this one has not");
  }

  // ---- What it does with its chains; on the loop's thread, under the lock

  /// From now until complete() or abandon() REQUEST is under way, and saved.
  void begin(const VirtioRequestPtr& request, unsigned queue, Chain chain);
  /// Runs ACTION when the lock is released.
  void begin_later(std::function<void()> action) { actions_.push_back(std::move(action)); }
  /// Wraps HANDLER, which handles the end of something that was begun outside, in a Guard; nothing if the device is
  /// gone by then.
  template <class Handler>
  auto under_lock(Handler handler) {
    return [this, alive = std::weak_ptr(alive_), handler = std::move(handler)](const auto&... results) {
      if (alive.expired()) return;
      const Guard guard(*this);
      handler(results...);
    };
  }
  /// Was the device reset since REQUEST was taken? It is then no more the guest's, and only abandon() is left. So it is
  /// for one that breaks the rules.
  [[nodiscard]] bool is_stale(const VirtioRequest& request) const { return request.epoch != epoch_; }
  void abandon(const VirtioRequestPtr& request);
  /// Gives the chain back with WRITTEN bytes in it.
  void complete(const VirtioRequestPtr& request, std::uint64_t written);
  /// The driver broke the rules: the device does nothing more until it is reset (section 2.1.2).
  void driver_failed(const Error& error);
  [[nodiscard]] bool driver_has(std::uint64_t feature) const { return (driver_features_ & feature) != 0; }
  /// LENGTH bytes of SEGMENTS from OFFSET on, for others to work on. Nothing: not all of it is RAM, or the driver does
  /// not know to leave a request's memory alone until a reset has ended.
  [[nodiscard]] std::optional<memory::DmaMappings> lend_memory(std::span<const Segment> segments, std::uint64_t offset,
                                                               std::size_t length,
                                                               memory::DmaSpace::Access access) const;
  [[nodiscard]] bool works() const { return (status_ & virtio::kNeedsReset) == 0; }
  [[nodiscard]] bool is_driver_ok() const { return (status_ & virtio::kDriverOk) != 0; }
  [[nodiscard]] Result<memory::DmaSpace> memory() const { return host_.device_memory(); }
  [[nodiscard]] const Logger& log() const { return host_.device_log(); }
  [[nodiscard]] event::Loop& loop() const { return host_.loop(); }
  void config_changed();
  [[nodiscard]] const VirtioOptions& options() const { return options_; }
  /// Looks at QUEUE on one of the next turns of the loop.
  void kick(unsigned queue) { queues_[queue]->doorbell.signal(); }

 private:
  struct Finished {
    VirtioRequestPtr request;
    std::uint32_t written;
  };
  struct Queue {
    explicit Queue(event::EventFd fd) : doorbell(std::move(fd)) {}
    VirtioQueueState state;
    std::unique_ptr<Virtqueue> ring;      // while enabled
    std::vector<Finished> finished;       // to be shown to the driver
    std::vector<VirtioRequestPtr> again;  // of a saved state, to be taken once more; the last comes first
    bool starved = false;                 // has_room() said no
    event::EventFd doorbell;
    std::unique_ptr<event::FdWatch> watch;
  };

  [[nodiscard]] std::uint64_t ring_features() const;
  [[nodiscard]] Result<> check_features(std::uint64_t transport_features) const;
  [[nodiscard]] Result<std::unique_ptr<Virtqueue>> make_ring(const VirtioQueueState& state) const;
  [[nodiscard]] Result<> check_saved(const VirtioDeviceState& saved) const;
  void add_queues();
  void kicked(unsigned index);
  void look_at(unsigned index);
  Result<> take_batch(unsigned index, const memory::DmaSpace& memory);
  void show_finished();
  Result<> show_finished(unsigned index, const memory::DmaSpace& memory);
  void kick_all();
  void forget(const VirtioRequestPtr& request);

  VirtioHost& host_;
  const VirtioOptions options_;
  std::vector<std::unique_ptr<Queue>> queues_;
  std::uint64_t driver_features_ = 0;
  std::uint8_t status_ = 0;
  std::uint8_t status_at_reset_ = 0;  // before the last one
  std::uint8_t config_generation_ = 0;
  std::uint64_t epoch_ = 0;
  std::size_t stale_ = 0;  // requests of earlier epochs that have not ended
  std::vector<VirtioRequestPtr> under_way_;
  std::vector<std::function<void()>> actions_;
  bool show_posted_ = false;
  mutable bool failure_told_ = false;
  const std::shared_ptr<const bool> alive_ = std::make_shared<const bool>(true);
};

}  // namespace doppel::hw
