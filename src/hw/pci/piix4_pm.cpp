#include "hw/pci/piix4_pm.h"

#include <utility>

#include "base/bits.h"
#include "base/endian.h"
#include "hw/pci/pci_bus.h"
#include "hw/pci/pci_registers.h"

namespace doppel::hw {

namespace {

constexpr PciIdentity kIdentity = {
    .vendor_id = 0x8086, .device_id = 0x7113, .revision = 0x03, .class_code = 0x068000, .interrupt_pin = 1};

// Configuration registers, section 7.1.
constexpr unsigned kPmBase = Piix4Pm::kPmBaseRegister;  // PMBA
constexpr unsigned kStorage = 0x44;                     // CNTA .. DEVRESJ
constexpr unsigned kStorageEnd = 0x80;
constexpr unsigned kDevActB = 0x58;                          // DEVACTB; bit 25: writes to B2h make an SMI
constexpr unsigned kPmRegMisc = Piix4Pm::kPmEnableRegister;  // PMREGMISC; bit 0: decode PMBA
constexpr unsigned kSmbBase = 0x90;                          // SMBBA
constexpr unsigned kSmbHostConfig = 0xd2;                    // SMBHSTCFG; bit 0: decode SMBBA
constexpr unsigned kSmbSlave = 0xd3;                         // SMBSLVC, SMBSHDW1, SMBSHDW2

constexpr std::uint32_t kApmcEnable = 0x0200'0000;
constexpr std::uint32_t kPmBaseBits = 0xffc0;
constexpr std::uint32_t kSmbBaseBits = 0xfff0;
constexpr std::uint32_t kSmbBaseReset = 0xb100;
constexpr std::uint8_t kSmbHostConfigReset = 0x09;

// At PMBASE.
constexpr unsigned kGlobalControl = 0x28;  // GLBCTL; bit 0: SMI_EN
constexpr std::uint8_t kSmiEnable = 0x01;

constexpr unsigned kSleepS5 = 0;
constexpr unsigned kSleepS3 = 1;

/// A port block of bytes: calls ACCESS for each byte of a wider access.
template <class ReadByte>
std::uint64_t read_each(std::uint64_t offset, unsigned size, ReadByte read) {
  std::uint64_t value = 0;
  for (unsigned i = 0; i < size; ++i) value |= std::uint64_t{read(static_cast<unsigned>(offset) + i)} << (8 * i);
  return value;
}

struct Piix4PmState {
  static constexpr std::string_view kName = "PIIX4_PM";
  static constexpr std::uint32_t kVersion = 1;
  AcpiPm1::State pm1;
  std::uint16_t gpe_status = 0;
  std::uint16_t gpe_enable = 0;
  std::uint8_t apm_control = 0;
  std::uint8_t apm_status = 0;
  std::array<std::uint8_t, 64> storage{};
  Piix4Smbus::Registers smbus{};
  void describe(auto& fields) {
    fields("pm1", pm1);
    fields("gpe_status", gpe_status);
    fields("gpe_enable", gpe_enable);
    fields("apm_control", apm_control);
    fields("apm_status", apm_status);
    fields("storage", storage);
    fields("smbus", smbus);
  }
};

}  // namespace

Piix4Pm::Piix4Pm(const PciServices& services, event::Clock& clock, IrqPin sci, const Piix4PmOptions& options,
                 Piix4PmRequests requests)
    : PciFunction(kIdentity, services),
      options_(options),
      requests_(std::move(requests)),
      pm1_(clock, [this] { timer_due(); }),
      sci_(*this, sci),
      pm_ports_([this](auto offset, auto size) { return read_pm(offset, size); },
                [this](auto offset, auto size, auto value) { write_pm(offset, size, value); }),
      smbus_ports_(
          [this](auto offset, unsigned) -> std::uint64_t {
            const DeviceGuard guard(*this);
            return smbus_.read(static_cast<unsigned>(offset));
          },
          [this](auto offset, unsigned, auto value) {
            const DeviceGuard guard(*this);
            smbus_.write(static_cast<unsigned>(offset), static_cast<std::uint8_t>(value));
          }),
      gpe_ports_([this](auto offset, unsigned) { return read_gpe(offset); },
                 [this](auto offset, unsigned, auto value) { write_gpe(offset, static_cast<std::uint8_t>(value)); }),
      apm_ports_([this](auto offset, unsigned) { return read_apm(offset); },
                 [this](auto offset, unsigned, auto value) { write_apm(offset, static_cast<std::uint8_t>(value)); }),
      pm_region_(topology().io("piix4-pm", kPmSize, pm_ports_, {1, 4, false})),
      smbus_region_(topology().io("piix4-smbus", Piix4Smbus::kSize, smbus_ports_, {1, 1, false})),
      gpe_region_(topology().io("acpi-gpe0", kGpeSize, gpe_ports_, {1, 1, false})),
      apm_region_(topology().io("apm", 2, apm_ports_, {1, 1, false})) {
  define_registers();
  pm_region_->set_enabled(false);
  smbus_region_->set_enabled(false);
}

Piix4Pm::~Piix4Pm() {
  if (bus() != nullptr) bus()->detach(*this);
}

void Piix4Pm::define_registers() {
  ConfigSpace& space = config();
  space.define<std::uint16_t>(pci::kStatus, pci::kStatusDevselMedium | 0x0080, 0, pci::kStatusClearable);
  space.define<std::uint32_t>(kPmBase, 0x0001, kPmBaseBits);
  for (unsigned offset = kStorage; offset < kStorageEnd; ++offset) space.define<std::uint8_t>(offset, 0, 0xff);
  // Without SMM, firmware must believe that it has installed its handler: it would wait for it for ever.
  space.define<std::uint32_t>(kDevActB, options_.smm ? 0 : kApmcEnable, 0xffff'ffff);
  space.define<std::uint8_t>(kPmRegMisc, 0, 0x01);
  space.define<std::uint32_t>(kSmbBase, kSmbBaseReset | 1, kSmbBaseBits);
  space.define<std::uint8_t>(kSmbHostConfig, kSmbHostConfigReset, 0x0f);
  for (unsigned i = 0; i < 3; ++i) space.define<std::uint8_t>(kSmbSlave + i, 0, 0xff);
  const auto place = [this] { place_ports(); };
  on_config_write(kPmBase, 4, place);
  on_config_write(kPmRegMisc, 1, place);
  on_config_write(kSmbBase, 4, place);
  on_config_write(kSmbHostConfig, 1, place);
}

void Piix4Pm::attached(PciBus& bus) {
  bus.io()->add(pm_region_, 0, 1);
  bus.io()->add(smbus_region_, 0, 1);
  bus.io()->add(gpe_region_, kGpeBase, 1);
  bus.io()->add(apm_region_, kApmBase, 1);
}

void Piix4Pm::detached(PciBus& bus) {
  for (const auto& region : {pm_region_, smbus_region_, gpe_region_, apm_region_}) bus.io()->remove(region);
}

/// A base of 0 would cover the DMA controller: such a block is not decoded.
void Piix4Pm::place_ports() {
  const memory::Transaction transaction(topology());
  const auto place = [](const memory::RegionPtr& region, std::uint64_t base, bool enabled) {
    if (base != 0) region->set_offset(base);
    region->set_enabled(enabled && base != 0);
  };
  place(pm_region_, config().get<std::uint32_t>(kPmBase) & kPmBaseBits,
        (config().get<std::uint8_t>(kPmRegMisc) & 1U) != 0);
  place(smbus_region_, config().get<std::uint32_t>(kSmbBase) & kSmbBaseBits,
        (config().get<std::uint8_t>(kSmbHostConfig) & 1U) != 0);
}

void Piix4Pm::reset_chip() {
  pm1_.reset();
  gpe_ = {};
  storage_ = {};
  apm_control_ = 0;
  apm_status_ = 0;
  smbus_.reset();
  place_ports();
  update_sci();
}

void Piix4Pm::timer_due() {
  const DeviceGuard guard(*this);
  pm1_.update();
  update_sci();
}

void Piix4Pm::update_sci() {
  const bool event = pm1_.event_pending() || (gpe_.status & gpe_.enable) != 0;
  sci_.set(event && pm1_.acpi_mode());
}

void Piix4Pm::power_button() {
  const DeviceGuard guard(*this);
  pm1_.set_status(PmEvent::kPowerButton);
  update_sci();
}

void Piix4Pm::wake(PmEvent event) {
  const DeviceGuard guard(*this);
  pm1_.set_status(PmEvent::kWake);
  pm1_.set_status(event);
  update_sci();
}

void Piix4Pm::raise_gpe(unsigned bit) {
  if (bit >= 16) return;
  const DeviceGuard guard(*this);
  gpe_.status = with_bit(gpe_.status, bit, true);
  update_sci();
}

std::uint64_t Piix4Pm::read_pm(std::uint64_t offset, unsigned size) {
  const DeviceGuard guard(*this);
  const auto port = static_cast<unsigned>(offset);
  if (port < AcpiPm1::kSize) {
    const std::uint32_t value = pm1_.read(port, size);
    update_sci();
    return value;
  }
  return read_each(offset, size, [this](unsigned at) { return storage_[at % kPmSize]; });
}

void Piix4Pm::write_pm(std::uint64_t offset, unsigned size, std::uint64_t value) {
  std::optional<unsigned> sleep_type;
  {
    const DeviceGuard guard(*this);
    const auto port = static_cast<unsigned>(offset);
    if (port < AcpiPm1::kSize)
      sleep_type = pm1_.write(port, size, static_cast<std::uint32_t>(value));
    else if (port >= kStorageFirst && port + size <= kPmSize)
      store_le_sized(storage_.data() + port, size, value);
    update_sci();
  }
  if (sleep_type) request_sleep(*sleep_type);
}

void Piix4Pm::request_sleep(unsigned type) {
  std::optional<SleepState> state;
  if (type == kSleepS5)
    state = SleepState::kS5;
  else if (type == kSleepS3 && !options_.disable_s3)
    state = SleepState::kS3;
  else if (type == options_.s4_type && !options_.disable_s4)
    state = SleepState::kS4;
  if (!state) {
    log().guest_error("sleep type {} is not offered", type);
    return;
  }
  log().trace(LogCategory::kPower, "the guest asks for sleep type {}", type);
  if (requests_.sleep) requests_.sleep(*state);
}

std::uint64_t Piix4Pm::read_gpe(std::uint64_t offset) {
  const DeviceGuard guard(*this);
  const std::uint32_t block = gpe_.status | std::uint32_t{gpe_.enable} << 16U;
  return block >> (8 * (offset % kGpeSize)) & 0xffU;
}

void Piix4Pm::write_gpe(std::uint64_t offset, std::uint8_t value) {
  const DeviceGuard guard(*this);
  const unsigned shift = 8 * (offset % 2);
  if (offset < 2)
    gpe_.status = static_cast<std::uint16_t>(gpe_.status & ~(unsigned{value} << shift));
  else
    gpe_.enable = static_cast<std::uint16_t>((gpe_.enable & ~(0xffU << shift)) | unsigned{value} << shift);
  update_sci();
}

std::uint64_t Piix4Pm::read_apm(std::uint64_t offset) {
  const DeviceGuard guard(*this);
  return offset == 0 ? apm_control_ : apm_status_;
}

/// Switching ACPI on and off needs no handler: we are the firmware behind the command port.
void Piix4Pm::write_apm(std::uint64_t offset, std::uint8_t value) {
  bool smi = false;
  {
    const DeviceGuard guard(*this);
    if (offset != 0) {
      apm_status_ = value;
      return;
    }
    apm_control_ = value;
    if (value == kAcpiEnable || value == kAcpiDisable)
      pm1_.set_acpi_mode(value == kAcpiEnable);
    else
      smi = smi_enabled();
    update_sci();
  }
  if (smi && requests_.smi) requests_.smi();
}

bool Piix4Pm::smi_enabled() const {
  return options_.smm && (config().get<std::uint32_t>(kDevActB) & kApmcEnable) != 0 &&
         (storage_[kGlobalControl] & kSmiEnable) != 0;
}

void Piix4Pm::save(state::Writer& writer) {
  PciFunction::save(writer);
  Piix4PmState saved;
  {
    const DeviceGuard guard(*this);
    saved = {pm1_.state(), gpe_.status, gpe_.enable, apm_control_, apm_status_, storage_, smbus_.registers()};
  }
  state::save(writer, saved);
}

Result<> Piix4Pm::load(state::Reader& reader) {
  DOPPEL_TRY(PciFunction::load(reader));
  DOPPEL_ASSIGN(const Piix4PmState saved, state::load<Piix4PmState>(reader));
  const DeviceGuard guard(*this);
  pm1_.set_state(saved.pm1);
  gpe_ = {saved.gpe_status, saved.gpe_enable};
  apm_control_ = saved.apm_control;
  apm_status_ = saved.apm_status;
  storage_ = saved.storage;
  smbus_.set_registers(saved.smbus);
  place_ports();
  update_sci();
  return {};
}

}  // namespace doppel::hw
