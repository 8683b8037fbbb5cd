// Packed virtqueues: virtio 1.2, section 2.8.
#pragma once

#include "hw/virtio/ring_area.h"
#include "hw/virtio/virtqueue.h"

namespace doppel::hw {

/// One ring of descriptors, which both sides write, and a word from each side that says when it wants to be told.
class PackedQueue final : public Virtqueue {
 public:
  PackedQueue(std::uint16_t size, const RingAddresses& addresses, const RingFeatures& features)
      : Virtqueue(size, addresses, features) {}

  Result<> open(const memory::DmaSpace& memory) override;
  void close() override;
  Result<std::optional<Chain>> pop() override;
  void push(const Chain& chain, std::uint32_t written) override;
  [[nodiscard]] bool publish() override;
  void suppress_kicks() override;
  [[nodiscard]] bool allow_kicks() override;

 private:
  [[nodiscard]] bool is_available() const;
  Result<> add_indirect(ChainBuilder& builder, const PackedDescriptor& table) const;
  static void advance(std::uint16_t& index, bool& wrap, std::uint16_t count, std::uint16_t size);

  std::optional<memory::DmaSpace> memory_;
  RingArea ring_;
  RingArea driver_;
  RingArea device_;
};

}  // namespace doppel::hw
