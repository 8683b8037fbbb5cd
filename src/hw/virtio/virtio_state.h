// What is saved of a virtio device.
#pragma once

#include <cstdint>
#include <vector>

#include "hw/virtio/chain.h"
#include "hw/virtio/virtio_registers.h"
#include "hw/virtio/virtqueue.h"

namespace doppel::hw {

/// A queue as its driver set it up.
struct VirtioQueueState {
  std::uint16_t size = 0;
  std::uint16_t vector = virtio::kNoVector;
  bool enabled = false;
  RingAddresses addresses;
  RingPosition position;  // as saved; a running queue's ring has its own
  void describe(auto& fields) {
    fields("size", size);
    fields("vector", vector);
    fields("enabled", enabled);
    fields("addresses", addresses);
    fields("position", position);
  }
};

/// A chain that the device had taken and not given back: it is begun again.
struct VirtioChainState {
  std::uint16_t queue = 0;
  Chain chain;
  void describe(auto& fields) {
    fields("queue", queue);
    fields("chain", chain);
  }
};

struct VirtioDeviceState {
  std::uint64_t driver_features = 0;
  std::uint8_t status = 0;
  std::uint8_t config_generation = 0;
  std::vector<VirtioQueueState> queues;
  std::vector<VirtioChainState> under_way;
  std::vector<std::uint8_t> own;  // the device type's settings
  void describe(auto& fields) {
    fields("driver_features", driver_features);
    fields("status", status);
    fields("config_generation", config_generation);
    fields("queues", queues);
    fields("under_way", under_way);
    fields("own", own);
  }
};

}  // namespace doppel::hw
