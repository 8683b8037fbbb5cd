// Split virtqueues: virtio 1.2, section 2.7.
#pragma once

#include "hw/virtio/ring_area.h"
#include "hw/virtio/virtqueue.h"

namespace doppel::hw {

/// Three areas: a table of descriptors, a ring with the heads of available chains, a ring with those used.
class SplitQueue final : public Virtqueue {
 public:
  SplitQueue(std::uint16_t size, const RingAddresses& addresses, const RingFeatures& features)
      : Virtqueue(size, addresses, features) {}

  /// Bytes of the three areas for a queue of SIZE.
  static constexpr std::uint64_t descriptors_size(std::uint64_t size) { return 16 * size; }
  static constexpr std::uint64_t driver_size(std::uint64_t size) { return 6 + 2 * size; }
  static constexpr std::uint64_t device_size(std::uint64_t size) { return 6 + 8 * size; }
  /// Where the legacy interface has them, for a queue whose first page is at ADDRESS (section 2.7.2).
  static RingAddresses legacy_addresses(std::uint64_t address, std::uint16_t size);

  Result<> open(const memory::DmaSpace& memory) override;
  void close() override;
  Result<std::optional<Chain>> pop() override;
  void push(const Chain& chain, std::uint32_t written) override;
  [[nodiscard]] bool publish() override;
  void suppress_kicks() override;
  [[nodiscard]] bool allow_kicks() override;

 private:
  [[nodiscard]] std::size_t used_event_offset() const { return 4 + std::size_t{2} * size_; }
  [[nodiscard]] std::size_t available_event_offset() const { return 4 + std::size_t{8} * size_; }
  [[nodiscard]] std::uint16_t slot(std::uint16_t index) const { return static_cast<std::uint16_t>(index % size_); }
  Result<> follow(ChainBuilder& builder, std::uint16_t head) const;
  Result<> follow_indirect(ChainBuilder& builder, const SplitDescriptor& table) const;

  std::optional<memory::DmaSpace> memory_;
  RingArea descriptors_;
  RingArea driver_;
  RingArea device_;
};

}  // namespace doppel::hw
