#include "hw/virtio/virtqueue.h"

#include "hw/virtio/packed_queue.h"
#include "hw/virtio/split_queue.h"

namespace doppel::hw {

std::unique_ptr<Virtqueue> Virtqueue::create(std::uint16_t size, const RingAddresses& addresses,
                                             const RingFeatures& features) {
  if (features.packed) return std::make_unique<PackedQueue>(size, addresses, features);
  return std::make_unique<SplitQueue>(size, addresses, features);
}

Result<> Virtqueue::set_position(const RingPosition& position) {
  const bool in_ring = !features_.packed || (position.next_available < size_ && position.next_used < size_);
  if (!in_ring || position.slots_taken > size_)
    return fail(ErrorKind::kCorrupt, "the saved position is not in a queue of {}", size_);
  position_ = position;
  progress_ = {};
  return {};
}

}  // namespace doppel::hw
