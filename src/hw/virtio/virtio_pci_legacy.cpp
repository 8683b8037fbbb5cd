// The registers of before version 1: Virtual I/O Device 1.2, section 4.1.4.10.
#include "base/bits.h"
#include "hw/virtio/split_queue.h"
#include "hw/virtio/virtio_pci.h"

namespace doppel::hw {

using virtio::Legacy;

namespace {

struct LegacyRegister {
  Legacy reg;
  unsigned size;
};

constexpr LegacyRegister kRegisters[] = {
    {Legacy::kDeviceFeatures, 4}, {Legacy::kDriverFeatures, 4}, {Legacy::kQueueAddress, 4}, {Legacy::kQueueSize, 2},
    {Legacy::kQueueSelect, 2},    {Legacy::kQueueNotify, 2},    {Legacy::kDeviceStatus, 1}, {Legacy::kIsrStatus, 1},
    {Legacy::kConfigVector, 2},   {Legacy::kQueueVector, 2},
};

}  // namespace

/// The configuration structure moves when MSI-X is enabled: section 4.1.5.1.
unsigned VirtioPci::legacy_header() {
  return msix() != nullptr && msix()->enabled() ? virtio::kLegacyHeaderMsix : virtio::kLegacyHeader;
}

std::uint64_t VirtioPci::read_legacy(std::uint64_t offset, unsigned size) {
  const unsigned header = legacy_header();
  if (offset >= header) return device_->read_config(offset - header, size);
  for (const LegacyRegister& row : kRegisters)
    if (static_cast<unsigned>(row.reg) == offset) return legacy(row.reg) & low_mask(8 * std::min(size, row.size));
  return 0;
}

void VirtioPci::write_legacy(std::uint64_t offset, unsigned size, std::uint64_t value) {
  const unsigned header = legacy_header();
  if (offset >= header) return device_->write_config(offset - header, size, value);
  for (const LegacyRegister& row : kRegisters)
    if (static_cast<unsigned>(row.reg) == offset)
      return set_legacy(row.reg, value & low_mask(8 * std::min(size, row.size)));
}

std::uint64_t VirtioPci::legacy(Legacy reg) {
  const VirtioQueueState* queue = device_->queue(queue_select_);
  switch (reg) {
    case Legacy::kDeviceFeatures:
      return (device_->offered_features() | transport_features()) & virtio::feature::kLegacyMask;
    case Legacy::kDriverFeatures: return device_->driver_features() & virtio::feature::kLegacyMask;
    case Legacy::kQueueAddress:
      return queue != nullptr && queue->enabled ? queue->addresses.descriptors >> virtio::kLegacyPageShift : 0;
    case Legacy::kQueueSize: return queue != nullptr ? device_->most_slots() : 0;
    case Legacy::kQueueSelect: return queue_select_;
    case Legacy::kQueueNotify: return 0;
    case Legacy::kDeviceStatus: return device_->status();
    case Legacy::kIsrStatus: return read_isr();
    case Legacy::kConfigVector: return config_vector_;
    case Legacy::kQueueVector: return queue != nullptr ? queue->vector : virtio::kNoVector;
  }
  return 0;
}

void VirtioPci::set_legacy(Legacy reg, std::uint64_t value) {
  switch (reg) {
    case Legacy::kDriverFeatures:
      // A feature that was not offered has no meaning here, and nobody to be told.
      return device_->set_driver_features(value & device_->offered_features() & virtio::feature::kLegacyMask);
    case Legacy::kQueueAddress: return set_legacy_address(static_cast<std::uint32_t>(value));
    case Legacy::kQueueSelect: queue_select_ = static_cast<std::uint16_t>(value); return;
    case Legacy::kQueueNotify: return kick(value);
    case Legacy::kDeviceStatus: return write_status(static_cast<std::uint8_t>(value));
    case Legacy::kConfigVector: config_vector_ = accept_vector(value); return;
    case Legacy::kQueueVector:
      if (VirtioQueueState* queue = device_->queue(queue_select_)) queue->vector = accept_vector(value);
      return;
    default: return;
  }
}

/// The one page number that says where all of a queue is; 0 gives the queue up.
void VirtioPci::set_legacy_address(std::uint32_t page) {
  VirtioQueueState* queue = device_->queue(queue_select_);
  if (queue == nullptr) return;
  device_->enable_queue(queue_select_, false);
  if (page == 0) return;
  queue->size = device_->most_slots();
  queue->addresses =
      SplitQueue::legacy_addresses(std::uint64_t{page} << virtio::kLegacyPageShift, device_->most_slots());
  device_->enable_queue(queue_select_, true);
}

}  // namespace doppel::hw
