#include "hw/pci/pci_function.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "base/bits.h"
#include "hw/pci/pci_bus.h"
#include "hw/pci/pci_registers.h"

namespace doppel::hw {

namespace {

constexpr unsigned kPowerControl = 4;  // PMCSR, in the power management capability
constexpr std::uint8_t kPowerStateMask = 0x03;
constexpr std::uint8_t kD0 = 0;
constexpr std::uint8_t kD3Hot = 3;
constexpr std::uint16_t kNoSoftReset = 0x0008;
constexpr std::uint16_t kPowerManagementVersion3 = 0x0003;

struct PciFunctionState {
  static constexpr std::string_view kName = "pci-function";
  static constexpr std::uint32_t kVersion = 1;
  ConfigSpace::Bytes config{};
  bool intx = false;
  std::vector<std::uint8_t> msix_table;
  std::vector<std::uint8_t> msix_pending;
  void describe(auto& fields) {
    fields("config", config);
    fields("intx", intx);
    fields("msix_table", msix_table);
    fields("msix_pending", msix_pending);
  }
};

}  // namespace

PciFunction::PciFunction(const PciIdentity& identity, const PciServices& services)
    : topology_(services.topology),
      dma_(services.dma),
      log_(services.log),
      header_(identity.header),
      interrupt_pin_(identity.interrupt_pin),
      msi_output_(*this, services.msi) {
  define_header(identity);
  const auto apply = [this] { apply_config(); };
  const bool bridge = header_ == PciHeader::kBridge;
  on_config_write(pci::kCommand, 2, apply);
  on_config_write(pci::kBar0, bridge ? 8 : 24, apply);
  on_config_write(bridge ? pci::kBridgeRomBar : pci::kRomBar, 4, apply);
}

PciFunction::~PciFunction() {
  // Too late for detached(): a chip that overrides it detaches in its own destructor.
  if (bus_ != nullptr) bus_->detach(*this);
}

void PciFunction::define_header(const PciIdentity& identity) {
  config_.define(pci::kVendorId, identity.vendor_id);
  config_.define(pci::kDeviceId, identity.device_id);
  config_.define<std::uint16_t>(pci::kCommand, 0, pci::kCommandWritable);
  config_.define<std::uint16_t>(pci::kStatus, 0, 0, pci::kStatusClearable);
  config_.define(pci::kRevision, identity.class_code << 8U | identity.revision);
  config_.define<std::uint8_t>(pci::kCacheLineSize, 0, 0xff);
  config_.define<std::uint8_t>(pci::kLatencyTimer, 0, 0xff);
  config_.define(pci::kHeaderType, static_cast<std::uint8_t>(identity.header));
  config_.define<std::uint8_t>(pci::kInterruptLine, 0, 0xff);
  config_.define(pci::kInterruptPin, identity.interrupt_pin);
  if (identity.header == PciHeader::kBridge) return;
  config_.define(pci::kSubsystemVendorId, identity.subsystem_vendor_id);
  config_.define(pci::kSubsystemId, identity.subsystem_id);
}

std::uint32_t PciFunction::config_read(unsigned offset, unsigned size) {
  const DeviceGuard guard(*this);
  run_hooks(read_hooks_, offset, size);
  return config_.read(offset, size);
}

void PciFunction::config_write(unsigned offset, unsigned size, std::uint32_t value) {
  const DeviceGuard guard(*this);
  config_.write(offset, size, value);
  run_hooks(write_hooks_, offset, size);
}

void PciFunction::run_hooks(const std::vector<Hook>& hooks, unsigned offset, unsigned size) {
  for (const Hook& hook : hooks)
    if (offset < hook.first + hook.length && hook.first < offset + size) hook.run();
}

void PciFunction::on_config_write(unsigned first, unsigned length, std::function<void()> hook) {
  write_hooks_.push_back({first, length, std::move(hook)});
}

void PciFunction::on_config_read(unsigned first, unsigned length, std::function<void()> hook) {
  read_hooks_.push_back({first, length, std::move(hook)});
}

void PciFunction::reset() {
  const DeviceGuard guard(*this);
  config_.reset();
  power_state_ = kD0;
  intx_ = false;
  if (msix_) msix_->reset();
  apply_config();
  reset_chip();
}

void PciFunction::set_multifunction(bool on) {
  const DeviceGuard guard(*this);
  multifunction_ = on;
  const unsigned type = static_cast<unsigned>(header_) | (on ? pci::kHeaderMultifunction : 0U);
  config_.define(pci::kHeaderType, static_cast<std::uint8_t>(type));
}

Result<memory::DmaSpace> PciFunction::dma() const {
  if (dma_ == nullptr) return fail(ErrorKind::kUnsupported, "{} has no path to memory", name());
  if (!bus_master_enabled() || (bus_ != nullptr && !bus_->upstream_master_enabled()))
    return fail(ErrorKind::kPermissionDenied, "{} is not enabled as a bus master", name());
  return memory::DmaSpace(*dma_);
}

std::optional<std::uint64_t> PciFunction::bar_address(unsigned index) {
  const DeviceGuard guard(*this);
  return mapped_bar(index);
}

const std::optional<std::uint64_t>& PciFunction::mapped_bar(unsigned index) const {
  static constexpr std::optional<std::uint64_t> kNowhere;
  return index < bars_.size() && bars_[index] ? bars_[index]->mapped_at() : kNowhere;
}

std::uint16_t PciFunction::effective_command() const {
  const auto command = config_.get<std::uint16_t>(pci::kCommand);
  if (power_state_ == kD0) return command;
  return static_cast<std::uint16_t>(command & ~(pci::kCommandIo | pci::kCommandMemory | pci::kCommandMaster));
}

/// Brings regions, mastering and the INTx pin in line with what configuration space says.
void PciFunction::apply_config() {
  const std::uint16_t command = effective_command();
  bus_master_.store((command & pci::kCommandMaster) != 0, std::memory_order_release);
  update_intx();
  const memory::Transaction transaction(topology_);
  for (auto& bar : bars_)
    if (bar) bar->update(config_, command);
  decoding_changed();
}

void PciFunction::set_intx(bool level) {
  intx_ = level;
  update_intx();
}

void PciFunction::update_intx() {
  const auto status = config_.get<std::uint16_t>(pci::kStatus);
  config_.set(pci::kStatus,
              static_cast<std::uint16_t>(intx_ ? status | pci::kStatusInterrupt : status & ~pci::kStatusInterrupt));
  const bool messages = (msi_ && msi_->enabled()) || (msix_ && msix_->enabled());
  const bool disabled = (config_.get<std::uint16_t>(pci::kCommand) & pci::kCommandIntxDisable) != 0;
  intx_line_.set(intx_ && !disabled && !messages && power_state_ == kD0);
}

void PciFunction::drive_intx(bool level) {
  if (bus_ != nullptr && interrupt_pin_ != 0) bus_->set_intx(address_, interrupt_pin_ - 1U, level);
}

bool PciFunction::signal_vector(unsigned vector) {
  const bool use_msix = msix_ && msix_->enabled();
  const bool use_msi = msi_ && msi_->enabled();
  if (!use_msix && !use_msi) return false;
  // A message is a memory write: it takes a bus master.
  if (!bus_master_enabled() || (bus_ != nullptr && !bus_->upstream_master_enabled())) return true;
  if (use_msix)
    msix_->signal(vector);
  else
    msi_->signal(vector);
  return true;
}

Result<> PciFunction::add_bar(unsigned index, BarKind kind, memory::RegionPtr region, Prefetch prefetch) {
  const unsigned count = header_ == PciHeader::kBridge ? 2 : 6;
  const unsigned last = kind == BarKind::kMemory64 ? index + 1 : index;
  if (last >= count || kind == BarKind::kRom)
    return fail(ErrorKind::kOutOfRange, "{} has no room for BAR {} ('{}')", name(), index, region->name());
  const bool below_is_wide = index > 0 && bars_[index - 1] && bars_[index - 1]->kind() == BarKind::kMemory64;
  if (bars_[index] || bars_[last] || below_is_wide)
    return fail(ErrorKind::kAlreadyExists, "BAR {} of {} is taken, '{}' cannot have it", index, name(), region->name());
  DOPPEL_ASSIGN(Bar bar, Bar::create(kind, prefetch, pci::kBar0 + 4 * index, std::move(region)));
  return store_bar(index, std::move(bar));
}

Result<> PciFunction::add_rom(memory::RegionPtr region) {
  if (bars_[kRomSlot]) return fail(ErrorKind::kAlreadyExists, "{} has an expansion ROM already", name());
  const unsigned offset = header_ == PciHeader::kBridge ? pci::kBridgeRomBar : pci::kRomBar;
  DOPPEL_ASSIGN(Bar bar, Bar::create(BarKind::kRom, Prefetch::kNo, offset, std::move(region)));
  return store_bar(kRomSlot, std::move(bar));
}

Result<> PciFunction::store_bar(unsigned slot, Bar bar) {
  bar.define(config_);
  bars_[slot] = std::move(bar);
  return {};
}

Result<std::uint8_t> PciFunction::place_capability(std::uint8_t size, std::uint8_t at) const {
  const auto is_free = [&](unsigned start) {
    if (start < pci::kFirstFree || start + size > ConfigSpace::kSize) return false;
    for (unsigned i = start; i < start + size; ++i)
      if (capability_bytes_.test(i)) return false;
    return true;
  };
  if (at != 0 && (at % 4 != 0 || !is_free(at)))
    return fail(ErrorKind::kAlreadyExists, "{} has no room for a capability at {:#x}", name(), at);
  for (unsigned start = at != 0 ? at : pci::kFirstFree; start < ConfigSpace::kSize; start += 4)
    if (is_free(start)) return static_cast<std::uint8_t>(start);
  return fail(ErrorKind::kNoSpace, "{} has no room for a capability of {} bytes", name(), size);
}

Result<std::uint8_t> PciFunction::add_capability(std::uint8_t id, std::uint8_t size, std::uint8_t at) {
  DOPPEL_ASSIGN(const std::uint8_t offset, place_capability(size, at));
  for (unsigned i = 0; i < align_up<unsigned>(size, 4) && offset + i < ConfigSpace::kSize; ++i)
    capability_bytes_.set(offset + i);
  const auto next = config_.get<std::uint8_t>(pci::kCapabilities);
  config_.define<std::uint16_t>(offset, static_cast<std::uint16_t>(id | next << 8U));
  config_.define(pci::kCapabilities, offset);
  config_.define<std::uint16_t>(pci::kStatus, config_.get<std::uint16_t>(pci::kStatus) | pci::kStatusCapabilities, 0,
                                pci::kStatusClearable);
  return offset;
}

Result<std::uint8_t> PciFunction::add_vendor_capability(std::span<const std::uint8_t> body, std::uint8_t at) {
  if (body.size() > ConfigSpace::kSize - pci::kFirstFree - 3)
    return fail(ErrorKind::kNoSpace, "a vendor capability of {} bytes fits nowhere", body.size());
  const auto size = static_cast<std::uint8_t>(body.size() + 3);
  DOPPEL_ASSIGN(const std::uint8_t offset, add_capability(pci::kCapabilityVendor, size, at));
  config_.define(offset + 2U, size);
  for (unsigned i = 0; i < body.size(); ++i) config_.define(offset + 3U + i, body[i]);
  return offset;
}

Result<> PciFunction::add_power_management(std::uint8_t at) {
  DOPPEL_ASSIGN(power_management_, add_capability(pci::kCapabilityPowerManagement, 8, at));
  config_.define(power_management_ + 2, kPowerManagementVersion3);
  config_.define<std::uint16_t>(power_management_ + kPowerControl, kNoSoftReset, kPowerStateMask);
  on_config_write(power_management_ + kPowerControl, 1, [this] { power_state_written(); });
  return {};
}

/// D1 and D2 are not supported: writing them changes nothing (PCI PM 1.2, section 3.2.4).
void PciFunction::power_state_written() {
  const unsigned offset = power_management_ + kPowerControl;
  const auto control = config_.get<std::uint16_t>(offset);
  const auto wanted = static_cast<std::uint8_t>(control & kPowerStateMask);
  if (wanted == kD0 || wanted == kD3Hot) power_state_ = wanted;
  config_.set(offset, with_bits(control, 1, 0, power_state_));
  apply_config();
}

Result<> PciFunction::add_msi(const MsiOptions& options, std::uint8_t at) {
  if (!std::has_single_bit(options.vectors) || options.vectors > 32)
    return fail(ErrorKind::kInvalidArgument, "MSI takes 1, 2, 4, 8, 16 or 32 vectors, not {}", options.vectors);
  const std::uint8_t size = MsiCapability::size(options);
  DOPPEL_ASSIGN(const std::uint8_t offset, add_capability(pci::kCapabilityMsi, size, at));
  msi_.emplace(config_, offset, options, msi_output_);
  on_config_write(offset, size, [this] {
    msi_->changed();
    update_intx();
  });
  return {};
}

Result<> PciFunction::add_msix(const MsixLayout& layout, std::uint8_t at) {
  const bool bars_exist = layout.table_bar < 6 && layout.pba_bar < 6;
  if (layout.vectors == 0 || layout.vectors > MsixCapability::kMaxVectors || !bars_exist ||
      (layout.table_offset | layout.pba_offset) % 8 != 0)
    return fail(ErrorKind::kInvalidArgument, "{}: bad MSI-X layout ({} vectors, table at {:#x}, pending bits at {:#x})",
                name(), layout.vectors, layout.table_offset, layout.pba_offset);
  DOPPEL_ASSIGN(const std::uint8_t offset, add_capability(pci::kCapabilityMsix, MsixCapability::kSize, at));
  msix_ = std::make_unique<MsixCapability>(*this, topology_, config_, offset, layout, msi_output_);
  on_config_write(offset, MsixCapability::kSize, [this] {
    msix_->changed();
    update_intx();
  });
  return {};
}

Result<> PciFunction::add_msix_bar(unsigned index, unsigned vectors, std::uint8_t at) {
  // 4 KiB with the pending bits in the upper half serve up to 128 vectors, as drivers know it from QEMU.
  const std::uint32_t table_size =
      std::bit_ceil(std::min(vectors, MsixCapability::kMaxVectors) * MsixCapability::kEntrySize);
  const std::uint32_t half = std::max<std::uint32_t>(table_size, 2048);
  const auto bar = static_cast<std::uint8_t>(index);
  DOPPEL_TRY(add_msix({vectors, bar, 0, bar, half}, at));
  auto region = topology_.container("msix", std::uint64_t{half} * 2);
  region->add(msix_->table_region(), 0);
  region->add(msix_->pba_region(), half);
  return add_bar(index, BarKind::kMemory32, std::move(region));
}

void PciFunction::attach_to(PciBus& bus, PciAddress address) {
  bus_ = &bus;
  address_ = address;
  const memory::Transaction transaction(topology_);
  for (auto& bar : bars_)
    if (bar) (bar->kind() == BarKind::kIo ? bus.io() : bus.memory())->add(bar->region(), 0, 1);
  attached(bus);
}

void PciFunction::detach_from(PciBus& bus) {
  const memory::Transaction transaction(topology_);
  for (auto& bar : bars_)
    if (bar) (bar->kind() == BarKind::kIo ? bus.io() : bus.memory())->remove(bar->region());
  detached(bus);
  bus_ = nullptr;
}

void PciFunction::save(state::Writer& writer) {
  PciFunctionState saved;
  {
    const DeviceGuard guard(*this);
    saved.config = config_.bytes();
    saved.intx = intx_;
    if (msix_) {
      saved.msix_table = msix_->table();
      saved.msix_pending = msix_->pending_bits();
    }
  }
  state::save(writer, std::move(saved));
}

Result<> PciFunction::load(state::Reader& reader) {
  DOPPEL_ASSIGN(PciFunctionState saved, state::load<PciFunctionState>(reader));
  const DeviceGuard guard(*this);
  DOPPEL_TRY(check_saved_layout(saved.config));
  if (msix_) DOPPEL_TRY(msix_->restore(std::move(saved.msix_table), std::move(saved.msix_pending)));
  config_.set_bytes(saved.config);
  intx_ = saved.intx;
  power_state_ = kD0;
  if (power_management_ != 0 && (saved.config[power_management_ + kPowerControl] & kPowerStateMask) == kD3Hot)
    power_state_ = kD3Hot;
  apply_config();
  return {};
}

/// The state must come from the same chip with the same capabilities in the same places.
Result<> PciFunction::check_saved_layout(const ConfigSpace::Bytes& saved) const {
  const ConfigSpace::Bytes& own = config_.bytes();
  const auto same = [&](unsigned offset, unsigned size) {
    return std::equal(own.begin() + offset, own.begin() + offset + size, saved.begin() + offset);
  };
  bool matches = same(pci::kVendorId, 4) && same(pci::kHeaderType, 1) && same(pci::kCapabilities, 1);
  unsigned links = 0;
  for (unsigned offset = own[pci::kCapabilities]; offset != 0 && links < 64; offset = own[offset + 1U], ++links)
    matches = matches && same(offset, 2);
  if (!matches)
    return fail(ErrorKind::kCorrupt, "the saved configuration space of {} is that of another device", name());
  return {};
}

}  // namespace doppel::hw
