// What the two formats of a virtqueue have in common, as the device sees it: virtio 1.2, sections 2.6 to 2.8.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "base/error.h"
#include "hw/virtio/chain.h"
#include "memory/dma.h"

namespace doppel::hw {

/// Where a driver put the parts of its queue: descriptors, driver area (available ring), device area (used ring).
struct RingAddresses {
  std::uint64_t descriptors = 0;
  std::uint64_t driver = 0;
  std::uint64_t device = 0;
  void describe(auto& fields) {
    fields("descriptors", descriptors);
    fields("driver", driver);
    fields("device", device);
  }
};

/// What was negotiated for all of a device's queues.
struct RingFeatures {
  bool packed = false;
  bool event_index = false;
  bool indirect = false;
};

/// How far a device has come; a split queue has no wrap counters.
struct RingPosition {
  std::uint16_t next_available = 0;
  std::uint16_t next_used = 0;
  std::uint16_t slots_taken = 0;  // of chains that were popped and not pushed yet
  bool available_wrap = true;
  bool used_wrap = true;
  void describe(auto& fields) {
    fields("next_available", next_available);
    fields("next_used", next_used);
    fields("slots_taken", slots_taken);
    fields("available_wrap", available_wrap);
    fields("used_wrap", used_wrap);
  }
};

/// A queue that a driver has set up. All of it lies in guest memory and may change at any time: errors mean that the
/// driver broke the rules, and that the device is to be reset. Guarded by the device's lock.
class Virtqueue {
 public:
  static constexpr std::uint16_t kMostSlots = 1024;  // as QEMU has it

  /// SIZE is 1 to kMostSlots; in a split queue a power of two.
  static std::unique_ptr<Virtqueue> create(std::uint16_t size, const RingAddresses& addresses,
                                           const RingFeatures& features);
  virtual ~Virtqueue() = default;
  Virtqueue(const Virtqueue&) = delete;
  Virtqueue& operator=(const Virtqueue&) = delete;

  /// Between open() and close() the queue is mapped; all that follows wants it open.
  virtual Result<> open(const memory::DmaSpace& memory) = 0;
  virtual void close() = 0;

  /// The next chain that the driver offers, if there is one.
  virtual Result<std::optional<Chain>> pop() = 0;
  /// Gives CHAIN back, with WRITTEN bytes in its writable part.
  virtual void push(const Chain& chain, std::uint32_t written) = 0;
  /// Shows the driver what was pushed. Does it want an interrupt for that?
  [[nodiscard]] virtual bool publish() = 0;
  /// Hints that no kicks are needed, for while the device is looking anyway.
  virtual void suppress_kicks() = 0;
  /// Asks for kicks again; true if something has come in the meantime.
  [[nodiscard]] virtual bool allow_kicks() = 0;

  [[nodiscard]] std::uint16_t size() const { return size_; }
  [[nodiscard]] const RingPosition& position() const { return position_; }
  /// Goes on from POSITION, believing none of it.
  Result<> set_position(const RingPosition& position);

 protected:
  Virtqueue(std::uint16_t size, const RingAddresses& addresses, const RingFeatures& features)
      : size_(size), addresses_(addresses), features_(features) {}

  /// Is EVENT among the COUNT positions that end before NOW? (section 2.7.7.2)
  static bool passed(std::uint16_t event, std::uint16_t now, std::uint16_t count) {
    return static_cast<std::uint16_t>(now - event - 1) < count;
  }
  /// What was pushed since the driver was last asked whether it wants an interrupt; all, the first time.
  struct Progress {
    bool first = true;
    std::uint16_t pushed = 0;
  };

  const std::uint16_t size_;
  const RingAddresses addresses_;
  const RingFeatures features_;
  RingPosition position_;
  Progress progress_;
};

}  // namespace doppel::hw
