#include "hw/ide/piix3_ide.h"

#include "hw/pci/pci_bus.h"
#include "hw/pci/pci_registers.h"

namespace doppel::hw {

namespace {

constexpr PciIdentity kIdentity = {.vendor_id = 0x8086, .device_id = 0x7010, .class_code = 0x010180};

constexpr unsigned kBusMasterBar = 4;  // BMIBA
constexpr unsigned kTiming = 0x40;     // IDETIM, two bytes for each channel
constexpr std::uint16_t kDecodeEnable = 0x8000;

struct RegisterRow {
  unsigned offset;
  std::uint8_t reset;
  std::uint8_t writable;
};

/// Registers of section 2.3. The timings steer nothing here. The channels decode their ports from the start, which a
/// real PIIX leaves to its firmware: not all firmware for virtual machines does it.
constexpr RegisterRow kRegisters[] = {
    {0x40, 0x00, 0xff}, {0x41, 0x80, 0xf3},  // IDETIM, primary
    {0x42, 0x00, 0xff}, {0x43, 0x80, 0xf3},  // IDETIM, secondary
    {0x44, 0x00, 0xff},                      // SIDETIM
};

struct Piix3IdeState {
  static constexpr std::string_view kName = "piix3-ide";
  static constexpr std::uint32_t kVersion = 1;
  std::array<IdeChannelState, Piix3Ide::kChannels> channels{};
  void describe(auto& fields) { fields("channels", channels); }
};

}  // namespace

Result<std::unique_ptr<Piix3Ide>> Piix3Ide::create(const PciServices& services, IrqSink& isa_irqs) {
  std::unique_ptr<Piix3Ide> ide(new Piix3Ide(services, isa_irqs));
  auto region = ide->topology().io("piix3-ide-bm", std::uint64_t{kChannels} * BusMaster::kPorts, ide->bus_master_ports_,
                                   {.min = 1, .max = 4});
  DOPPEL_TRY(ide->add_bar(kBusMasterBar, BarKind::kIo, std::move(region)));
  return ide;
}

Piix3Ide::Piix3Ide(const PciServices& services, IrqSink& isa_irqs)
    : PciFunction(kIdentity, services),
      bus_master_ports_([this](auto offset, auto size) { return read_bus_master(offset, size); },
                        [this](auto offset, auto size, auto value) { write_bus_master(offset, size, value); }) {
  for (unsigned i = 0; i < kChannels; ++i) {
    channels_[i] =
        std::make_unique<IdeChannel>(*this, queue_, IrqPin{&isa_irqs, kIrqs[i]}, [this] { return dma(); }, log());
    command_regions_[i] = topology().io("ide-command", IdeChannel::kCommandPorts, channels_[i]->command_block(),
                                        IdeChannel::kCommandSizes);
    control_regions_[i] = topology().io("ide-control", 1, channels_[i]->control_block(), {.min = 1, .max = 1});
    command_regions_[i]->set_enabled(false);
    control_regions_[i]->set_enabled(false);
  }
  define_registers();
}

Piix3Ide::~Piix3Ide() {
  if (bus() != nullptr) bus()->detach(*this);
}

void Piix3Ide::define_registers() {
  ConfigSpace& space = config();
  space.define<std::uint16_t>(pci::kCommand, 0, pci::kCommandIo | pci::kCommandMaster);
  space.define<std::uint16_t>(pci::kStatus, pci::kStatusDevselMedium | 0x0080, 0, pci::kStatusClearable);
  for (const RegisterRow& row : kRegisters) space.define<std::uint8_t>(row.offset, row.reset, row.writable);
  on_config_write(kTiming, 2 * kChannels, [this] { decoding_changed(); });
}

void Piix3Ide::attached(PciBus& bus) {
  for (unsigned i = 0; i < kChannels; ++i) {
    bus.io()->add(command_regions_[i], kCommandPorts[i], 1);
    bus.io()->add(control_regions_[i], kControlPorts[i], 1);
  }
}

void Piix3Ide::detached(PciBus& bus) {
  for (unsigned i = 0; i < kChannels; ++i) {
    bus.io()->remove(command_regions_[i]);
    bus.io()->remove(control_regions_[i]);
  }
}

void Piix3Ide::decoding_changed() {
  const memory::Transaction transaction(topology());
  const bool io = (effective_command() & pci::kCommandIo) != 0;
  for (unsigned i = 0; i < kChannels; ++i) {
    const bool enabled = io && (config().get<std::uint16_t>(kTiming + 2 * i) & kDecodeEnable) != 0;
    command_regions_[i]->set_enabled(enabled);
    control_regions_[i]->set_enabled(enabled);
  }
}

std::uint64_t Piix3Ide::read_bus_master(std::uint64_t offset, unsigned size) {
  const DiskQueue::Guard guard(queue_);
  std::uint64_t value = 0;
  for (unsigned i = 0; i < size; ++i) {
    const auto port = static_cast<unsigned>(offset) + i;
    value |= std::uint64_t{channel(port / BusMaster::kPorts).read_bus_master(port % BusMaster::kPorts)} << (8 * i);
  }
  return value;
}

void Piix3Ide::write_bus_master(std::uint64_t offset, unsigned size, std::uint64_t value) {
  const DiskQueue::Guard guard(queue_);
  for (unsigned i = 0; i < size; ++i) {
    const auto port = static_cast<unsigned>(offset) + i;
    channel(port / BusMaster::kPorts)
        .write_bus_master(port % BusMaster::kPorts, static_cast<std::uint8_t>(value >> (8 * i)));
  }
}

void Piix3Ide::reset_chip() {
  for (const auto& channel : channels_) channel->reset();
}

void Piix3Ide::save(state::Writer& writer) {
  PciFunction::save(writer);
  Piix3IdeState saved;
  {
    const DeviceGuard guard(*this);
    for (unsigned i = 0; i < kChannels; ++i) saved.channels[i] = channels_[i]->save();
  }
  state::save(writer, std::move(saved));
}

Result<> Piix3Ide::load(state::Reader& reader) {
  DOPPEL_TRY(PciFunction::load(reader));
  DOPPEL_ASSIGN(const Piix3IdeState saved, state::load<Piix3IdeState>(reader));
  const DiskQueue::Guard guard(queue_);
  for (unsigned i = 0; i < kChannels; ++i) DOPPEL_TRY(channels_[i]->load(saved.channels[i]));
  return {};
}

}  // namespace doppel::hw
