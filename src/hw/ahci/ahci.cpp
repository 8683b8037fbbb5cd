#include "hw/ahci/ahci.h"

#include <vector>

#include "hw/pci/pci_bus.h"
#include "hw/pci/pci_registers.h"

namespace doppel::hw {

using ahci::Register;
namespace capabilities = ahci::capabilities;
namespace control = ahci::control;

namespace {

constexpr PciIdentity kIdentity = {
    .vendor_id = 0x8086, .device_id = 0x2922, .revision = 0x02, .class_code = 0x010601, .interrupt_pin = 1};

constexpr unsigned kRegistersBar = 5;  // ABAR
constexpr std::uint64_t kRegistersSize = 4096;
constexpr std::uint8_t kMsiPlace = 0x80;
constexpr unsigned kModeMap = 0x90;  // MAP
constexpr std::uint8_t kAhciMode = 0x40;

constexpr std::uint32_t kCapabilities = (Ahci::kPorts - 1) | (ahci::kSlots - 1) << capabilities::kSlotsShift |
                                        capabilities::kOnlyAhci | capabilities::kSpeed6 | capabilities::kListOverride |
                                        capabilities::kQueued | capabilities::k64Bit;

struct AhciState {
  static constexpr std::string_view kName = "ahci";
  static constexpr std::uint32_t kVersion = 1;
  std::uint32_t control = 0;
  std::uint32_t interrupts = 0;
  std::vector<AhciPortState> ports{};
  void describe(auto& fields) {
    fields("control", control);
    fields("interrupts", interrupts);
    fields("ports", ports);
  }
};

}  // namespace

Result<std::unique_ptr<Ahci>> Ahci::create(const PciServices& services) {
  std::unique_ptr<Ahci> adapter(new Ahci(services));
  DOPPEL_TRY(adapter->add_msi({.vectors = 1}, kMsiPlace));
  auto region = adapter->topology().io("ahci", kRegistersSize, adapter->registers_, {.min = 4, .max = 4});
  DOPPEL_TRY(adapter->add_bar(kRegistersBar, BarKind::kMemory32, std::move(region)));
  adapter->config().define<std::uint8_t>(kModeMap, kAhciMode);
  return adapter;
}

Ahci::Ahci(const PciServices& services)
    : PciFunction(kIdentity, services),
      registers_(
          [this](auto offset, auto) {
            const DeviceGuard guard(*this);
            return read_register(offset);
          },
          [this](auto offset, auto, auto value) {
            const DiskQueue::Guard guard(queue_);
            write_register(offset, static_cast<std::uint32_t>(value));
          }) {
  for (auto& port : ports_)
    port = std::make_unique<AhciPort>(queue_, [this] { return dma(); }, [this] { update_interrupt(); }, log());
}

Ahci::~Ahci() {
  if (bus() != nullptr) bus()->detach(*this);
}

std::uint64_t Ahci::read_register(std::uint64_t offset) {
  if (offset >= ahci::kPorts) {
    const auto index = static_cast<unsigned>((offset - ahci::kPorts) / ahci::kPortSize);
    return index < kPorts ? ports_[index]->read(static_cast<std::uint32_t>(offset % ahci::kPortSize)) : 0;
  }
  switch (static_cast<Register>(offset)) {
    case Register::kCapabilities: return kCapabilities;
    case Register::kControl: return control_ | control::kEnable;
    case Register::kInterruptStatus: return interrupts_;
    case Register::kPortsImplemented: return low_mask(kPorts);
    case Register::kVersion: return ahci::kVersion13;
  }
  return 0;
}

void Ahci::write_register(std::uint64_t offset, std::uint32_t value) {
  if (offset >= ahci::kPorts) {
    const auto index = static_cast<unsigned>((offset - ahci::kPorts) / ahci::kPortSize);
    if (index < kPorts) ports_[index]->write(static_cast<std::uint32_t>(offset % ahci::kPortSize), value);
    return;
  }
  switch (static_cast<Register>(offset)) {
    case Register::kControl:
      if ((value & control::kReset) != 0) {
        for (const auto& port : ports_) port->reset();
        control_ = interrupts_ = 0;
        set_intx(false);
        return;
      }
      control_ = value & control::kInterrupts;
      return signal();
    case Register::kInterruptStatus:
      interrupts_ &= ~value;
      // What a port still has comes back at once.
      for (unsigned i = 0; i < kPorts; ++i)
        if (ports_[i]->interrupt_pending()) interrupts_ |= 1U << i;
      return signal();
    default: return;
  }
}

/// IS collects; only the guest clears it (section 10.7.2).
void Ahci::update_interrupt() {
  const std::uint32_t before = interrupts_;
  for (unsigned i = 0; i < kPorts; ++i)
    if (ports_[i]->interrupt_pending()) interrupts_ |= 1U << i;
  if (interrupts_ != before) signal();
}

void Ahci::signal() {
  const bool level = (control_ & control::kInterrupts) != 0 && interrupts_ != 0;
  if (!level || !signal_vector(0)) set_intx(level);
}

void Ahci::reset_chip() {
  for (const auto& port : ports_) port->power_on();
  control_ = interrupts_ = 0;
}

void Ahci::save(state::Writer& writer) {
  PciFunction::save(writer);
  AhciState saved;
  {
    const DeviceGuard guard(*this);
    saved.control = control_;
    saved.interrupts = interrupts_;
    for (const auto& port : ports_) saved.ports.push_back(port->save());
  }
  state::save(writer, std::move(saved));
}

Result<> Ahci::load(state::Reader& reader) {
  DOPPEL_TRY(PciFunction::load(reader));
  DOPPEL_ASSIGN(const AhciState saved, state::load<AhciState>(reader));
  const DiskQueue::Guard guard(queue_);
  if (saved.ports.size() != kPorts)
    return fail(ErrorKind::kCorrupt, "the saved state has {} AHCI ports; there are {}", saved.ports.size(), kPorts);
  for (unsigned i = 0; i < kPorts; ++i) DOPPEL_TRY(ports_[i]->load(saved.ports[i]));
  control_ = saved.control & control::kInterrupts;
  interrupts_ = saved.interrupts & static_cast<std::uint32_t>(low_mask(kPorts));
  return {};
}

}  // namespace doppel::hw
