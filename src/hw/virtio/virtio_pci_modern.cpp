// The registers of version 1: Virtual I/O Device 1.2, sections 4.1.4.3 to 4.1.4.9.
#include "base/bits.h"
#include "hw/virtio/virtio_pci.h"

namespace doppel::hw {

using virtio::Common;

namespace {

struct CommonRegister {
  Common reg;
  unsigned size;
};

constexpr CommonRegister kRegisters[] = {
    {Common::kDeviceFeatureSelect, 4}, {Common::kDeviceFeature, 4},    {Common::kDriverFeatureSelect, 4},
    {Common::kDriverFeature, 4},       {Common::kConfigVector, 2},     {Common::kQueueCount, 2},
    {Common::kDeviceStatus, 1},        {Common::kConfigGeneration, 1}, {Common::kQueueSelect, 2},
    {Common::kQueueSize, 2},           {Common::kQueueVector, 2},      {Common::kQueueEnable, 2},
    {Common::kQueueNotifyOffset, 2},   {Common::kQueueDescriptors, 8}, {Common::kQueueDriver, 8},
    {Common::kQueueDevice, 8},
};

const CommonRegister* find_register(std::uint64_t offset) {
  for (const CommonRegister& row : kRegisters) {
    const auto first = static_cast<unsigned>(row.reg);
    if (offset >= first && offset < first + row.size) return &row;
  }
  return nullptr;
}

/// Half SELECT of 64 FEATURES; there are no others.
std::uint32_t feature_half(std::uint64_t features, std::uint32_t select) {
  return select < 2 ? static_cast<std::uint32_t>(features >> 32 * select) : 0;
}

}  // namespace

std::uint64_t VirtioPci::read_modern(std::uint64_t offset, unsigned size) {
  const std::uint64_t at = offset % kBlockSize;
  switch (offset - at) {
    case kCommonOffset: return read_common(at, size);
    case kIsrOffset: return at == 0 ? read_isr() : 0;
    case kDeviceOffset: return device_->read_config(at, size);
    default: return 0;
  }
}

void VirtioPci::write_modern(std::uint64_t offset, unsigned size, std::uint64_t value) {
  const std::uint64_t at = offset % kBlockSize;
  switch (offset - at) {
    case kCommonOffset: return write_common(at, size, value);
    case kDeviceOffset: return device_->write_config(at, size, value);
    case kNotifyOffset: return kick(at / kNotifyMultiplier);
    default: return;
  }
}

std::uint64_t VirtioPci::read_common(std::uint64_t offset, unsigned size) {
  std::uint64_t value = 0;
  for (unsigned i = 0; i < size; ++i)
    if (const CommonRegister* row = find_register(offset + i))
      value |= (common(row->reg) >> 8 * (offset + i - static_cast<unsigned>(row->reg)) & 0xff) << 8 * i;
  return value;
}

/// A part of a register leaves the rest of it as it was; what goes beyond its end is lost.
void VirtioPci::write_common(std::uint64_t offset, unsigned size, std::uint64_t value) {
  const CommonRegister* row = find_register(offset);
  if (row == nullptr) return;
  const auto low = static_cast<unsigned>(offset - static_cast<unsigned>(row->reg));
  const unsigned count = std::min(size, row->size - low);
  if (count == row->size) return set_common(row->reg, value & low_mask(8 * row->size));
  const std::uint64_t mask = low_mask(8 * count) << 8 * low;
  set_common(row->reg, (common(row->reg) & ~mask) | (value << 8 * low & mask));
}

std::uint64_t VirtioPci::common(Common reg) {
  switch (reg) {
    case Common::kDeviceFeatureSelect: return device_feature_select_;
    case Common::kDeviceFeature:
      return feature_half(device_->offered_features() | transport_features(), device_feature_select_);
    case Common::kDriverFeatureSelect: return driver_feature_select_;
    case Common::kDriverFeature: return feature_half(device_->driver_features(), driver_feature_select_);
    case Common::kConfigVector: return config_vector_;
    case Common::kQueueCount: return device_->queue_count();
    case Common::kDeviceStatus: return device_->status_shown();
    case Common::kConfigGeneration: return device_->config_generation();
    case Common::kQueueSelect: return queue_select_;
    default: break;
  }
  const VirtioQueueState* queue = device_->queue(queue_select_);
  if (queue == nullptr) return 0;
  switch (reg) {
    case Common::kQueueSize: return queue->size;
    case Common::kQueueVector: return queue->vector;
    case Common::kQueueEnable: return queue->enabled ? 1 : 0;
    case Common::kQueueNotifyOffset: return queue_select_;
    case Common::kQueueDescriptors: return queue->addresses.descriptors;
    case Common::kQueueDriver: return queue->addresses.driver;
    case Common::kQueueDevice: return queue->addresses.device;
    default: return 0;
  }
}

void VirtioPci::set_common(Common reg, std::uint64_t value) {
  switch (reg) {
    case Common::kDeviceFeatureSelect: device_feature_select_ = static_cast<std::uint32_t>(value); return;
    case Common::kDriverFeatureSelect: driver_feature_select_ = static_cast<std::uint32_t>(value); return;
    case Common::kDriverFeature:
      if (driver_feature_select_ > 1) return;
      return device_->set_driver_features(
          with_bits(device_->driver_features(), 32 * driver_feature_select_ + 31, 32 * driver_feature_select_, value));
    case Common::kConfigVector: config_vector_ = accept_vector(value); return;
    case Common::kDeviceStatus: return write_status(static_cast<std::uint8_t>(value));
    case Common::kQueueSelect: queue_select_ = static_cast<std::uint16_t>(value); return;
    default: break;
  }
  VirtioQueueState* queue = device_->queue(queue_select_);
  if (queue == nullptr) return;
  if (reg == Common::kQueueVector) {
    queue->vector = accept_vector(value);
    return;
  }
  // The rest is fixed while the queue is in use: section 4.1.4.3.2. Only a reset ends that.
  if (queue->enabled) return;
  switch (reg) {
    case Common::kQueueSize:
      if (value != 0 && value <= device_->most_slots()) queue->size = static_cast<std::uint16_t>(value);
      return;
    case Common::kQueueEnable:
      if (value == 1) device_->enable_queue(queue_select_, true);
      return;
    case Common::kQueueDescriptors: queue->addresses.descriptors = value; return;
    case Common::kQueueDriver: queue->addresses.driver = value; return;
    case Common::kQueueDevice: queue->addresses.device = value; return;
    default: return;
  }
}

// ---- Access by configuration space, section 4.1.4.9

namespace {

struct Window {
  std::uint32_t offset;
  std::uint32_t length;
};

constexpr unsigned kBarField = 4;
constexpr unsigned kOffsetField = 8;
constexpr unsigned kLengthField = 12;
constexpr unsigned kDataField = 16;

/// What the driver chose, if it is a whole register of the memory BAR.
std::optional<Window> chosen_window(const ConfigSpace& config, unsigned at) {
  const Window window{config.get<std::uint32_t>(at + kOffsetField), config.get<std::uint32_t>(at + kLengthField)};
  const bool has_size = window.length == 1 || window.length == 2 || window.length == 4;
  if (!has_size || config.get<std::uint8_t>(at + kBarField) != VirtioPci::kModernBar) return std::nullopt;
  const std::uint32_t end = VirtioPci::kNotifyOffset + VirtioPci::kBlockSize;
  if (window.offset % window.length != 0 || window.offset > end - window.length) return std::nullopt;
  return window;
}

}  // namespace

void VirtioPci::access_window_read() {
  if (const auto window = chosen_window(config(), access_offset_))
    config().set(access_offset_ + kDataField, static_cast<std::uint32_t>(read_modern(window->offset, window->length)));
}

void VirtioPci::access_window_written() {
  const auto window = chosen_window(config(), access_offset_);
  if (!window) return;
  const auto value = config().get<std::uint32_t>(access_offset_ + kDataField);
  write_modern(window->offset, window->length, value & low_mask(8 * window->length));
}

}  // namespace doppel::hw
