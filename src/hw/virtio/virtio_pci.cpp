#include "hw/virtio/virtio_pci.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "base/bits.h"
#include "hw/pci/pci_bus.h"
#include "hw/pci/pci_registers.h"

namespace doppel::hw {

namespace {

constexpr std::uint16_t kVendor = 0x1af4;
constexpr std::uint16_t kFirstModernId = 0x1040;
constexpr std::uint16_t kModernSubsystem = 0x1100;
constexpr std::uint64_t kModernBarSize = 0x4000;
constexpr memory::IoSizes kRegisterSizes = {.min = 1, .max = 4};
// The fields of a capability (section 4.1.4), from its beginning.
constexpr unsigned kCapabilityBar = 4;
constexpr unsigned kCapabilityOffset = 8;
constexpr unsigned kCapabilityLength = 12;
constexpr unsigned kCapabilityData = 16;

struct VirtioPciState {
  static constexpr std::string_view kName = "virtio-pci";
  static constexpr std::uint32_t kVersion = 1;
  std::uint8_t isr = 0;
  std::uint16_t config_vector = virtio::kNoVector;
  std::uint16_t queue_select = 0;
  std::uint32_t device_feature_select = 0;
  std::uint32_t driver_feature_select = 0;
  VirtioDeviceState device;
  void describe(auto& fields) {
    fields("isr", isr);
    fields("config_vector", config_vector);
    fields("queue_select", queue_select);
    fields("device_feature_select", device_feature_select);
    fields("driver_feature_select", driver_feature_select);
    fields("device", device);
  }
};

}  // namespace

bool VirtioPci::has_legacy(const VirtioPciConfig& config) {
  return config.disable_legacy != OnOffAuto::kOn;
}

Result<> VirtioPci::check(const VirtioPciConfig& config) {
  if (config.iommu_platform)
    return fail(ErrorKind::kUnsupported, "iommu_platform=on: this machine has no IOMMU; leave it off");
  if (config.disable_modern && !has_legacy(config))
    return fail(ErrorKind::kInvalidArgument,
                "disable-legacy=on and disable-modern=on leave no registers; leave one of them off");
  if (config.disable_modern && config.packed)
    return fail(ErrorKind::kInvalidArgument, "packed=on needs the registers of version 1; leave disable-modern off");
  if (config.vectors != VirtioPciConfig::kDefaultVectors && config.vectors > MsixCapability::kMaxVectors)
    return fail(ErrorKind::kOutOfRange, "vectors={}: there are at most {}", config.vectors,
                MsixCapability::kMaxVectors);
  return {};
}

PciIdentity VirtioPci::identity(const VirtioPciType& type, const VirtioPciConfig& config) {
  const bool legacy = has_legacy(config);
  return {.vendor_id = kVendor,
          .device_id = legacy ? type.transitional_id : static_cast<std::uint16_t>(kFirstModernId + type.device),
          .revision = static_cast<std::uint8_t>(legacy ? 0 : 1),
          .class_code = type.class_code,
          .subsystem_id = legacy ? type.device : kModernSubsystem,
          .interrupt_pin = 1};
}

Result<std::unique_ptr<VirtioPci>> VirtioPci::create(const PciServices& services, const VirtioPciParts& parts,
                                                     const VirtioPciType& type, const VirtioPciConfig& config,
                                                     std::uint32_t default_vectors, const MakeDevice& make_device) {
  DOPPEL_TRY(check(config));
  std::unique_ptr<VirtioPci> function(new VirtioPci(identity(type, config), services, parts, type, config));
  function->device_ = make_device(*function);
  DOPPEL_TRY(function->build(default_vectors));
  return function;
}

VirtioPci::VirtioPci(const PciIdentity& identity, const PciServices& services, const VirtioPciParts& parts,
                     const VirtioPciType& type, const VirtioPciConfig& config)
    : PciFunction(identity, services),
      parts_(parts),
      type_(type),
      settings_(config),
      memory_space_(services.dma),
      modern_port_(
          [this](auto offset, auto size) {
            const DeviceGuard guard(*this);
            return read_modern(offset, size);
          },
          [this](auto offset, auto size, auto value) {
            const DeviceGuard guard(*this);
            write_modern(offset, size, value);
          }),
      legacy_port_(
          [this](auto offset, auto size) {
            const DeviceGuard guard(*this);
            return read_legacy(offset, size);
          },
          [this](auto offset, auto size, auto value) {
            const DeviceGuard guard(*this);
            write_legacy(offset, size, value);
          }) {}

VirtioPci::~VirtioPci() {
  if (bus() != nullptr) bus()->detach(*this);
  remove_doorbells();
}

Result<> VirtioPci::build(std::uint32_t default_vectors) {
  if (device_->queue_count() == 0) return fail(ErrorKind::kNoSpace, "the host gives no descriptors for the queues");
  const std::uint32_t vectors =
      settings_.vectors == VirtioPciConfig::kDefaultVectors ? default_vectors : settings_.vectors;
  if (vectors != 0) DOPPEL_TRY(add_msix_bar(kMsixBar, vectors));
  if (!settings_.disable_modern) DOPPEL_TRY(add_modern());
  if (has_legacy(settings_)) DOPPEL_TRY(add_legacy());
  return {};
}

Result<> VirtioPci::add_modern() {
  DOPPEL_TRY(add_bar(kModernBar, BarKind::kMemory64,
                     topology().io("virtio-pci-modern", kModernBarSize, modern_port_, kRegisterSizes), Prefetch::kYes));
  DOPPEL_TRY(add_access_capability());
  DOPPEL_TRY(add_modern_capability(virtio::capability::kNotify, kNotifyOffset, kBlockSize));
  DOPPEL_TRY(add_modern_capability(virtio::capability::kDevice, kDeviceOffset, kBlockSize));
  DOPPEL_TRY(add_modern_capability(virtio::capability::kIsr, kIsrOffset, kBlockSize));
  return add_modern_capability(virtio::capability::kCommon, kCommonOffset, kBlockSize);
}

Result<> VirtioPci::add_modern_capability(std::uint8_t type, std::uint32_t offset, std::uint32_t size) {
  std::vector<std::uint8_t> body(type == virtio::capability::kNotify ? 17 : 13);
  body[0] = type;
  body[kCapabilityBar - 3] = kModernBar;
  store_le(body.data() + kCapabilityOffset - 3, offset);
  store_le(body.data() + kCapabilityLength - 3, size);
  if (type == virtio::capability::kNotify) store_le(body.data() + kCapabilityData - 3, kNotifyMultiplier);
  DOPPEL_TRY(add_vendor_capability(body));
  return {};
}

/// Section 4.1.4.9: for firmware that cannot reach the BAR.
Result<> VirtioPci::add_access_capability() {
  std::vector<std::uint8_t> body(17);
  body[0] = virtio::capability::kPciAccess;
  DOPPEL_ASSIGN(access_offset_, add_vendor_capability(body));
  config().define<std::uint8_t>(access_offset_ + kCapabilityBar, 0, 0xff);
  config().define<std::uint32_t>(access_offset_ + kCapabilityOffset, 0, ~0U);
  config().define<std::uint32_t>(access_offset_ + kCapabilityLength, 0, ~0U);
  config().define<std::uint32_t>(access_offset_ + kCapabilityData, 0, ~0U);
  on_config_read(access_offset_ + kCapabilityData, 4, [this] { access_window_read(); });
  on_config_write(access_offset_ + kCapabilityData, 4, [this] { access_window_written(); });
  return {};
}

Result<> VirtioPci::add_legacy() {
  const std::uint64_t size = std::bit_ceil(virtio::kLegacyHeaderMsix + device_->config_size());
  return add_bar(kLegacyBar, BarKind::kIo, topology().io("virtio-pci", size, legacy_port_, kRegisterSizes));
}

// ---- What the device asks for

std::uint64_t VirtioPci::transport_features() const {
  return (settings_.disable_modern ? 0 : virtio::feature::kVersion1) |
         (has_legacy(settings_) ? virtio::feature::kAnyLayout : 0);
}

void VirtioPci::interrupt_queue(unsigned queue) {
  if (const VirtioQueueState* state = device_->queue(queue)) interrupt(state->vector, virtio::isr::kQueue);
}

void VirtioPci::interrupt_config() {
  interrupt(config_vector_, virtio::isr::kConfig);
}

void VirtioPci::interrupt(std::uint16_t vector, std::uint8_t isr) {
  if (msix() != nullptr && msix()->enabled()) {
    if (vector != virtio::kNoVector) signal_vector(vector);
    return;
  }
  isr_ |= isr;
  set_intx(true);
}

std::uint8_t VirtioPci::read_isr() {
  set_intx(false);
  return std::exchange(isr_, std::uint8_t{0});
}

/// A vector that does not exist reads back as none: section 4.1.5.1.2.
std::uint16_t VirtioPci::accept_vector(std::uint64_t vector) {
  const bool exists = msix() != nullptr && vector < msix()->vectors();
  return exists ? static_cast<std::uint16_t>(vector) : virtio::kNoVector;
}

void VirtioPci::write_status(std::uint8_t status) {
  if (status == 0) return reset_chip();
  device_->set_status(status, transport_features());
}

void VirtioPci::reset_chip() {
  device_->reset();
  isr_ = 0;
  set_intx(false);
  config_vector_ = virtio::kNoVector;
  queue_select_ = 0;
  device_feature_select_ = 0;
  driver_feature_select_ = 0;
}

// ---- Doorbells

void VirtioPci::kick(std::uint64_t queue) {
  if (queue < device_->queue_count()) device_->doorbell(static_cast<unsigned>(queue)).signal();
}

void VirtioPci::decoding_changed() {
  if (device_ != nullptr && settings_.ioeventfd) place_doorbells();
}

void VirtioPci::place_doorbells() {
  const auto modern = mapped_bar(kModernBar);
  const auto legacy = mapped_bar(kLegacyBar);
  if (modern == modern_doorbells_at_ && legacy == legacy_doorbells_at_) return;
  remove_doorbells();
  modern_doorbells_at_ = modern;
  legacy_doorbells_at_ = legacy;
  add_doorbells(memory_space_, modern, false);
  add_doorbells(parts_.ports, legacy, true);
}

void VirtioPci::add_doorbells(memory::AddressSpace* space, std::optional<std::uint64_t> at, bool is_legacy) {
  if (space == nullptr || !at) return;
  for (unsigned queue = 0; queue < device_->queue_count(); ++queue) {
    memory::IoEvent event{.event = &device_->doorbell(queue)};
    if (is_legacy) {
      event.address = {*at + static_cast<unsigned>(virtio::Legacy::kQueueNotify)};
      event.size = 2;
      event.value = queue;
    } else {
      event.address = {*at + kNotifyOffset + std::uint64_t{queue} * kNotifyMultiplier};
    }
    space->add_io_event(event);
    doorbells_.push_back({space, event});
  }
}

void VirtioPci::remove_doorbells() {
  for (const Doorbell& doorbell : doorbells_) doorbell.space->remove_io_event(doorbell.event);
  doorbells_.clear();
}

// ---- Saving

void VirtioPci::save(state::Writer& writer) {
  PciFunction::save(writer);
  VirtioPciState saved;
  {
    const DeviceGuard guard(*this);
    saved.isr = isr_;
    saved.config_vector = config_vector_;
    saved.queue_select = queue_select_;
    saved.device_feature_select = device_feature_select_;
    saved.driver_feature_select = driver_feature_select_;
    saved.device = device_->save();
  }
  state::save(writer, std::move(saved));
}

Result<> VirtioPci::load(state::Reader& reader) {
  DOPPEL_TRY(PciFunction::load(reader));
  DOPPEL_ASSIGN(const VirtioPciState saved, state::load<VirtioPciState>(reader));
  const DeviceGuard guard(*this);
  DOPPEL_TRY(device_->load(saved.device, transport_features()));
  isr_ = saved.isr;
  config_vector_ = accept_vector(saved.config_vector);
  for (unsigned i = 0; i < device_->queue_count(); ++i)
    device_->queue(i)->vector = accept_vector(device_->queue(i)->vector);
  queue_select_ = saved.queue_select;
  device_feature_select_ = saved.device_feature_select;
  driver_feature_select_ = saved.driver_feature_select;
  return {};
}

}  // namespace doppel::hw
